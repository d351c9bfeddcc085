"""The health of one service: last success, period, last error."""

from __future__ import annotations

from typing import Any, Final

from ..clock import Clock
from ..errors import StoreUnavailable

PERIODS: Final = 3
"""A service that has not succeeded for so many of its periods is failing."""


class Health:
    """The record that the service *name* keeps of itself. Nothing here blocks.

    *period* is how many seconds its work takes at most until it has succeeded again, None for one that
    works only when it is asked to: that one can die, and is never late. One that has nothing to do is
    idle and not late either.
    """

    def __init__(self, name: str, period: float | None = None, clock: Clock | None = None) -> None:
        self.name = name
        self.period = period
        self.error: BaseException | None = None
        self.is_outage = False
        """Whether its last error says that the store is away, and not that something is wrong with it."""
        self.death: str | None = None
        """Why it does nothing any more, although nobody stopped it."""
        self._clock = clock or Clock()
        self._since = self._clock.monotonic()
        self._pause = 0.0
        self._is_idle = True
        self._has_failed = False

    def begin(self) -> None:
        """Its work begins. Whoever was idle is expected to succeed from now on."""
        self._has_failed = False
        if self._is_idle:
            self._is_idle = False
            self._since = self._clock.monotonic()

    def fail(self, error: BaseException, *, is_outage: bool | None = None) -> None:
        """The work that has begun did not succeed. *is_outage* is seen from *error* when it is not given."""
        self._has_failed = True
        self.error = error
        self.is_outage = isinstance(error, StoreUnavailable) if is_outage is None else is_outage

    def end(self, pause: float | None) -> None:
        """The work is over, and begins again in *pause* seconds; None: when there is some."""
        if self._has_failed:
            return
        self.error, self.is_outage = None, False
        self._since = self._clock.monotonic()
        self._pause = pause or 0.0
        self._is_idle = pause is None

    def succeed(self) -> None:
        """As `begin` and `end`, for a service whose work comes by itself."""
        self.begin()
        self.end(0.0)

    def die(self, reason: object) -> None:
        """It has ended and nobody stopped it. The first reason stays."""
        self.death = self.death or (said(reason) if isinstance(reason, BaseException) else str(reason))

    @property
    def seconds(self) -> float:
        """How long ago it succeeded, or was given work for the first time since."""
        return 0.0 if self._is_idle else self._clock.monotonic() - self._since

    @property
    def is_late(self) -> bool:
        """Whether it has not succeeded for PERIODS of its periods."""
        return self.period is not None and self.seconds > PERIODS * max(self.period, self._pause)

    def forgive(self, seconds: float | None = None) -> None:
        """Let so many *seconds* not count, or all that have passed: it could not have worked in them."""
        now = self._clock.monotonic()
        self._since = now if seconds is None else min(now, self._since + seconds)

    def describe(self) -> dict[str, Any]:
        """The record as operators read it."""
        return {
            "name": self.name,
            "state": self._state,
            "seconds": round(self.seconds, 3),
            "period": self.period,
            "error": self.death or (said(self.error) if self.error else None),
        }

    @property
    def _state(self) -> str:
        if self.death is not None:
            return "dead"
        if self.is_late:
            return "failing"
        return "idle" if self._is_idle else "working"


def said(error: BaseException) -> str:
    """An error in one line: its class and its message."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")
