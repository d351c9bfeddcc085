"""The skeleton of every long-lived greenlet: a tick that returns how long to sleep.

Sleep is always wakeable. The order clear → tick → wait is the invariant: a wake that lands during
a tick is never lost.
"""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event

from ..telemetry import emit

RETRY_SECONDS = 1.0


class Loop:
    """Runs *tick* again and again in a greenlet of its own.

    *tick* returns the seconds until it wants to run again, None to sleep until `wake`. A loop
    outlives its worst tick: an exception is told as a fact and followed by a pause.
    """

    def __init__(self, name: str, tick: Callable[[], float | None]) -> None:
        self.name = name
        self._tick = tick
        self._woken = Event()
        self._stopping = False
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin ticking; the first tick comes at once."""
        self._greenlet = gevent.spawn(self._run)

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

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                delay = self._tick()
            except Exception as error:  # noqa: BLE001 - a loop outlives its worst tick
                emit("loop.failed", loop=self.name, error=error)
                delay = RETRY_SECONDS
            if not self._stopping:
                self._woken.wait(delay)
