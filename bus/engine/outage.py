"""A store that does not answer, as one part of the engine meets it: told once, and its end once."""

from __future__ import annotations

from typing import Any

from ..clock import Clock
from ..telemetry import ToldOnce, emit


class Outage:
    """What was being done, *doing*, when the store failed, until it answers again."""

    def __init__(self, doing: str, clock: Clock) -> None:
        self._doing = doing
        self._clock = clock
        self._told = ToldOnce()

    def pause(self, error: Exception, **fields: Any) -> float:
        """Tell of *error* when it is the first; how many seconds to wait, different for each daemon."""
        if self._told.begins():
            emit("store.failed", doing=self._doing, error=error, **fields)
        return 0.5 + 0.5 * self._clock.chance()

    def recovered(self, **fields: Any) -> None:
        """The store has answered."""
        if self._told.ends():
            emit("store.recovered", doing=self._doing, **fields)
