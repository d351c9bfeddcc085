"""The side of the process that posts: appends records to a file of its own and waits for the disk."""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from posix import close as close_at_once  # gevent's os.close leaves all but files open until the hub turns
from typing import Final

from bson import ObjectId

from ...errors import ConfigError, NotStorable, StoreFull, StoreUnavailable
from ..sqlite.data_dir import as_owner_of, make_data_dir
from .format import SUFFIX, UNFINISHED, frame, new_header

LARGEST_FILE: Final = 4 * 1024**2
"""Bytes after which the next record begins a new file, so that the daemon can delete the old one."""
FOLDER: Final = "inbox"
BELL: Final = "inbox.sock"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class InboxWriter:
    """Appends records in *data_dir*, for any number of threads of this process; never after a fork.

    Nothing is made before the first record. While less than *min_free* bytes of the disk are free nothing
    is taken. Threads that come together share one wait for the disk.
    """

    def __init__(self, data_dir: Path, *, min_free: int = 0) -> None:
        self._data_dir = data_dir
        self._min_free = min_free
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._file: _File | None = None
        self._bell: _socket.socket | None = None

    def append(self, payload: bytes) -> None:
        """Store *payload* as one record; durable when it returns. Blocks for the disk.

        Raises NotStorable, StoreFull, ConfigError where no file can be made, StoreUnavailable when the
        outcome is unknown.
        """
        try:
            record = frame(payload)
        except ValueError as error:
            raise NotStorable(f"post: {error} in one write; post less at once") from error
        with self._writing:
            file = self._open_file()
            end = file.write(record)
            is_full = file.size >= LARGEST_FILE
            if is_full:
                self._file = None
        with self._syncing:  # who waited here finds that the one before has synced its bytes, too
            if file.synced < end:
                file.sync()
            if is_full:
                file.close()  # all that was written before is synced with it
        self._ring()

    def close(self) -> None:
        """Close the file; the daemon deletes it when it has taken over all of it."""
        with self._writing, self._syncing:
            if self._file is not None:
                self._file.close()
            self._file = None
            if self._bell is not None:
                self._bell.close()
            self._bell = None

    def __del__(self) -> None:
        # after a fork the parent's is forgotten in the child, where it must not keep the file's lock
        if self._bell is not None:
            self._bell.close()

    def _open_file(self) -> _File:
        """The present file, or a new one; who has taken it away is told by `write`."""
        if self._file is not None and self._file.is_broken:
            with self._syncing:
                self._file.close()
            self._file = None
        if self._file is None:
            with as_owner_of(self._data_dir):
                make_data_dir(self._data_dir)
                self._file = _File(self._data_dir / FOLDER, self._min_free)
        return self._file

    def _ring(self) -> None:
        """Tell the daemon, if there is one. A hint: it looks by itself every second."""
        try:
            if self._bell is None:
                # not gevent's: that would wait for room, and is for one greenlet at a time
                self._bell = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
            self._bell.sendto(b"", str(self._data_dir / BELL))
        except OSError:
            return


class _File:
    """One file, locked for as long as it is written: the lock tells the daemon that more may come."""

    def __init__(self, folder: Path, min_free: int) -> None:
        self.size = self.synced = 0
        self.is_broken = False
        self._min_free = min_free
        self._descriptor = -1
        self.path = folder / f"{ObjectId()}{UNFINISHED}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._descriptor = os.open(self.path, _NEW, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.write(new_header())
            self.sync()
            # a daemon that found it before it is locked would take it for a dead writer's
            self.path = self.path.rename(self.path.with_suffix(SUFFIX))
            _sync_folder(folder)
        except OSError as error:
            self.close()
            raise self._refusal(error) from error

    def write(self, data: bytes) -> int:
        """Append *data*, all of it or nothing; the offset behind it. Not yet durable."""
        self._require_room()
        try:
            if not os.fstat(self._descriptor).st_nlink:
                self.is_broken = True
                raise StoreUnavailable(
                    f"{self.path}: deleted while it was in use; see who cleans up there, and post again"
                )
            written = os.write(self._descriptor, data)
            if written < len(data):  # the disk is full in the middle
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._cut()
            raise self._refusal(error) from error
        self.size += len(data)
        return self.size

    def sync(self) -> None:
        """Wait until all that was written is on the disk. Raises StoreUnavailable: then nobody knows."""
        target = self.size
        if self.is_broken:  # a second try would succeed and mean nothing: the kernel has let go of the bytes
            raise StoreUnavailable(
                f"{self.path}: an earlier write failed, whether the posting is stored is unknown; "
                "look at the disk's health"
            )
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:  # what the disk has of it nobody can tell: no more goes behind it
            self.is_broken = True
            raise StoreUnavailable(
                f"{self.path}: {error.strerror}, whether the posting is stored is unknown; "
                "look at the disk's health"
            ) from error
        if not os.fstat(self._descriptor).st_nlink:
            self.is_broken = True
            raise StoreUnavailable(
                f"{self.path}: deleted while it was in use, whether the posting is stored is unknown; "
                "see who cleans up there"
            )
        self.synced = max(self.synced, target)

    def close(self) -> None:
        """Close it, which releases the lock."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close_at_once(descriptor)

    def __del__(self, _close: Callable[[int], None] = close_at_once) -> None:
        if self._descriptor >= 0:
            _close(self._descriptor)

    def _require_room(self) -> None:
        if not self._min_free:
            return
        found = os.fstatvfs(self._descriptor)
        if (free := found.f_bavail * found.f_frsize) < self._min_free:
            raise StoreFull(
                f"{self.path.parent}: low on disk space: expected {self._min_free / 2**20:.1f} MiB free, got "
                f"{free / 2**20:.1f} MiB: new work is refused; free some, or lower [monqbus] min_free"
            )

    def _cut(self) -> None:
        """Take back what a failed write has left; where that fails, too, this file is done with."""
        try:
            os.ftruncate(self._descriptor, self.size)
        except OSError:
            self.is_broken = True

    def _refusal(self, error: OSError) -> Exception:
        if error.errno in _FULL:
            return StoreFull(
                f"{self.path}: {error.strerror}: new work is refused until there is room; free some"
            )
        if not self.size:
            with suppress(OSError):
                self.path.unlink()
            return ConfigError(
                f"[monqbus] data_dir: cannot post into {self.path.parent}: {error.strerror}; "
                "post as the user of the daemon"
            )
        return StoreUnavailable(f"{self.path}: {error.strerror}; look at the disk's space, mode and health")


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, and that of *folder* itself."""
    for path in (folder, folder.parent):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
