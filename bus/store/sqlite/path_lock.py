"""A lock on the store's path itself, which survives deleting and moving its files.

A lock file is locked by its inode. Once somebody has deleted or moved it, or the folder it is in, a second
process would make a new one and get in. An abstract Unix socket has a name and no file, and ends with
its process (unix(7)).
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct

# not `socket`: gevent replaces that, and what becomes of its sockets is a matter of its hub
from _socket import AF_UNIX, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket
from contextlib import closing
from pathlib import Path

from ...errors import StoreHeld


class PathLock:
    """Holds the name *path* for this process, beside the lock of the file that is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take it at once or not at all. Raises StoreHeld with the pid of the holder.

        Names are one for each network namespace. Who has this one in another container, for another folder
        that has the same path there, is another user, or does not say who it is, is no holder; the file's
        lock is all there is then.
        """
        name = b"\0monqbus/" + hashlib.sha256(os.fsencode(self._path.absolute())).hexdigest().encode()
        taken = socket(AF_UNIX, SOCK_STREAM)
        try:
            taken.bind(name)
            taken.listen()
        except OSError as error:
            taken.close()
            if error.errno == errno.EADDRINUSE and (holder := self._holder(name)):
                raise StoreHeld(
                    f"{self._path}: held by {holder}, although its files were deleted or moved; "
                    "see what its /readyz says, and stop it"
                ) from None
            return
        self._descriptor = taken.detach()

    def let_askers_go(self) -> None:
        """Hang up on those who have asked: a full backlog looks as if nobody were there. Never blocks."""
        if self._descriptor is None:
            return
        name = socket(fileno=self._descriptor)
        name.setblocking(False)
        try:
            while True:
                asker, _ = name._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
                socket(fileno=asker).close()
        except OSError:  # nobody any more
            name.detach()

    def release(self) -> None:
        """Release it; nothing happens when it is not held."""
        if self._descriptor is not None:
            socket(fileno=self._descriptor).close()  # os.close is gevent's, too, and closes sockets later
            self._descriptor = None

    def _holder(self, name: bytes) -> str:
        """Who holds *name* for the same folder; "" when nobody does."""
        with closing(socket(AF_UNIX, SOCK_STREAM)) as probe:
            probe.setblocking(False)
            try:
                probe.connect(name)
            except OSError:
                return ""  # it has just ended, or lets nobody in, so that it has no name either
            words = probe.getsockopt(SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
        pid, user, _ = struct.unpack("3i", words)
        return f"pid {pid}" if self._is_trusted(user) and self._sees_the_same(pid) else ""

    def _is_trusted(self, user: int) -> bool:
        """Anybody can take a name; only who could use the folder as well keeps us out."""
        return user in {0, os.geteuid(), _owner(self._path.parent)}

    def _sees_the_same(self, pid: int) -> bool:
        """Whether *pid*, which may have other mounts, sees the same folder under this path."""
        folder = self._path.parent.absolute()
        if not pid:
            return False  # in a container that we cannot look into
        try:
            theirs = Path(f"/proc/{pid}/root{folder}").stat()
        except PermissionError:
            return True
        except OSError:
            return False
        return os.path.samestat(theirs, folder.stat())


def _owner(folder: Path) -> int:
    try:
        return folder.stat().st_uid
    except OSError:
        return -1
