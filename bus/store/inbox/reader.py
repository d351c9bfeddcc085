"""The side of the daemon: finds the files, gives out their records in order, deletes what is done with."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from .format import (
    DAMAGED,
    HEADER,
    SUFFIX,
    TAKEN,
    TAKEN_OFFSET,
    Damaged,
    Record,
    missing,
    records,
    taken_of,
)
from .writer import FOLDER

PIECE_BYTES: Final = 1024**2
"""So much of a file is in memory at a time; one larger record is there alone."""


class Piece(NamedTuple):
    """Whole records of one file, in order, to be stored and then marked as `taken`."""

    name: str
    records: list[Record]


class InboxReader:
    """All files of the inbox in *data_dir*. One daemon at a time; it may be asked from one greenlet only.

    Each file is held open from when it is found, so that one which somebody deletes is read to its end all
    the same.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._open: dict[str, _Source] = {}
        self._complaints: list[str] = []
        self._last = ""  # the file that gave the last piece: the next pass begins behind it
        self._closed: set[str] = set()  # files that could not be opened, and were told of

    def complaints(self) -> list[str]:
        """What was found to be damaged since the last call, each as one sentence with the remedy."""
        found, self._complaints = self._complaints, []
        return found

    def pieces(self) -> Iterator[Piece]:
        """A piece of each file that has something new, in turn. What is not marked as taken comes again.

        Blocks for the disk. Files that are done with are deleted on the way. Raises OSError.
        """
        self._find()
        for name, source in sorted(self._open.items(), key=lambda item: (item[0] <= self._last, item[0])):
            try:
                found = source.read()
            except Damaged as error:
                self._set_aside(name, source, error)
                continue
            if found:
                self._last = name
                yield Piece(name, found)
            elif source.is_done():
                self._forget(name, source)

    def sizes(self) -> dict[str, int]:
        """How long each file is now."""
        self._find()
        return {name: source.size for name, source in self._open.items()}

    def has_read(self, sizes: Mapping[str, int]) -> bool:
        """Whether every file was taken over as far as *sizes*, or is done with."""
        return all(name not in self._open or self._open[name].place >= size for name, size in sizes.items())

    def taken(self, name: str, end: int) -> None:
        """Mark all before *end* of a file as stored. Not waited for: the store knows the ids again."""
        self._open[name].take(end)

    def refuse(self, name: str, record: Record, reason: object) -> None:
        """Keep *record* of the file *name* in a file of its own: it was promised, and cannot be stored."""
        aside = self._folder / f"{name}.{record.end}{DAMAGED}"
        descriptor = os.open(
            aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, record.payload)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._complaints.append(
            f"{aside}: {reason}; post it again in a form that can be stored, or delete it"
        )

    def close(self) -> None:
        """Close all files; the next reader finds them."""
        for source in self._open.values():
            source.close()
        self._open.clear()

    def _find(self) -> None:
        try:
            with os.scandir(self._folder) as entries:
                names = sorted(entry.name for entry in entries if entry.name.endswith(SUFFIX))
        except FileNotFoundError:
            return
        for name in names:
            if name not in self._open:
                self._try_to_open(name)

    def _try_to_open(self, name: str) -> None:
        try:
            self._open[name] = _Source(self._folder / name)
        except FileNotFoundError:
            return
        except OSError as error:
            if name not in self._closed:
                self._closed.add(name)
                self._complaints.append(
                    f"{self._folder / name}: expected a file of this user, got: {error.strerror}; what is "
                    "posted there waits: give it to the daemon's user, or delete it"
                )

    def _forget(self, name: str, source: _Source) -> None:
        with suppress(OSError):
            if source.is_at(self._folder / name):
                (self._folder / name).unlink()
        source.close()
        del self._open[name]

    def _set_aside(self, name: str, source: _Source, error: Damaged) -> None:
        """Leave what cannot be read for somebody to look at: it may have been acknowledged."""
        aside = self._folder / f"{name}{DAMAGED}"
        with suppress(OSError):
            if source.is_at(self._folder / name):
                (self._folder / name).rename(aside)
        self._complaints.append(
            f"{aside}: {error}: postings behind it were not taken over; restore the disk's copy of it, "
            "or delete it"
        )
        source.close()
        del self._open[name]


def waiting_bytes(data_dir: Path) -> int:
    """How many bytes no daemon has taken over yet. Reads only; 0 where there is no inbox."""
    waiting = 0
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in (data_dir / FOLDER).glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError, Damaged), path.open("rb") as file:
                waiting += max(0, file.seek(0, os.SEEK_END) - _taken(file))
    return waiting


def left_aside(data_dir: Path) -> list[Path]:
    """The files of what could not be read or stored, which somebody should look into."""
    return sorted((data_dir / FOLDER).glob(f"*{DAMAGED}"))


def _taken(file: BinaryIO) -> int:
    file.seek(0)
    return taken_of(file.read(HEADER.size))


class _Source:
    """One file, read from where the last daemon has stopped."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        self.place = 0
        """Everything before it is stored; 0 until the header was read."""

    @property
    def size(self) -> int:
        """How long it is now."""
        return os.fstat(self._descriptor).st_size

    def read(self) -> list[Record]:
        """The next whole records. Raises Damaged."""
        if not self.place:
            self.place = taken_of(os.pread(self._descriptor, HEADER.size, 0))
        data = os.pread(self._descriptor, PIECE_BYTES, self.place)
        found = self._whole(data)
        if not found and data and (more := missing(data)):
            found = self._whole(data + os.pread(self._descriptor, more, self.place + len(data)))
        return found

    def _whole(self, data: bytes) -> list[Record]:
        """The records of *data* up to a damaged one. Raises Damaged when that is the first."""
        found = []
        try:
            for record in records(data, self.place):
                found.append(record)
        except Damaged:
            if not found:
                raise
        return found

    def take(self, end: int) -> None:
        """Remember in the file that everything before *end* is stored."""
        self.place = end
        with suppress(OSError):  # of a deleted disk; what is read again, the store knows again
            os.pwrite(self._descriptor, TAKEN.pack(end), TAKEN_OFFSET)

    def is_done(self) -> bool:
        """Whether nothing more can come: its writer has let go of it, and all of it was read.

        What a killed writer has begun and not ended was acknowledged to nobody.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return not self.read()  # it may have written and ended since the last look

    def is_at(self, path: Path) -> bool:
        """Whether it still is what has that name."""
        return os.path.samestat(os.fstat(self._descriptor), path.lstat())

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)
