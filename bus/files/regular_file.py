"""Reads files that a user named: only regular ones, bounded, never waiting as a FIFO would.

Opening a pipe waits for its other end, reading a device may not end, and either holds up the hub.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Content(NamedTuple):
    """The first bytes of a file, and its *status* at the moment it was open."""

    data: bytes
    status: os.stat_result


def read(path: Path, most: int) -> Content:
    """Up to *most* bytes of the file *path*. Blocks for the disk. Raises OSError and ValueError.

    What is no file is an OSError too, IsADirectoryError for a folder; its `strerror` says what it is.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor, which has no path
        status = os.fstat(descriptor)
        require(status)
        return Content(file.read(most), status)


def require(status: os.stat_result) -> None:
    """Raise OSError unless *status* is that of a file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")
