"""The watermark and the reserve, with a made-up amount of free space on a real disk."""

from __future__ import annotations

import errno
import os
from collections import namedtuple

import pytest

from bus.store.sqlite.disk_space import MARGIN_BYTES, MIB, RESERVE_BYTES, DiskSpace

Found = namedtuple("Found", "f_bavail f_frsize")
WATERMARK = 64 * MIB


class Space:
    """Free space as the tests say."""

    def __init__(self) -> None:
        self.free = 1000 * MIB
        self.is_gone = False

    def __call__(self, folder: object) -> Found:
        if self.is_gone:
            raise OSError(errno.EIO, "Input/output error")
        return Found(self.free // 4096, 4096)


@pytest.fixture
def space(monkeypatch):
    space = Space()
    monkeypatch.setattr(os, "statvfs", space)
    return space


def new_disk(folder, min_free=WATERMARK):
    disk = DiskSpace(folder, min_free)
    disk.look()
    disk.news()
    return disk


def look(disk, space, free, spare=0):
    """Whether it is low with so much free, and what it says to that."""
    space.free = free
    disk.look(spare)
    return disk.is_low, [notice.fact for notice in disk.news()]


def test_it_is_low_below_the_watermark_and_says_so_once(tmp_path, space):
    disk = new_disk(tmp_path)

    assert (False, []) == look(disk, space, WATERMARK)
    assert (True, ["store.low_on_space"]) == look(disk, space, WATERMARK - 4096)
    assert (True, []) == look(disk, space, 0)


def test_a_little_more_than_the_watermark_ends_it(tmp_path, space):
    """A file that comes and goes must not swing it every second."""
    disk = new_disk(tmp_path)
    look(disk, space, 0)

    assert (True, []) == look(disk, space, WATERMARK)
    assert (False, ["store.has_space"]) == look(disk, space, WATERMARK + WATERMARK // 8)


def test_zero_is_no_watermark(tmp_path, space):
    disk = new_disk(tmp_path, 0)

    assert (False, []) == look(disk, space, 0)


def test_what_is_free_inside_the_file_is_free(tmp_path, space):
    disk = new_disk(tmp_path)

    assert (False, []) == look(disk, space, 0, spare=WATERMARK)


def test_it_tells_how_much_is_free_and_what_to_do(tmp_path, space):
    disk = new_disk(tmp_path)
    space.free = 12 * MIB
    disk.look()
    (notice,) = disk.news()

    assert {"free_bytes": 12 * MIB, "min_free_bytes": WATERMARK} == notice.fields
    assert (
        f"low on disk space: expected 64.0 MiB free for {tmp_path}, got 12.0 MiB: new work is refused; "
        "free some, or lower [monqbus] min_free"
    ) == disk.complaint


def test_a_reserve_that_an_earlier_start_made_is_kept_however_little_is_free(tmp_path, space):
    new_disk(tmp_path)
    inode = (tmp_path / "reserve").stat().st_ino
    space.free = 0
    disk = DiskSpace(tmp_path, 0)
    disk.look()

    assert [] == [notice for notice in disk.news() if notice.fact == "store.reserve_missing"]
    assert inode == (tmp_path / "reserve").stat().st_ino
    assert disk.give_up_reserve()


def test_a_reserve_without_its_blocks_is_none(tmp_path, space):
    """As a copy of the folder may have made it."""
    with (tmp_path / "reserve").open("wb") as file:
        file.truncate(RESERVE_BYTES)
    disk = DiskSpace(tmp_path, 0)
    disk.look()

    assert ["store.reserve_made"] == [notice.fact for notice in disk.news()]
    assert (tmp_path / "reserve").stat().st_blocks * 512 == RESERVE_BYTES


def test_after_a_full_disk_more_must_be_free_than_the_reserve_has_left(tmp_path, space):
    """Its own blocks are free then, and they are not for new work."""
    disk = new_disk(tmp_path, 0)
    disk.is_written_full()
    assert (True, False) == (disk.give_up_reserve(), disk.give_up_reserve())
    disk.news()

    assert (True, []) == look(disk, space, RESERVE_BYTES)
    assert (False, ["store.reserve_made", "store.has_space"]) == look(
        disk, space, RESERVE_BYTES + MARGIN_BYTES
    )


def test_while_writing_says_full_the_number_of_free_bytes_is_not_believed(tmp_path, space):
    """A quota may be used up on a disk with room: it would swing every second."""
    disk = new_disk(tmp_path)
    disk.is_written_full()
    disk.give_up_reserve()
    disk.news()

    assert (True, []) == look(disk, space, 1000 * MIB)
    disk.is_written_full()
    assert (True, []) == look(disk, space, 1000 * MIB)
    assert (False, ["store.reserve_made", "store.has_space"]) == look(disk, space, 1000 * MIB)


def test_without_a_file_system_that_sets_room_aside_there_is_no_reserve(tmp_path, space, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    disk = DiskSpace(tmp_path, 0)
    disk.look()
    disk.look()

    assert [("store.reserve_missing", {"reason": "Operation not supported"})] == disk.news()
    assert not (tmp_path / "reserve").exists()


def test_a_disk_that_does_not_answer_changes_nothing(tmp_path, space):
    """The next write says what is wrong."""
    disk = new_disk(tmp_path)
    space.is_gone = True

    assert (False, []) == look(disk, space, 0)
