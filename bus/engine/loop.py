"""The skeleton of every long-lived greenlet: a tick that returns how long to sleep.

Sleep is always wakeable. The order clear → tick → wait is the invariant: a wake that lands during
a tick is never lost. Each keeps a record of how it is, which `services` reads.
"""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event

from ..clock import Clock
from ..telemetry import emit
from .health import Health

RETRY_SECONDS = 1.0


class Loop:
    """Runs *tick* again and again in a greenlet of its own.

    *tick* returns the seconds until it wants to run again, None to sleep until `wake`. A loop
    outlives its worst tick: an exception is told as a fact and followed by a pause. A tick that tells
    of its own failure and returns a pause notes it in `health`. *period* is how many seconds may pass
    between two successes while it has work.
    """

    def __init__(
        self,
        name: str,
        tick: Callable[[], float | None],
        period: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.health = Health(name, period, clock)
        self._tick = tick
        self._woken = Event()
        self._stopping = False
        self._greenlet: gevent.Greenlet | None = None

    @property
    def name(self) -> str:
        """What facts call it."""
        return self.health.name

    def start(self) -> None:
        """Begin ticking; the first tick comes at once. One that has died ticks again."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.link(self._ended)

    def wake(self) -> None:
        """Tick soon. Never blocks; many wakes before the next tick are one."""
        self._woken.set()

    @property
    def is_woken(self) -> bool:
        """True while a wake waits for its tick."""
        return bool(self._woken.is_set())

    def stop(self, seconds: float = 5.0) -> None:
        """Let the present tick end, then stop; block for at most *seconds*."""
        self.retire()
        if self._greenlet is not None:
            self._greenlet.join(seconds)
            self._greenlet.kill(block=False)

    def retire(self) -> None:
        """Let the present tick be the last one. Never blocks."""
        self._stopping = True
        self._woken.set()

    def turn(self) -> float | None:
        """One tick, with its record; the pause after it."""
        self.health.begin()
        try:
            delay = self._tick()
        except Exception as error:  # noqa: BLE001 - a loop outlives its worst tick
            emit("loop.failed", loop=self.name, error=error)
            self.health.fail(error)
            delay = RETRY_SECONDS
        self.health.end(delay)
        return delay

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            delay = self.turn()
            if not self._stopping:
                self._woken.wait(delay)

    def _ended(self, greenlet: gevent.Greenlet) -> None:
        """Called by the hub, also when the greenlet was killed before its first tick."""
        if not self._stopping:
            self.health.die(greenlet.exception or greenlet.value)
