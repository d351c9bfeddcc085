"""Counts the kernel's out-of-memory kills in this control group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..clock import Clock

WORD: Final = b"oom_kill "
RECENT_SECONDS: Final = 1.0


class OomCounter:
    """Counts since boot in the nearest place the kernel counts in; always 0 where it does not tell."""

    def __init__(self) -> None:
        self._descriptor = _open_counter()
        self._clock = Clock()
        self._last = 0
        self._read_at = float("-inf")

    def kills(self) -> int:
        """The present count. Up to twenty microseconds."""
        if self._descriptor is None:
            return 0
        self._last = _count(os.pread(self._descriptor, 16_384, 0)) or 0
        self._read_at = self._clock.monotonic()
        return self._last

    def recently(self) -> int:
        """The count as it was at most RECENT_SECONDS ago: cheap enough to be asked for each task."""
        if self._clock.monotonic() - self._read_at > RECENT_SECONDS:
            return self.kills()
        return self._last

    def close(self) -> None:
        """Count no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open_counter() -> int | None:
    for path in (*_places(), Path("/proc/vmstat")):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if _count(os.pread(descriptor, 16_384, 0)) is not None:
                return descriptor
            os.close(descriptor)
    return None


def _places() -> Iterator[Path]:
    """The files of this process's memory group: version 2 of control groups, and version 1."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield Path(f"/sys/fs/cgroup{group}/memory.events")
            elif "memory" in controllers.split(","):
                yield Path(f"/sys/fs/cgroup/memory{group}/memory.oom_control")


def _count(text: bytes) -> int | None:
    for line in text.splitlines():
        if line.startswith(WORD):
            return int(line[len(WORD) :])
    return None
