"""A disk that fills up, fails to sync, or loses power.

`Disk` preloads powercut.c into a daemon and switches it; a C compiler is all it needs. `small_disk`
is a real one of a few megabytes where this process may mount it.
"""

from __future__ import annotations

import atexit
import errno
import functools
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .scenario import Missing

SOURCE = Path(__file__).with_name("powercut.c")
FILES = "monqbus.db"
SECTOR = 512
SYNC_ERROR, SYNC_LIES, GROWTH_ERROR = 0, 4, 8
SYNCS, FAILURES = 16, 24
MEBIBYTE = 1 << 20
STRACE_SECONDS = 10.0
LOOK_SECONDS = 0.02


class Disk:
    """The disk below *data* as daemons see it that are started with `environ`.

    Its files are those of the embedded store, or those whose names begin with *files*. What it calls
    durable is what a sync has reached.
    """

    def __init__(self, place: Path, data: Path, files: str = FILES) -> None:
        self._data = data
        self._shadows = place / "shadows"
        self._shadows.mkdir()
        switches = place / "switches"
        switches.write_bytes(bytes(mmap.PAGESIZE))
        with switches.open("r+b") as file:
            self._switches = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.environ: Mapping[str, str] = {
            "LD_PRELOAD": str(_compiled()),
            "CHAOS_DISK_FILES": str(data.resolve() / files),
            "CHAOS_DISK_SHADOWS": str(self._shadows),
            "CHAOS_DISK_SWITCHES": str(switches),
        }

    @property
    def syncs(self) -> int:
        """How many syncs have worked; 0 would mean that nothing passes through here."""
        return self._read(SYNCS)

    @property
    def failures(self) -> int:
        """How many syncs and writes have failed, or lied."""
        return self._read(FAILURES)

    def fail_syncs(self) -> None:
        """From now on every sync fails with EIO, and what it was to keep is forgotten."""
        self._switch(SYNC_ERROR, errno.EIO)

    def lie(self) -> None:
        """From now on every sync says that it worked, and keeps nothing."""
        self._switch(SYNC_LIES, 1)

    def fill(self) -> None:
        """From now on no file grows: ENOSPC."""
        self._switch(GROWTH_ERROR, errno.ENOSPC)

    def heal(self) -> None:
        """Undo all of that."""
        for switch in (SYNC_ERROR, SYNC_LIES, GROWTH_ERROR):
            self._switch(switch, 0)

    def lose_power(self, dice: random.Random | None = None) -> None:
        """Leave in the files what was durable; the daemon must be dead.

        With *dice* each sector written since may or may not have reached the disk, in any order.
        """
        for shadow in self._shadows.iterdir():
            live = self._data / shadow.name
            durable = shadow.read_bytes()
            left = durable if dice is None else _some_of(live.read_bytes(), durable, dice)
            live.write_bytes(left)
            shadow.unlink()

    def _switch(self, offset: int, value: int) -> None:
        struct.pack_into("i", self._switches, offset, value)

    def _read(self, offset: int) -> int:
        value: int = struct.unpack_from("q", self._switches, offset)[0]
        return value


def _some_of(live: bytes, durable: bytes, dice: random.Random) -> bytes:
    """*durable* with some of the sectors of *live*, and one of the two sizes."""
    size = len(dice.choice((live, durable)))
    left = bytearray(durable[:size].ljust(size, b"\0"))
    for begin in range(0, size, SECTOR):
        new = live[begin : begin + SECTOR]
        if new != left[begin : begin + SECTOR] and dice.random() < 0.5:
            left[begin : begin + len(new)] = new
    return bytes(left[:size])


@functools.lru_cache
def _compiled() -> Path:
    """The shim, built once for this process. Raises Missing without a C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        raise Missing("no C compiler for powercut.c; install gcc, or set CC")
    folder = Path(tempfile.mkdtemp(prefix="monqbus-chaos-shim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    words = [compiler, "-O2", "-shared", "-fPIC", "-o", str(folder / "powercut.so"), str(SOURCE)]
    subprocess.run([*words, "-ldl", "-lpthread"], check=True)
    return folder / "powercut.so"


class SmallDisk:
    """A mounted disk that can really be filled."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Take all the space that is left."""
        file = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for size in (MEBIBYTE, 4096):
            with suppress(OSError):
                while True:
                    os.write(file, bytes(size))
        os.close(file)

    def heal(self) -> None:
        """Give the space back."""
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of that size on *folder*. Raises Missing where this process may not mount."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        folder.rmdir()
        raise Missing(f"mount: {mounted.stderr.strip() or 'not allowed'}; run as root, or in a container")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@contextmanager
def failing_syncs(pid: int) -> Iterator[None]:
    """Let every fsync and fdatasync of the running process *pid* fail with EIO, by strace.

    Raises Missing without strace, or where it may not look into other processes.
    """
    if not (program := shutil.which("strace")):
        raise Missing("no strace; install it")
    with tempfile.TemporaryFile() as said:
        words = [program, "-f", "-p", str(pid), "-o", os.devnull, "-e", "trace=fsync,fdatasync"]
        strace = subprocess.Popen([*words, "-e", "inject=fsync,fdatasync:error=EIO"], stderr=said)
        try:
            _await_attached(strace, said)
            yield
        finally:
            strace.send_signal(signal.SIGINT)  # it lets go of the process and ends
            strace.wait(STRACE_SECONDS)


def _await_attached(strace: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    deadline = time.monotonic() + STRACE_SECONDS
    while b" attached" not in (text := os.pread(said.fileno(), 4096, 0)):
        if strace.poll() is not None or time.monotonic() > deadline:
            raise Missing(f"strace: {text.decode().strip() or 'does not attach'}; allow ptrace")
        time.sleep(LOOK_SECONDS)
