"""Limits of a task name: how many may run at once and begin in a time, in all daemons. Pure values, no I/O.

A rate is counted by one number, the generic cell rate algorithm: the moment until which starts have been
given out (ITU-T I.371). A start moves it on by the time between two; it may be ahead of now by a burst.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

KIND: Final = "rate"
"""Of the records in which stands, by name, until when starts were given out."""
UNTIL: Final = "until"
"""Their field: seconds since 1970."""
COALESCE: Final = ("latest", "first")
"""Of the tasks that wait under one serial key, which one runs."""
SECONDS: Final = {"s": 1, "min": 60, "h": 3600}
SKEW_SECONDS: Final = 5.0
"""So far the clocks of daemons may be apart; what is further ahead is of a clock that was set back since."""
MOST_STARTS: Final = 100_000
MOST_RUNNING: Final = 1000
_SLACK: Final = 1e-3
"""Of a start, and of ten milliseconds: sums of floats are not exact."""


class Limit(NamedTuple):
    """At most *most* run at once; one begins *every* so many seconds on average, up to *burst* at a time."""

    most: int | None = None
    every: float | None = None
    burst: int = 1

    def seen(self, until: Any, now: float) -> float:
        """A stored *until* as it counts: one that no clock near ours can have written lets one begin."""
        if not isinstance(until, (int, float)) or not math.isfinite(until):
            return now
        if until > now + self.burst * (self.every or 0.0) + SKEW_SECONDS:
            return now + (self.burst - 1) * (self.every or 0.0)
        return max(until, now)

    def starts(self, until: float, now: float) -> int:
        """How many may begin at *now*, when starts were given out until *until*, as `seen` at *now*."""
        if self.every is None:
            return MOST_STARTS
        left = (self.burst * self.every - (until - now)) / self.every
        return max(0, math.floor(left + _SLACK))  # below 0: a clock is ahead of ours

    def after(self, until: float, starts: int) -> float:
        """Until when starts are given out when so many *starts* begin now."""
        return until + starts * (self.every or 0.0)

    def opens(self, until: float) -> int:
        """When the next one may begin, in whole milliseconds since 1970."""
        return math.ceil((until - (self.burst - 1) * (self.every or 0.0)) * 1000 - 10 * _SLACK)


def limit_of(most: int | None, rate: str | None, burst: int | None) -> Limit | None:
    """The limit of a declaration; None for none. Raises ValueError for a *rate* that is none.

    Without a *burst* as many may begin at once as begin in a second, at least one.
    """
    if rate is None:
        return None if most is None else Limit(most)
    count, unit = parts_of(rate)
    every = SECONDS[unit] / count
    return Limit(most, every, burst or max(1, int(1 / every + _SLACK)))


def parts_of(rate: str) -> tuple[int, str]:
    """The number and the unit of a rate such as ``10/s``. Raises ValueError for what is none."""
    count, _, unit = rate.partition("/")
    if unit not in SECONDS or not (count.isascii() and count.isdigit()) or len(count) > len(str(MOST_STARTS)):
        raise ValueError(rate)
    if not 1 <= int(count) <= MOST_STARTS:
        raise ValueError(rate)
    return int(count), unit
