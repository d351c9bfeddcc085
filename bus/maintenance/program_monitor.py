"""Tells which handlers' commands cannot be started, and when they can be again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..engine.loop import Loop
from ..telemetry import emit

PAUSE_SECONDS: Final = 30.0


class ProgramMonitor:
    """Asks *faults* every PAUSE_SECONDS for the handlers whose commands cannot be started, by their names.

    It runs where *away* lets it: a disk that does not answer holds up nobody else. Each change is told once.
    """

    def __init__(
        self,
        faults: Callable[[], Mapping[str, str]],
        away: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self.loop = Loop("program monitor", self.tick, PAUSE_SECONDS)
        self._look = faults
        self._away = away
        self._faults: Mapping[str, str] = {}

    @property
    def remark(self) -> str | None:
        """What is worth saying of them; None when all can be started."""
        if not self._faults:
            return None
        return "; ".join(f"the tasks of handler:{name} wait: {fault}" for name, fault in self._faults.items())

    def tick(self) -> float:
        """Look at each, and tell what has changed."""
        before, self._faults = self._faults, self._away(self._look)
        for name, fault in self._faults.items():
            if before.get(name) != fault:
                emit("handler.suspended", handler=name, reason=fault)
        for name in before.keys() - self._faults.keys():
            emit("handler.resumed", handler=name)
        return PAUSE_SECONDS
