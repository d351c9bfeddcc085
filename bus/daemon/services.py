"""Watches all services of the daemon: names the late ones and those that have died.

The main greenlet asks, once a second: it is the one that no `gevent.killall` of a handler reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from ..clock import Clock
from ..engine.health import Health, said
from ..telemetry import ToldOnce, emit

LOOK_SECONDS: Final = 1.0
STALL_SECONDS: Final = 1.0
"""A look that comes later than this was held up, and with it everybody whom it looks at."""


class Service(Protocol):
    """What works in a daemon from `start` to `stop` and keeps a record of how it is."""

    @property
    def health(self) -> Health:
        """Its record."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End; blocks for a moment."""


class Services:
    """All that works in one daemon. *records* gives the record of each, in the order of their start.

    *store* is the record of the one that asks the store whether it takes work: while that one is told that
    it does not, those who need the store for their work are not late, they wait.
    """

    def __init__(
        self, clock: Clock, records: Callable[[], Iterable[Health]], *, store: Health | None = None
    ) -> None:
        self._clock = clock
        self._records = records
        self._store = store
        self._looked_at = clock.monotonic()
        self._late: dict[str, Health] = {}
        self._dead = ToldOnce()

    def look(self) -> list[Health]:
        """Tell who has become late, who no longer is, and who has died; the dead. Never blocks."""
        stalled = self._stall()
        dead = []
        for health in self._records():
            if stalled:
                health.forgive(stalled)
            if self._waits(health) and health is not self._store:
                health.forgive()
            if health.death is not None:
                dead.append(health)
            else:
                self._compare(health)
        for health in dead:
            if self._dead.begins(health.name):
                emit("service.died", service=health.name, reason=health.death)
        return dead

    @property
    def complaint(self) -> str | None:
        """Who was late at the last look, each with its last error; None when nobody was.

        The store itself is not among them while it is away: whether that matters, the spool decides.
        """
        late = [_sentence(one) for one in self._late.values() if one.is_late and not self._waits(one)]
        return "; ".join(late) or None

    def describe(self) -> list[dict[str, Any]]:
        """Every record as operators read it."""
        return [health.describe() for health in self._records()]

    def _stall(self) -> float:
        """How long the hub stood still since the last look: time in which nobody could work."""
        now = self._clock.monotonic()
        late, self._looked_at = now - self._looked_at - LOOK_SECONDS, now
        return late if late > STALL_SECONDS else 0.0

    def _waits(self, health: Health) -> bool:
        return health.is_outage and self._store is not None and self._store.error is not None

    def _compare(self, health: Health) -> None:
        if health.is_late and health.name not in self._late:
            self._late[health.name] = health
            why = {"error": health.error} if health.error else {}
            emit("service.failing", service=health.name, seconds=health.seconds, **why)
        elif not health.is_late and self._late.pop(health.name, None) is not None:
            emit("service.recovered", service=health.name)


def _sentence(health: Health) -> str:
    why = f" ({said(health.error)})" if health.error else ""
    return f"{health.name}: has not succeeded for {health.seconds:.0f} s{why}"
