"""Refuses deliveries with 503 while too many wait for their commit or too much work waits in the store."""

from __future__ import annotations

from collections.abc import Callable

from ..clock import Clock
from ..errors import Refused
from ..http import problem


class Admission:
    """At most *most* deliveries wait for their commit; *is_full* says whether the queue takes no more."""

    def __init__(self, most: int = 256, is_full: Callable[[], bool] = lambda: False) -> None:
        self._most = most
        self._is_full = is_full
        self._waiting = 0

    def check(self, clock: Clock) -> None:
        """Return when a delivery may come in now, else raise Refused(503). Never blocks."""
        if self._waiting >= self._most:
            detail = "delivery: too many wait to be stored, send it again"
            raise Refused(503, "too_many_waiting", detail, problem.retry_after(clock))
        if self._is_full():
            detail = "queue: too many tasks wait to be run, send it again later"
            raise Refused(503, "queue_full", detail, problem.retry_after(clock))

    def waiting(self) -> Admission:
        """Count one delivery as waiting for its commit while a block with this runs."""
        return self

    def __enter__(self) -> None:
        self._waiting += 1

    def __exit__(self, *_: object) -> None:
        self._waiting -= 1
