"""The greenlet slots: which tasks run, and how many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import gevent
from bson import ObjectId

from ..clock import Clock
from ..errors import Interrupt
from ..model import Claim, MonQTask
from .health import Health
from .run import Run

LOOK_SECONDS: Final = 0.01


class Pool:
    """Runs tasks in greenlets, at most *size* at once. Only the hub's thread may call it.

    `free` is exact: slots set aside with `reserve` count as taken.
    """

    def __init__(self, size: int, perform: Callable[[Run], None], clock: Clock) -> None:
        self.size = size
        self.running: dict[Claim, Run] = {}
        self._latest: dict[ObjectId, Run] = {}
        self.on_free: Callable[[], None] = lambda: None
        self._perform = perform
        self._clock = clock
        self._reserved = 0
        self._health = Health("slots", clock=clock)

    @property
    def free(self) -> int:
        """How many more tasks may begin now."""
        return self.size - len(self.running) - self._reserved

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs and no slot is set aside."""
        return not self.running and not self._reserved

    def reserve(self, count: int) -> bool:
        """Set *count* slots aside, all of them or none. Never blocks."""
        if count > self.free:
            return False
        self._reserved += count
        return True

    def give_back(self, count: int) -> None:
        """Free *count* slots that were set aside."""
        self._reserved -= count

    def start(self, tasks: Iterable[MonQTask]) -> None:
        """Begin *tasks*, each in a greenlet of its own. Never blocks; the caller saw to `free`."""
        started = self._clock.monotonic()
        for task in tasks:
            run = Run(task, started)
            earlier = self._latest.get(task.id)
            self.running[run.claim] = self._latest[task.id] = run
            run.slot = gevent.spawn(self._run, run, earlier)

    def _run(self, run: Run, earlier: Run | None) -> None:
        """Perform *run*, after an *earlier* one of its task: an interrupt may not have ended it yet."""
        try:
            if earlier is not None:
                earlier.left.wait()
                run.started = self._clock.monotonic()
            self._perform(run)
        finally:
            run.left.set()
            del self.running[run.claim]
            if self._latest.get(run.task.id) is run:
                del self._latest[run.task.id]
            self.on_free()

    @property
    def health(self) -> Health:
        """Its record. A slot whose greenlet was killed before it began is never free again: a death."""
        for run in self.running.values():
            if run.slot is not None and run.slot.dead:
                self._health.die(f"the greenlet of task {run.task.id} was killed before it began")
        return self._health

    def interrupt(self, ids: Sequence[ObjectId] | None, reason: type[Interrupt]) -> None:
        """Cut short those of *ids* that run here, or everything when None."""
        for run in list(self.running.values()):
            if ids is None or run.task.id in ids:
                run.interrupt(reason())

    def drain(self, seconds: float) -> int:
        """Block until no task runs or *seconds* are over; how many still run."""
        deadline = self._clock.monotonic() + seconds
        while self.running and self._clock.monotonic() < deadline:
            self._clock.sleep(LOOK_SECONDS)
        return len(self.running)
