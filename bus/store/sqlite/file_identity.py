"""Checks that the open files are still the ones at the store's path.

A file that was deleted, moved, or covered by a mount takes every write without an error, and the next
start finds none of it. So the files at the path are compared with the open ones by device and inode:
after each commit and before its answer, and once a second. Nothing is opened for that: closing a second
descriptor of the file would take SQLite's own locks away (sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ...errors import StoreUnavailable
from ..contract import Notice

DESCRIPTORS: Final = Path("/proc/self/fd")
Identity = tuple[int, int]


class _OpenFile(NamedTuple):
    """A file that SQLite has open: under which name, which one it is, behind which descriptor."""

    path: Path
    name: str  # the path's, as the system takes it: it is asked at every commit
    identity: Identity
    descriptor: int | None


class FileIdentity:
    """The two files of the store at *path*."""

    def __init__(self, path: Path) -> None:
        self._paths = (path, log_of(path))
        self._files: Sequence[_OpenFile] = ()  # the database and its log
        self._lost: _OpenFile | None = None
        self._complaint = ""
        self._news: list[Notice] = []

    def remember(self) -> None:
        """Take what SQLite has just opened as ours. Raises StoreUnavailable when it is gone already."""
        self._files = [_open_file(path) for path in self._paths]
        self._set(None, "")

    def expect_no_log(self) -> None:
        """SQLite has closed the files, and at that deletes its log."""
        self._files = self._files[:1]

    @property
    def is_lost(self) -> bool:
        """Whether a file was not where it belongs at the last look."""
        return self._lost is not None

    @property
    def has_lost_its_log(self) -> bool:
        """Whether only the log was not there: what it holds can still go into the file."""
        return self._lost in self._files[1:]

    def look(self) -> StoreUnavailable | None:
        """Compare the files with those at the path; what to answer when they are not the same."""
        for file in self._files:
            try:
                found = os.stat(file.name)  # noqa: PTH116 - Path's takes twice as long
            except FileNotFoundError:
                return self._miss(file, "nothing")
            except OSError as error:
                return self._miss(file, str(error.strerror))
            if _identity(found) != file.identity:
                return self._miss(file, "another file")
        if self._lost is not None:
            self._set(None, "")
        return None

    def news(self) -> list[Notice]:
        """What has changed since the last call."""
        news, self._news = self._news, []
        return news

    def tell_restored(self, path: Path) -> None:
        """Another file of the store was made anew."""
        self._news.append(Notice("store.restored", {"what": str(path)}))

    def _miss(self, file: _OpenFile, found: str) -> StoreUnavailable:
        complaint = (
            f"{file.path}: expected the file that this process has open, got {found}: {self._remedy(file)}"
        )
        self._set(file, complaint)
        return StoreUnavailable(complaint)

    def _remedy(self, lost: _OpenFile) -> str:
        """Where the file is now, and how what it holds is saved. Descriptors are named for that."""
        where = _whereabouts(lost)
        if where:
            return f"it was moved to {where}; move it back, and the work goes on"
        if lost in self._files[1:]:
            return f"a daemon writes what is in its log into {self._paths[0]} and begins a new one"
        copies = " and ".join(
            f"/proc/{os.getpid()}/fd/{file.descriptor} to {file.path.name}" for file in self._files
        )
        return (
            "it was deleted, unmounted or replaced, and what was acknowledged is only in this process: mount "
            "it again, or save it with monqbus backup FILE before you stop the daemon (or copy "
            f"{copies}), put that alone in its place, without an older -wal, and start again"
        )

    def _set(self, lost: _OpenFile | None, complaint: str) -> None:
        was, self._lost = self._lost, lost
        if complaint and complaint != self._complaint:
            self._news.append(Notice("store.moved", {"path": str(self._paths[0]), "error": complaint}))
        if was is not None and lost is None:
            self._news.append(Notice("store.restored", {"what": str(was.path)}))
        self._complaint = complaint


def log_of(path: Path) -> Path:
    """The write-ahead log of the file *path*."""
    return path.with_name(path.name + "-wal")


def _open_file(path: Path) -> _OpenFile:
    try:
        identity = _identity(path.stat())
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: expected the file that was just opened, got {error.strerror}; "
            "see who deletes or moves files there, and start again"
        ) from error
    return _OpenFile(path, str(path), identity, _descriptor(identity))


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino


def _descriptor(identity: Identity) -> int | None:
    """Our descriptor of that file; None where the system does not list them."""
    with suppress(OSError):
        for link in DESCRIPTORS.iterdir():
            with suppress(OSError):  # the listing's own is closed by now
                if _identity(os.fstat(int(link.name))) == identity:
                    return int(link.name)
    return None


def _whereabouts(file: _OpenFile) -> str:
    """Under which name the open file can be found now, "" when there is none that we know."""
    with suppress(OSError):
        where = (DESCRIPTORS / str(file.descriptor)).readlink()
        if _identity(where.stat()) == file.identity:
            return str(where)
    return ""
