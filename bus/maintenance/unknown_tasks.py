"""Reports tasks that wait under names which this daemon does not know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from ..engine.loop import Loop
from ..store.contract import Backlog, Queue
from ..telemetry import ToldOnce, emit

PAUSE_SECONDS: Final = 30.0


class UnknownTasks:
    """Tells once about each parked name, and again when it comes back after having been gone.

    It looks when the daemon itself has stored a task under a name it does not know, because it listens
    to the facts, and every PAUSE_SECONDS for what others have stored.
    """

    def __init__(self, store: Queue, names: Callable[[], Collection[str]]) -> None:
        self.loop = Loop("unknown tasks", self.tick, PAUSE_SECONDS)
        self._store = store
        self._names = names
        self._told = ToldOnce()
        self.waiting: Mapping[str, Backlog] = {}
        """What was ready at the last look, under each name."""

    def __call__(self, fact: str, fields: Mapping[str, Any]) -> None:
        """A telemetry listener."""
        if fact == "task.posted":
            name = fields["task"].task_name
            if name not in self._told and name not in self._names():
                self.loop.wake()

    def tick(self) -> float:
        """Compare what waits with what is known."""
        known = self._names()
        self.waiting = self._store.waiting()
        parked = {name: backlog.depth for name, backlog in self.waiting.items() if name not in known}
        for name in self._told.now(sorted(parked)):
            emit("task.parked", name=name, waiting=parked[name])
        return PAUSE_SECONDS
