"""A folder held open by its descriptor: files are made, opened and removed in it along no link.

A name leads where whoever may write its folder lets it lead. By the descriptor of a folder, one step
at a time and along no link, it leads to what is there, or nowhere: see openat(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from posix import close  # gevent's os.close leaves all but files open until the hub turns
from typing import Final

BURST: Final = 500
"""How many files are removed before others may run."""

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class HeldFolder:
    """The folder behind *descriptor*, which it owns. Everything raises OSError."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def at(cls, path: Path | str) -> HeldFolder:
        """The folder that *path* leads to now, links included."""
        return cls(os.open(path, _OPEN))

    def __enter__(self) -> HeldFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let it go, and with it its lock."""
        close(self.descriptor)

    @property
    def found(self) -> os.stat_result:
        """What the system says about it."""
        return os.fstat(self.descriptor)

    def inside(self, name: str) -> HeldFolder:
        """The folder *name* in it; a link to one is refused."""
        return HeldFolder(os.open(name, _OPEN | os.O_NOFOLLOW, dir_fd=self.descriptor))

    def make(self, name: str, mode: int = 0o700) -> HeldFolder:
        """A new folder in it."""
        os.mkdir(name, mode, dir_fd=self.descriptor)
        return self.inside(name)

    def create(self, name: str, mode: int = 0o600) -> int:
        """A new file in it, for reading and writing; whatever has that name already is refused."""
        return os.open(name, _NEW, mode, dir_fd=self.descriptor)

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """The file *name* in it, by os.open's *flags*; a link is refused."""
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.descriptor)

    def names(self) -> list[str]:
        """What is in it."""
        with os.scandir(self.descriptor) as entries:
            return [entry.name for entry in entries]

    def has(self, name: str) -> bool:
        """Whether something has that name, a link that leads nowhere included."""
        try:
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def holds(self, name: str, child: HeldFolder) -> bool:
        """Whether *child* still is what has that name in it."""
        try:
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, child.found)

    def lock(self, *, shared: bool) -> None:
        """Lock it, at once or not at all, until this process and its forks have closed it."""
        fcntl.flock(self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def remove(self, name: str, child: HeldFolder, pause: Callable[[], None] = lambda: None) -> None:
        """Remove *child*, which is called *name* in it; *pause* is called every BURST files.

        Nothing happens to what somebody else has put there under that name.
        """
        child.clear(pause)
        if self.holds(name, child):
            os.rmdir(name, dir_fd=self.descriptor)

    def clear(self, pause: Callable[[], None] = lambda: None) -> None:
        """Remove everything in it, along no link and on no other file system; see `remove`.

        Folders deeper down are lifted up first: neither descriptors nor stack grow with the depth.
        """
        waiting = list(self._clear_files(pause))
        while waiting:
            name = waiting.pop()
            with self.inside(name) as inner:
                if inner.found.st_dev != self.found.st_dev:
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
                for deeper in list(inner._clear_files(pause)):
                    lifted = os.urandom(16).hex()
                    os.rename(deeper, lifted, src_dir_fd=inner.descriptor, dst_dir_fd=self.descriptor)
                    waiting.append(lifted)
            os.rmdir(name, dir_fd=self.descriptor)
            pause()

    def _clear_files(self, pause: Callable[[], None]) -> Iterator[str]:
        """Remove what is no folder; the names of the folders."""
        with os.scandir(self.descriptor) as entries:
            for number, entry in enumerate(entries, 1):
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name
                else:
                    os.unlink(entry.name, dir_fd=self.descriptor)
                if number % BURST == 0:
                    pause()


def interference(found: os.stat_result, *, sticky: bool = False) -> str | None:
    """Who else than this user and root could exchange what is in a folder; None when nobody could.

    With *sticky* that bit is enough, as in /tmp: others may add files there, and exchange their own only.
    """
    if found.st_uid not in (os.geteuid(), 0):
        return f"it belongs to user {found.st_uid}"
    is_sticky = sticky and bool(found.st_mode & stat.S_ISVTX)
    if found.st_mode & _OTHERS_WRITE and not is_sticky:
        return f"its mode {stat.S_IMODE(found.st_mode):04o} lets others write"
    return None
