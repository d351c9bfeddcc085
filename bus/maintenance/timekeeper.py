"""Keeps the queue's time: notices that the machine's clock was set, and saves the mark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import gevent
from gevent.threadpool import ThreadPool

from ..clock import Clock
from ..engine.loop import Loop
from ..model import BUSY, READY, Filter
from ..steady_clock import STEP_SECONDS, Mark, SteadyClock
from ..store.clock_mark import read_mark, this_boot, write_mark
from ..store.contract import Archive
from ..telemetry import emit

if TYPE_CHECKING:
    from ..store import Spool

LOOK_SECONDS: Final = 1.0
SAVE_SECONDS: Final = 60.0
PATIENCE_SECONDS: Final = 1.0
PERIOD_SECONDS: Final = 5.0


def queue_clock(source: Clock, folder: Path, store: Archive, spool: Spool | None) -> SteadyClock:
    """The queue's time as the mark in *folder* has it, for a daemon that has posted nothing yet.

    One that is ahead of the wall clock goes back to it when nothing waits or runs by it. Asks the
    store; raises StoreError.
    """
    clock = SteadyClock(source, read_mark(folder), this_boot())
    if clock.ahead > STEP_SECONDS:
        waiting = Filter(states=(READY, BUSY), newer=clock.wall())
        if not (spool is not None and spool.size) and not store.find(waiting, 1):
            clock.settle()
    return clock


class Timekeeper:
    """Once a second a look, once a minute the mark; *save* may block and raise OSError."""

    def __init__(self, clock: SteadyClock, save: Callable[[Mark], None]) -> None:
        self.loop = Loop("timekeeper", self.tick, PERIOD_SECONDS, clock)
        self._clock = clock
        self._save = save
        self._save_at = float("-inf")

    def tick(self) -> float:
        """Look; save after a minute, and at once when the clock was set."""
        sight = self._clock.look()
        if sight.stepped:
            emit(
                "clock.stepped",
                step_seconds=round(sight.stepped, 1),
                queue_ahead_seconds=round(sight.ahead, 1),
            )
        if sight.followed:
            emit("clock.followed", step_seconds=round(sight.followed, 1))
        if sight.stepped or sight.followed or self._clock.monotonic() >= self._save_at:
            self.save()
        return LOOK_SECONDS

    def save(self) -> None:
        """Save the mark now; if the disk refuses it, the next one follows in a minute."""
        self._save_at = self._clock.monotonic() + SAVE_SECONDS
        try:
            self._save(self._clock.mark())
        except OSError:
            return


class MarkFile:
    """Writes marks into *folder* from a native thread: a disk that hangs holds up nobody else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPool(1)

    def __call__(self, mark: Mark) -> None:
        """Save *mark*; blocks for PATIENCE_SECONDS at most. Raises OSError."""
        with gevent.Timeout(PATIENCE_SECONDS, False):
            if (error := self._thread.apply(self._write, (mark,))) is not None:
                raise error

    def _write(self, mark: Mark) -> OSError | None:
        """Returns an error, for gevent's pool prints what is raised there."""
        try:
            write_mark(self._folder, mark)
        except OSError as error:
            return error
        return None
