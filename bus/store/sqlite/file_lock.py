"""The lock file: one process at a time on the embedded store; ends with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import StoreHeld, UnusableForNow

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # a link would have another file cut


class FileLock:
    """Holds *path* for this process. The file stays behind; only the lock says that it is held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self, subject: Path) -> None:
        """Lock *subject* by its lock file, at once or not at all.

        Raises StoreHeld with what the holder wrote about itself, UnusableForNow where no file can be locked.
        """
        try:
            descriptor = os.open(self.path, _FLAGS, 0o600)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EINVAL, "it is no file")
                with suppress(OSError):  # an app's umask may have left nothing of the mode
                    os.fchmod(descriptor, 0o600)
                self._lock(descriptor, subject)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise UnusableForNow(self._refusal(error)) from error
        self._descriptor = descriptor

    def share(self, subject: Path) -> bool:
        """Keep writers out while others may look at *subject*, too; False when there is no lock file.

        Neither makes nor writes it. Raises as `take`.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise UnusableForNow(self._refusal(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            held = self._held(descriptor, subject)
            os.close(descriptor)
            raise held from None
        self._descriptor = descriptor
        return True

    @property
    def has_its_file(self) -> bool:
        """Whether the locked file still is the one at the path, so that others meet the lock."""
        try:
            if self._descriptor is None:
                return False
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Release it; nothing happens when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @staticmethod
    def _held(descriptor: int, subject: Path) -> StoreHeld:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        return StoreHeld(
            f"{subject}: held by {_present(holder) or 'another process'}; "
            "stop it, or use a data_dir of its own"
        )

    def _lock(self, descriptor: int, subject: Path) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._held(descriptor, subject) from None
        about_us = f"pid {os.getpid()} on {socket.gethostname()}\n".encode()
        try:
            os.pwrite(descriptor, about_us, 0)  # before the cut: who reads in between finds a name
            os.ftruncate(descriptor, len(about_us))
        except OSError:
            return  # a full disk: the lock holds all the same, only its words are old

    def _refusal(self, error: OSError) -> str:
        return (
            f"[monqbus] data_dir: cannot lock {self.path}: {error.strerror}; "
            "give it to the user of the daemon, or choose another folder"
        )


def _present(holder: str) -> str:
    """*holder* as it wrote about itself; nothing when it is gone: who only looks writes nothing there."""
    words = holder.split()
    is_here = len(words) == 4 and words[3] == socket.gethostname()
    return "" if is_here and not Path(f"/proc/{words[1]}").exists() else holder
