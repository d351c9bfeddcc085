"""Renews the daemon's lease from an OS thread; stops all work when it cannot.

A greenlet would starve behind task code that computes without yielding (measured: a 2 s burn makes
a 2.08 s gap), so the renewals come from a native thread with a store connection of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from ..clock import Clock
from ..engine.health import Health
from ..engine.loop import Loop
from ..model import Instance
from ..process.native_threads import let_end
from ..store import CALL_SECONDS, Store
from ..store.contract import Leases
from ..telemetry import ToldOnce, emit

BEATS_PER_LEASE: Final = 6
AGAIN_SECONDS: Final = 0.5
"""After a renewal that failed: the work goes on as soon as the store is back."""

FENCE_PART: Final = 5 / 6
"""At this part of the lease what runs is cut short: it takes its time, and all must be over at the end."""

LOOK_SECONDS: Final = 1.0
HASTY_SECONDS: Final = 0.2
CLOSE_SECONDS: Final = 1.0
STOP_SECONDS: Final = 2.5


class Heartbeat:
    """Renews the lease of *instance*; *open_store* opens a store for the thread alone.

    Claiming stops after two thirds of a lease without a renewal; after FENCE_PART of it *fence* is
    called at every look, and once after a lease that ran out before it was renewed: what still runs
    here may have been given to another daemon. *regained* is called when claiming may go on.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        instance: Instance,
        clock: Clock,
        *,
        lease_seconds: float,
        fence: Callable[[], None],
        regained: Callable[[], None] = lambda: None,
    ) -> None:
        self.loop = Loop("fence", self.tick, LOOK_SECONDS, clock)
        self.health = Health("heartbeat", max(lease_seconds / BEATS_PER_LEASE, CALL_SECONDS), clock)
        self._open_store = open_store
        self._instance = instance
        self._clock = clock
        self._lease = lease_seconds
        self._fence = fence
        self._regained = regained
        self._lapses: int | None = None
        self._renewed_at = clock.monotonic()
        self._is_stopping = False
        self._lost = ToldOnce()
        self._has_lapsed = False
        self._thread = ThreadPool(1)
        self._beating: AsyncResult | None = None

    @property
    def is_safe(self) -> bool:
        """True while the lease is young enough to begin new work under it, and no fence is due."""
        return not self._has_lapsed and self._age < self._lease * 2 / 3

    @property
    def _age(self) -> float:
        return self._clock.monotonic() - self._renewed_at

    def start(self) -> None:
        """Renew once before anything is claimed, then keep renewing. Raises StoreUnavailable."""
        store = self._thread.apply(self._open_store)
        self._thread.apply(self._renew, (store,))
        self.health.succeed()
        self._beating = self._thread.spawn(self._beat, store)
        self._beating.rawlink(self._ended)
        self.loop.start()

    def stop(self) -> None:
        """End the lease, so that others need not wait for it to run out.

        Blocks for STOP_SECONDS at most: a store that is away must not hold up the end of the daemon.
        """
        self._is_stopping = True
        self.loop.stop()
        if self._beating is not None:
            self._beating.wait(STOP_SECONDS)
        let_end(self._thread)

    def tick(self) -> float:
        """Watch the lease from the hub."""
        is_safe = self.is_safe
        if not is_safe and self._lost.begins():
            emit("lease.lost", seconds=self._age)
        elif is_safe and self._lost.ends():
            emit("lease.regained")
            self._regained()
        left = self._lease * FENCE_PART - self._age
        if self._has_lapsed or left <= 0:
            self._has_lapsed = False
            self._fence()
        look = LOOK_SECONDS if is_safe else HASTY_SECONDS
        return min(left, look) if left > 0 else look

    def _beat(self, store: Store) -> None:
        """Runs in the thread. `Clock.sleep` blocks this thread only, its hub is not the daemon's."""
        between, is_renewed = self._lease / BEATS_PER_LEASE, True
        while not self._is_stopping:
            pause, waited = between if is_renewed else min(between, AGAIN_SECONDS), 0.0
            while waited < pause and not self._is_stopping:
                self._clock.sleep(0.1)
                waited += 0.1
            is_renewed = self._renew_quietly(store, self._lease)
        self._renew_quietly(store, 0.0)
        store.close()
        # the driver's own greenlets end in this thread's hub or never: at exit it waits a second for each
        gevent.get_hub().join(CLOSE_SECONDS)

    def _renew_quietly(self, leases: Leases, seconds: float) -> bool:
        """Whether it is renewed. The thread outlives whatever is raised: the lease's age tells."""
        self.health.begin()
        try:
            self._renew(leases, seconds)
        except Exception as error:  # noqa: BLE001 - see above
            self.health.fail(error)
            return False
        self.health.end(0.0)
        return True

    def _ended(self, thread: AsyncResult) -> None:
        """Called by the daemon's hub when the thread has ended."""
        if not self._is_stopping:
            self.health.die(thread.exception or "its thread has ended")

    def _renew(self, leases: Leases, seconds: float | None = None) -> None:
        asked_at = self._clock.monotonic()
        if self._age >= self._lease:
            self._has_lapsed = True  # a stopped process may renew before its hub has looked
        lapses = leases.renew(self._instance, self._lease if seconds is None else seconds)
        if self._lapses is not None and lapses > self._lapses:
            self._has_lapsed = True  # a machine that slept: its own clock has stood still
        self._lapses = lapses
        self._renewed_at = asked_at
