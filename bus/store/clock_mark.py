"""The file in data_dir with the queue's time, from which the next daemon goes on."""

from __future__ import annotations

import os
from contextlib import suppress
from json import dumps, loads
from pathlib import Path
from typing import Final

from ..files import regular_file
from ..steady_clock import Mark

NAME: Final = "clock"
MOST_BYTES: Final = 4096
LATEST: Final = 250_000_000_000.0
"""The year 9892: a mark beyond it is nonsense, and would leave no room for delays."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_TIME_SPACE: Final = Path("/proc/self/ns/time")


def this_boot() -> str:
    """The present boot of the machine, and the time namespace, in which it may have another age."""
    try:
        boot = _BOOT.read_text().strip()
    except OSError:
        return f"unknown {os.getpid()}"  # nothing is known of how long nobody looked
    with suppress(OSError):
        return f"{boot} {_TIME_SPACE.readlink()}"
    return boot  # a kernel older than 5.6


def read_mark(folder: Path) -> Mark | None:
    """The mark in *folder*; None when there is none that can be used."""
    try:
        given = loads(regular_file.read(folder / NAME, MOST_BYTES).data.decode("ascii"))
        mark = Mark(**given)
        at, horizon, wall, boottime = map(float, (mark.at, mark.horizon, mark.wall, mark.boottime))
        doubted_at = None if mark.doubted_at is None else float(mark.doubted_at)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    if not all(0.0 <= moment <= LATEST for moment in (at, horizon, wall)):
        return None
    return Mark(at, horizon, wall, boottime, str(mark.boot), doubted_at)


def write_mark(folder: Path, mark: Mark) -> None:
    """Put *mark* into *folder*, durably and whole. Blocks for the disk. Raises OSError."""
    new = folder / f"{NAME}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # an app's umask may have left nothing of it
        os.write(descriptor, dumps(mark._asdict()).encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(folder / NAME)
