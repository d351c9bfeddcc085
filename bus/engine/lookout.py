"""Notices tasks that wait under names which this daemon does not know: parked, never dropped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from ..store import Store
from ..telemetry import emit
from .loop import Loop

PAUSE_SECONDS: Final = 30.0


class Lookout:
    """Tells once about each parked name, and again when it comes back after having been gone."""

    def __init__(self, store: Store, names: Callable[[], Collection[str]]) -> None:
        self.loop = Loop("lookout", self.tick)
        self._store = store
        self._names = names
        self._told: set[str] = set()

    def tick(self) -> float:
        """Compare what waits with what is known."""
        known = self._names()
        parked = {name: count for name, count in self._store.waiting().items() if name not in known}
        for name in sorted(parked.keys() - self._told):
            emit("task.parked", name=name, waiting=parked[name])
        self._told = set(parked)
        return PAUSE_SECONDS
