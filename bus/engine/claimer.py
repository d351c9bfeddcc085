"""Claims ready tasks of one lane, never more than it has free slots.

A wake-up is a hint, the poll is the truth: whatever the feed says or fails to say, a full pass
happens every POLL_SECONDS, and at the moment the next delayed task becomes due.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from ..clock import Clock
from ..errors import StoreError
from ..model import Claimed, FairShare, Instance, MonQTask, Report, ready_again
from ..store.contract import Queue
from ..telemetry import emit
from .fenced import report_each
from .loop import Loop
from .outage import Outage
from .pool import Pool
from .recorder import Recorder

POLL_SECONDS: Final = 5.0
AGED_SECONDS: Final = 60.0
AGED_EACH: Final = 10


class Claimer:
    """The only claimer of its lane: fills *pool* with tasks of *names*.

    *may_claim* is False while this daemon's lease is in doubt. While tasks of several names wait, none
    gets more than half of the slots; and each tenth place goes to the task that has been due longest, if
    that is AGED_SECONDS or more, so that low priorities have their turn too.
    """

    def __init__(
        self,
        store: Queue,
        instance: Instance,
        pool: Pool,
        recorder: Recorder,
        clock: Clock,
        *,
        names: Callable[[], Collection[str]],
        may_claim: Callable[[], bool],
    ) -> None:
        self.instance = instance
        self.loop = Loop("claimer", self.tick, POLL_SECONDS, clock)
        self.is_stopping = False
        self.pool = pool
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._names = names
        self._may_claim = may_claim
        self._more_waits = True  # until a pass has shown otherwise
        self._takes_one = False
        self._next_look: datetime | None = None
        self._full_at: datetime | None = None
        self._doubted: list[MonQTask] = []
        self._outage = Outage("claiming", clock)
        self._unaged = 0  # how many were claimed since one was by its age
        pool.on_free = self._slot_freed

    def tick(self) -> float | None:
        """One claim pass; returns the pause until the next one is due without a wake."""
        names = self._names()
        if self.is_stopping or not names:
            return None
        free = self.pool.free
        if free <= 0 or self._recorder.is_full or not self._may_claim():
            self._more_waits = True
            if free <= 0:
                self._full_at = self._clock.now()
            return POLL_SECONDS
        limit = self._limit(free)
        try:
            claimed = self._claim(names, limit)
        except StoreError as error:
            self.loop.health.fail(error)
            return self._outage.pause(error)
        self._outage.recovered()
        came_full = len(claimed.tasks) == limit
        if came_full and self._takes_one:
            self._takes_one = False
            return 0
        self._takes_one = self._store.shared and not came_full
        look_again_now = came_full and not self._more_waits
        self._more_waits = came_full
        self._next_look = claimed.next_due
        if look_again_now:
            return 0
        if came_full or claimed.next_due is None:
            return POLL_SECONDS
        ahead = (claimed.next_due - self._clock.now()).total_seconds()
        return min(POLL_SECONDS, max(ahead, 0.001))

    def _limit(self, free: int) -> int:
        """How many to claim while *free* slots are there.

        Half of the slots stay open to direct starts unless the last pass found more than it could take. Where
        nothing was waiting, whoever has posted since waits for this pass: a store across the network
        gives one task sooner than many, and the others come with the pass behind it.
        """
        if self._more_waits:
            return free
        return 1 if self._takes_one else max(1, free // 2)

    # direct starts

    @property
    def lets_start(self) -> bool:
        """Whether a task may begin as it is posted: only while nothing waits that would have to go first."""
        return (
            not self._more_waits and not self.is_stopping and not self._recorder.is_full and self._may_claim()
        )

    def settle(self, doubted: Sequence[MonQTask]) -> None:
        """Release those of *doubted* that were stored, when the store answers: it is unknown which were."""
        self._doubted.extend(doubted)
        self.loop.wake()

    def catch_up(self) -> None:
        """Names are claimed again: what has waited of them begins before what is posted."""
        self._more_waits = True
        self.loop.wake()

    def try_one(self, name: str) -> MonQTask | None:
        """Begin one task of *name*, which is paused, if one is due and a slot is free. Asks the store."""
        if not self.may_try or not self.pool.reserve(1):
            return None
        try:
            claimed = self._store.claim(self.instance, (name,), 1, self._clock.now())
        finally:
            self.pool.give_back(1)
        self.pool.start(claimed.tasks)
        return claimed.tasks[0] if claimed.tasks else None

    @property
    def may_try(self) -> bool:
        """Whether one task more may begin here."""
        return (
            self.pool.free > 0 and not self.is_stopping and not self._recorder.is_full and self._may_claim()
        )

    def was_full(self, since: datetime) -> bool:
        """Whether a pass has found no slot free after *since*, or none is free now."""
        return self.pool.free <= 0 or (self._full_at is not None and self._full_at > since)

    def expect_at(self, moment: datetime) -> None:
        """A task becomes due at *moment*: look at once, or then."""
        if self._next_look is None or moment < self._next_look or moment <= self._clock.now():
            self.loop.wake()

    # inside

    def _claim(self, names: Collection[str], limit: int) -> Claimed:
        """Claim under reserved slots: while the store works, direct starts must not take them."""
        self.pool.reserve(limit)
        try:
            self._settle_doubts()
            now = self._clock.now()
            claimed = self._store.claim(self.instance, names, limit, now, self._fair_share(names, now))
        finally:
            self.pool.give_back(limit)
        self._unaged = self._unaged % AGED_EACH + len(claimed.tasks)
        self.pool.start(claimed.tasks)
        return claimed

    def _fair_share(self, names: Collection[str], now: datetime) -> FairShare:
        runs = self.pool.running.values() if len(names) > 1 else ()
        return FairShare(
            most=max(1, self.pool.size // 2),
            held=Counter(run.task.task_name for run in runs),
            aged=self._unaged // AGED_EACH,
            aged_before=now - timedelta(seconds=AGED_SECONDS),
        )

    def _slot_freed(self) -> None:
        if self._more_waits:
            self.loop.wake()

    def _settle_doubts(self) -> None:
        if not self._doubted:
            return
        tasks, self._doubted = self._doubted, []  # others may be doubted while the store is asked
        try:
            held = report_each(self._store, [Report(task.claim, ready_again(0)) for task in tasks])
        except BaseException:
            self._doubted = tasks + self._doubted
            raise
        for task, mine in zip(tasks, held, strict=True):
            if isinstance(mine, Exception):
                emit("task.set_aside", task_id=task.id, reason=mine)
        emit("claim.reconciled", count=len(tasks), released=sum(mine is True for mine in held))
