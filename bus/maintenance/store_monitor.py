"""Monitors the store: asks whether it takes work, and lets it tend itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..clock import Clock
from ..engine.loop import Loop
from ..errors import StoreError
from ..store import CALL_SECONDS, Notice, Store
from ..telemetry import emit

PAUSE_SECONDS: Final = 1.0
ASK_SECONDS: Final = 5.0
"""Asking is a write: a disk that has nothing else to do need not do more of it."""

AGAIN_SECONDS: Final = 0.5
"""After it has said no: deliveries come back as soon as it takes them."""


class StoreMonitor:
    """Once a second: room on the disk, the reserve. An adapter is silent, so its notices are told here.

    The store is asked to write every ASK_SECONDS, and at once when it has noticed something or somebody
    doubts it. So `complaint` costs nothing and can be read at any time.
    """

    def __init__(self, store: Store, clock: Clock, name: str = "store", *, is_spool: bool = False) -> None:
        self.loop = Loop(name, self.tick, CALL_SECONDS, clock)
        self.complaint: str | None = None
        self._store = store
        self._clock = clock
        self._is_spool = is_spool
        self._asked_at = clock.monotonic()
        self._is_doubted = False

    def doubt(self, error: StoreError) -> None:
        """It has just refused work with *error*: say so until it has been asked again. Never blocks."""
        self._is_doubted = True
        self._complain(error)
        self.loop.wake()

    def trust(self) -> None:
        """It has just taken work."""
        self._is_doubted, self.complaint = False, None

    def tick(self) -> float:
        """Tend the store, ask it if it is time. One that fails is told of by those who need it for work."""
        notices: Sequence[Notice] = ()
        try:
            notices = self._store.tend()
            self._ask(at_once=bool(notices))
        except StoreError as error:
            self._complain(error)
            # the spool stands in for a store that is away: nobody stands in for the spool
            self.loop.health.fail(error, is_outage=not self._is_spool)
        for notice in notices:  # now: whoever hears of it finds the answer changed
            emit(notice.fact, **notice.fields)
        return PAUSE_SECONDS if self.complaint is None else AGAIN_SECONDS

    def _ask(self, *, at_once: bool) -> None:
        now = self._clock.monotonic()
        if not (at_once or self._is_doubted or self.complaint) and now - self._asked_at < ASK_SECONDS:
            return
        self._is_doubted = False
        self._asked_at = now
        self._store.ping()
        if not self._is_doubted:  # else somebody was refused meanwhile
            self.complaint = None

    def _complain(self, error: StoreError) -> None:
        self.complaint = f"{self.loop.name}: {error}"
