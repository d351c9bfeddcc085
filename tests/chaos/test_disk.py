"""The disk that the scenarios break behaves as a disk does."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from .disk import SECTOR, Disk
from .scenario import Missing

PROLOGUE = """\
import ctypes, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
def said(call, *words):
    try:
        return call(*words)
    except OSError as error:
        print(error.errno)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "data").mkdir()
    try:
        return Disk(tmp_path, tmp_path / "data")
    except Missing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def store(tmp_path: Path, disk: Disk) -> Path:
    """A file of the store, with five bytes in it."""
    path = tmp_path / "data" / "monqbus.db"
    path.write_bytes(b"first")
    return path


def write(disk: Disk, path: Path, code: str) -> str:
    """Let another process do *code* to *path* (open as `file`); what it printed."""
    words = [sys.executable, "-c", PROLOGUE + code, str(path)]
    environ = {**os.environ, **disk.environ}
    return subprocess.run(words, env=environ, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("sync", ["fsync", "fdatasync"])
def test_a_power_cut_leaves_what_was_synced(disk: Disk, store: Path, sync: str):
    """What came after the last sync is gone, contents and length."""
    write(disk, store, f"os.pwrite(file, b'F', 0); os.{sync}(file); os.pwrite(file, b'later', 3)")
    before = store.read_bytes()
    disk.lose_power()

    assert (b"Firlater", b"First") == (before, store.read_bytes())
    assert 1 == disk.syncs


@pytest.mark.parametrize(
    "change", ["os.write(file, b'LOST')", "os.ftruncate(file, 2)", "os.pwrite(file, b'x', 9)"]
)
def test_every_way_to_change_a_file_needs_a_sync(disk: Disk, store: Path, change: str):
    """Written at the offset, in place, or cut off."""
    write(disk, store, change)
    before = store.read_bytes()
    disk.lose_power()

    assert b"first" != before
    assert b"first" == store.read_bytes()


def test_a_shrunk_file_stays_small_once_synced(disk: Disk, store: Path):
    """Its length is part of what a sync keeps."""
    write(disk, store, "os.ftruncate(file, 2); os.fsync(file)")
    disk.lose_power()

    assert b"fi" == store.read_bytes()


def test_a_failed_sync_forgets_what_it_should_have_written(disk: Disk, store: Path):
    """The next one that works brings back only what is written again."""
    disk.fail_syncs()
    said = write(disk, store, "os.pwrite(file, b'12345', 0); said(os.fsync, file)")
    disk.heal()
    write(disk, store, "")
    disk.lose_power()

    assert ("5", b"first", 1) == (said, store.read_bytes(), disk.failures)


def test_pages_of_a_failed_sync_count_as_clean(disk: Disk, store: Path):
    """One process, a sync that fails and one that works: only the second write is kept."""
    switch = "open(os.environ['CHAOS_DISK_SWITCHES'], 'r+b').write(bytes(4))"
    disk.fail_syncs()
    code = (
        f"os.pwrite(file, b'F', 0); said(os.fsync, file); {switch}; os.pwrite(file, b'T', 4); os.fsync(file)"
    )
    write(disk, store, code)
    disk.lose_power()

    assert b"firsT" == store.read_bytes()


def test_a_lie_is_not_noticed_before_the_power_is_gone(disk: Disk, store: Path):
    """The sync says that it worked."""
    disk.lie()
    said = write(disk, store, "os.pwrite(file, b'LIE', 0); said(os.fsync, file)")
    disk.lose_power()

    assert ("", b"first") == (said, store.read_bytes())


def test_a_full_disk_takes_nothing_beyond_the_end(disk: Disk, store: Path):
    """What is there can be written over."""
    disk.fill()
    said = write(disk, store, "said(os.pwrite, file, b'F', 0); said(os.pwrite, file, b'x', 5)")

    assert ("28", b"First") == (said, store.read_bytes())


def test_a_file_that_is_deleted_and_made_again_begins_anew(disk: Disk, store: Path):
    """As the write-ahead log does: nothing of the old one comes back."""
    write(disk, store, "os.pwrite(file, b'F', 0); os.fsync(file); os.unlink(sys.argv[1])")
    disk.lose_power()

    assert not store.exists()


def test_with_dice_each_sector_is_either_old_or_new(disk: Disk, store: Path):
    """In any order, and some of each."""
    store.write_bytes(b"o" * SECTOR * 64)
    write(disk, store, f"os.pwrite(file, b'n' * {SECTOR * 64}, 0)")
    disk.lose_power(random.Random(1))
    left = store.read_bytes()

    assert {bytes([letter]) * SECTOR for letter in b"on"} == {
        left[begin : begin + SECTOR] for begin in range(0, len(left), SECTOR)
    }


def test_other_files_are_left_alone(disk: Disk, store: Path):
    """Only those of the store are on this disk."""
    other = store.with_name("other")
    write(disk, other, "os.write(file, b'kept')")
    disk.lose_power()

    assert (b"kept", 0) == (other.read_bytes(), disk.syncs)


def test_a_process_that_writes_over_its_environment_changes_nothing(disk: Disk, store: Path):
    """As whoever gives itself another title does: other files stay out, those of the store in."""
    overwrite = "libc = ctypes.CDLL(None); libc.getenv.restype = ctypes.c_void_p\n"
    for name in disk.environ:
        overwrite += f"ctypes.memset(libc.getenv(b'{name}'), 0, 1)\n"
    other = store.with_name("other")
    write(disk, other, f"{overwrite}os.write(file, b'kept')")
    write(disk, store, f"{overwrite}os.write(file, b'LOST')")
    disk.lose_power()

    assert (b"kept", b"first") == (other.read_bytes(), store.read_bytes())
