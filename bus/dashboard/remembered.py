"""Answers that may be a little old: many open pages must not ask the store more often than one does."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from ..clock import Clock

Answer = TypeVar("Answer")
LEAST_SECONDS: Final = 2.0
SHARE: Final = 50
"""An answer is kept for so many times as long as it took, so that asking costs at most 2 % of the time."""
MOST: Final = 64


class Remembered:
    """Keeps answers by what was asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[Hashable, tuple[float, Any]] = {}

    def ask(self, about: Hashable, question: Callable[[], Answer]) -> Answer:
        """The kept answer, or that of *question* now. Blocks and raises as that does."""
        began = self._clock.monotonic()
        kept = self._kept.get(about)
        if kept is not None and began < kept[0]:
            known: Answer = kept[1]
            return known
        found = question()
        now = self._clock.monotonic()
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[about] = (now + max(LEAST_SECONDS, SHARE * (now - began)), found)
        return found

    def forget(self) -> None:
        """Ask anew: something was changed from here."""
        self._kept.clear()
