"""Deletes ended tasks and old events when their retention is over."""

from __future__ import annotations

from typing import Final

from ..clock import Clock
from ..engine.loop import Loop
from ..store.contract import Archive

PAUSE_SECONDS: Final = 60.0
BREATH_SECONDS: Final = 0.05
BATCH: Final = 500


class Pruner:
    """Deletes in small batches, so that a big clean-up never holds the store for long."""

    def __init__(self, store: Archive, clock: Clock) -> None:
        self.loop = Loop("pruner", self.tick, PAUSE_SECONDS, clock)
        self._store = store
        self._clock = clock

    def tick(self) -> float:
        """Delete one batch."""
        gone = self._store.prune(self._clock.horizon(), BATCH)
        return BREATH_SECONDS if gone >= BATCH else PAUSE_SECONDS
