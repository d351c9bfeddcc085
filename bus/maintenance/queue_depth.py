"""Counts the work that waits in the store, so that deliveries are refused before it is too much.

Counting costs as much as there is, so it is done at most a twentieth of the time; between two looks
what this process posts is added. A flood cannot overshoot by more than what others post meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..clock import Clock
from ..engine.loop import Loop
from ..errors import StoreError
from ..model import READY
from ..store.contract import CALL_SECONDS, Queue
from ..telemetry import ToldOnce, emit

PAUSE_SECONDS: Final = 2.0
REST_PER_WORK: Final = 20.0


class QueueDepth:
    """Ready tasks in the store, due or not, counted up to *most*; at that many `is_full` is true.

    A listener of telemetry: it adds what is posted as ready. While the store does not answer, the
    last count stands. With 0 for *most* it looks at nothing and is never full.
    """

    def __init__(self, store: Queue, clock: Clock, most: int) -> None:
        self.loop = Loop("queue depth", self.tick, CALL_SECONDS, clock)
        self._store = store
        self._clock = clock
        self._most = most
        self._counted = 0
        self._posted = 0
        self._look_at = 0  # with so many posted it is worth looking before the pause is over
        self._rest_until = 0.0
        self._told = ToldOnce()

    @property
    def is_full(self) -> bool:
        """At least *most* tasks wait, as far as is known here."""
        return 0 < self._most <= self._counted + self._posted

    @property
    def ready(self) -> int | None:
        """About how many are ready, as far as is known here; None when nothing is counted."""
        return self._counted + self._posted if self._most else None

    @property
    def complaint(self) -> str | None:
        """Why deliveries are refused, or None."""
        if not self.is_full:
            return None
        return f"queue: {self._most} tasks or more wait, which is [http] max_ready_tasks"

    def __call__(self, fact: str, fields: Mapping[str, Any]) -> None:
        """Telemetry's listener."""
        if fact == "task.posted" and fields["task"].state == READY:
            self._posted += 1
            if self._posted == self._look_at:
                self.loop.wake()

    def tick(self) -> float | None:
        """Count anew, unless the last count was so long that it is too early."""
        if not self._most:
            return None
        began = self._clock.monotonic()
        if began < self._rest_until:
            return self._rest_until - began
        posted_before = self._posted
        try:
            self._counted = self._store.depth(self._most)
        except StoreError as error:
            self.loop.health.fail(error)
            return PAUSE_SECONDS
        self._posted -= posted_before
        self._look_at = self._posted + max(1, (self._most - self._counted) // 2)
        took = self._clock.monotonic() - began
        self._rest_until = began + took + took * REST_PER_WORK
        self._tell()
        return max(PAUSE_SECONDS, took * REST_PER_WORK)

    def _tell(self) -> None:
        fact = "queue.filled" if self.is_full else "queue.recovered"
        if self._told.begins() if self.is_full else self._told.ends():
            emit(fact, waiting=self._counted, most=self._most)
