"""Free space of the disk: the min_free watermark, and a reserve for recording ends on a full disk.

SQLite needs room to record an end, too. So new work is refused first, while there is still some, and
should the disk fill up all the same, the reserve is given up for what is under way. The reserve is
a file whose blocks are really taken.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..contract import Notice
from .data_dir import as_owner_of

RESERVE_BYTES: Final = 16 * 1024**2
MIB: Final = 1024**2
# so much must have become free beside the reserve itself before the disk is no longer full
MARGIN_BYTES: Final = 4 * MIB


class DiskSpace:
    """Knows how much is free under *folder*, keeps the reserve there, and says when to take nothing new.

    *min_free* bytes are the watermark, 0 for none. `look` asks the system; everything else only
    remembers what it found.
    """

    def __init__(self, folder: Path, min_free: int) -> None:
        self.is_low = False
        self._free = 0  # on the disk
        self._usable = 0  # and inside the store's file
        self._folder = folder
        self._min_free = min_free
        self._reserve = folder / "reserve"
        self._has_reserve = False
        self._is_spent = False
        self._is_missed = False
        self._is_full = False
        self._is_just_full = False
        self._news: list[Notice] = []

    def look(self, spare: int = 0) -> None:
        """Ask how much is free; make the reserve where it is missing and there is room for it.

        *spare* bytes inside the store's own file can be used, too: it never gets smaller. Blocks for
        as long as the disk takes to give away the reserve's blocks.
        """
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return  # the folder is gone or the disk is: writing tells, and tells it better
        self._free = found.f_bavail * found.f_frsize
        self._usable = self._free + spare
        # a quota, or blocks that are not free yet: what statvfs says counts after a second without an error
        self._is_full = self._is_full and (self._is_just_full or self._free < self._room_after_full)
        self._is_just_full = False
        self._has_reserve = self._has_reserve and self._reserve.exists()  # somebody may have deleted it
        if not self._has_reserve and not self._is_full:
            self._make_reserve()
        self._set_low(self._usable < self._watermark or self._is_full)

    def is_written_full(self) -> None:
        """SQLite has met the end of the disk: nothing new until there is room again."""
        self._is_full = self._is_just_full = True
        self._set_low(True)

    def give_up_reserve(self) -> bool:
        """Free its blocks for what cannot wait; False when there is none."""
        if not self._has_reserve:
            return False
        with suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        self._has_reserve, self._is_spent = False, True
        self._is_missed = True  # said here, and with other words
        self._tell("store.reserve_spent", reserve_bytes=RESERVE_BYTES)
        return True

    @property
    def complaint(self) -> str:
        """Why nothing new is taken, as one sentence with the remedy."""
        if self._is_full:
            return f"the disk of {self._folder} is full: new work is refused until there is room; free some"
        return (
            f"low on disk space: expected {_mib(self._min_free)} free for {self._folder}, got "
            f"{_mib(self._usable)}: new work is refused; free some, or lower [monqbus] min_free"
        )

    def news(self) -> list[Notice]:
        """What has changed since the last call."""
        news, self._news = self._news, []
        return news

    @property
    def _room_after_full(self) -> int:
        """More than the reserve has set free itself: its room is not for new work."""
        return self._min_free + MARGIN_BYTES + (RESERVE_BYTES if self._is_spent else 0)

    @property
    def _room_for_reserve(self) -> int:
        """At first it must fit twice beside the watermark: on a small disk it would only harm."""
        return self._room_after_full if self._is_spent else self._min_free + 2 * RESERVE_BYTES

    @property
    def _watermark(self) -> int:
        """Higher on the way back, so that a file that comes and goes does not swing it."""
        return self._min_free + self._min_free // 8 if self.is_low else self._min_free

    def _make_reserve(self) -> None:
        if self._is_taken():
            self._has_reserve = True
        elif self._free >= self._room_for_reserve:
            self._allocate()
        else:
            self._miss(f"expected {_mib(self._room_for_reserve)} free, got {_mib(self._free)}")

    def _is_taken(self) -> bool:
        """True when the file of an earlier start holds its blocks, as a copy of it may not."""
        try:
            found = self._reserve.lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_blocks * 512 >= RESERVE_BYTES

    def _allocate(self) -> None:
        try:
            with as_owner_of(self._folder):
                self._write_reserve()
        except OSError as error:
            with suppress(OSError):
                self._reserve.unlink()
            self._miss(str(error.strerror))
            return
        self._has_reserve, self._is_spent, self._is_missed = True, False, False
        self._free -= RESERVE_BYTES
        self._usable -= RESERVE_BYTES
        self._tell("store.reserve_made", reserve_bytes=RESERVE_BYTES, free_bytes=self._free)

    def _write_reserve(self) -> None:
        self._reserve.unlink(missing_ok=True)  # half a one, or a link that leads elsewhere
        descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # an app's umask may have left nothing of it
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        finally:
            os.close(descriptor)

    def _miss(self, reason: str) -> None:
        if not self._is_missed:
            self._is_missed = True
            self._tell("store.reserve_missing", reason=reason)

    def _set_low(self, is_low: bool) -> None:
        if is_low != self.is_low:
            self.is_low = is_low
            fact = "store.low_on_space" if is_low else "store.has_space"
            self._tell(fact, free_bytes=self._usable, min_free_bytes=self._min_free)

    def _tell(self, fact: str, **fields: Any) -> None:
        self._news.append(Notice(fact, fields))


def _mib(count: int) -> str:
    return f"{count / MIB:.1f} MiB"
