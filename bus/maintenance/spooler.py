"""Keeps deliveries in the spool file while the store is away, and stores them when it is back.

From the first delivery that the store did not take until the last one has left the spool, all of
them go through it: that keeps their order. Each keeps the ids with which its sender was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bson import ObjectId

from ..clock import Clock
from ..engine.loop import Loop
from ..errors import NotAccepted, StoreError, StoreFull, StoreUnavailable
from ..model import MonQTask, Posting, Receipt
from ..store import CALL_SECONDS, Store
from ..telemetry import ToldOnce, emit
from .store_monitor import StoreMonitor

if TYPE_CHECKING:
    from ..store import Spool

BATCH: Final = 500
PAUSE_SECONDS: Final = 0.5
MOMENT_SECONDS: Final = 0.01
STUCK_SECONDS: Final = 60.0
"""Between two tries of what the store has refused: somebody may have changed its rules."""


class Spooler:
    """Implements posting.Spooler. *expect* is told of tasks that now wait in the store;
    `store_monitor` looks after the spool itself.

    Handing over is safe to repeat: the store knows the ids. So a posting leaves the spool only when
    the store has it, and a daemon that is killed in between hands it over again.
    """

    def __init__(
        self, spool: Spool, store: Store, clock: Clock, expect: Callable[[Sequence[MonQTask]], None]
    ) -> None:
        self.store_monitor = StoreMonitor(spool, clock, "spool", is_spool=True)
        self.loop = Loop("spooler", self.tick, CALL_SECONDS, clock)
        self.is_open = False
        self._spool = spool
        self._store = store
        self._clock = clock
        self._expect = expect
        self._entering = 0
        self._handed = 0
        self._began = 0.0
        self._full = ToldOnce()
        self._stuck: set[ObjectId] = set()
        self._stuck_until = 0.0
        if spool.size:
            self._open()

    @property
    def takes(self) -> bool:
        """Whether it is there for new deliveries, and not only for what an earlier run left behind."""
        return self._spool.most > 0

    @property
    def remark(self) -> str | None:
        """What `/readyz` says beside that deliveries may come."""
        return f"spooling: {self._spool.size} deliveries wait for the store" if self.is_open else None

    @property
    def complaint(self) -> str | None:
        """Why no delivery should be sent here, or None: while the spool takes them, they may."""
        if not self.is_open:
            return None
        if self._spool.is_full:
            return "spool: full, and the store is away"
        return self.store_monitor.complaint

    def begin(self, error: StoreUnavailable) -> None:
        """The store did not take a delivery: from now on the spool does. Never blocks."""
        if not self.is_open:
            self._open(error=error)
            self.loop.wake()

    def keep(self, posting: Posting) -> Receipt:
        """Put *posting* into the spool; durable when it returns. Raises StoreUnavailable."""
        self._entering += 1
        try:
            receipt = self._spool.keep(posting)
        except StoreUnavailable as error:
            self.store_monitor.doubt(error)
            if isinstance(error, StoreFull) and self._full.begins():
                emit("spool.filled", waiting=self._spool.size, error=error)
            raise
        finally:
            self._entering -= 1
        self._full.ends()
        return receipt

    def tick(self) -> float | None:
        """Hand one batch over, which is also how the store's return is noticed."""
        if not self.is_open:
            return self._try_stuck()
        batch: list[Posting] | None = None
        try:
            batch = self._spool.oldest(BATCH, self._stuck)
            for complaint in self._spool.complaints():
                emit("spool.stuck", error=complaint)
            if batch:
                self._hand_over(batch)
                return 0
            if self._entering:
                return MOMENT_SECONDS
            self._store.ping()
            self._spool.recount()
        except StoreError as error:
            # the store being away is no fault of its own
            is_spool = batch is None or self.store_monitor.complaint is not None
            self.loop.health.fail(error, is_outage=False if is_spool else None)
            return PAUSE_SECONDS
        return self._try_stuck() if self._close() else 0

    def _open(self, **why: StoreUnavailable) -> None:
        self.is_open = True
        self._handed = 0
        self._began = self._clock.monotonic()
        emit("spool.opened", waiting=self._spool.size, **why)

    def _close(self) -> bool:
        """Let deliveries go to the store again, unless one entered the spool while it was asked."""
        if self._entering or self._spool.size > len(self._stuck) + self._spool.unreadable:
            return False
        self.is_open = False
        emit("spool.handed_over", count=self._handed, seconds=self._clock.monotonic() - self._began)
        return True

    def _hand_over(self, batch: list[Posting]) -> None:
        try:
            receipts = self._store.post(batch)
        except NotAccepted as error:
            self._hand_over_apart(batch, error)
            return
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - one of them cannot be stored; it must not hold up the others
            self._hand_over_apart(batch, error)
            return
        self._spool.forget(batch)
        self._stuck.difference_update(posting.event.id for posting in batch if posting.event)
        self._handed += len(batch)
        for posting, receipt in zip(batch, receipts, strict=True):
            if posting.event and receipt.replayed:
                emit("event.replayed", event=posting.event, first=receipt.event_id)
            elif posting.event and receipt.event_id != posting.event.id:
                emit("event.repeated", event=posting.event, first=receipt.event_id)
        if tasks := [task for posting in batch for task in posting.tasks]:
            self._expect(tasks)
            self._store.ring({task.task_name for task in tasks})

    def _try_stuck(self) -> float | None:
        """Hand over again what was refused, from time to time; the pause until the next try."""
        if not self._stuck:
            return None
        now = self._clock.monotonic()
        if now >= self._stuck_until:
            self._stuck_until = now + STUCK_SECONDS
            with suppress(StoreError):
                self._hand_over(self._spool.oldest(BATCH))
        return self._stuck_until - now if self._stuck else None

    def _hand_over_apart(self, batch: list[Posting], error: Exception) -> None:
        """As `_hand_over`, by halves, after *error* about one of *batch*."""
        if len(batch) == 1:
            self._set_aside(batch[0], error)
            return
        half = len(batch) // 2
        self._hand_over(batch[:half])
        self._hand_over(batch[half:])

    def _set_aside(self, posting: Posting, error: Exception) -> None:
        """Leave a posting that no store can keep where it is: it was promised, and somebody may look."""
        if posting.event and posting.event.id not in self._stuck:
            self._stuck.add(posting.event.id)
            self._stuck_until = self._clock.monotonic() + STUCK_SECONDS
            emit("spool.stuck", event=posting.event, error=error)
