"""Server-sent events: tells open pages that something has happened, so that they look again.

What comes is a hint without content, made of the counters of facts that are counted anyway: an open page
costs a few additions a second, however many tasks run, and nothing of a page can get lost on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from ..clock import Clock
from ..errors import Refused
from ..http.problem import Answer
from ..telemetry import counted

LOOK_SECONDS: Final = 0.25
"""So often at most something is sent: four times a second."""
MOST_LISTENERS: Final = 12
LONGEST_SECONDS: Final = 600.0
"""Then the browser connects anew, and has to show again who it is."""
SILENCE_SECONDS: Final = 15.0
"""After so long something is sent that means nothing, so that proxies keep the connection."""
_SUBJECTS: Final = ("task.", "event.", "schedule.", "pause.", "service.", "hub.", "cpu_worker.")
_NOTHING_NEW: Final = frozenset({"task.printed", "event.refused"})


class Live:
    """The listeners of one daemon. *is_over* says that it stops."""

    def __init__(self, clock: Clock, is_over: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._is_over = is_over
        self.listeners = 0

    def answer(self, environ: Mapping[str, Any]) -> Answer:
        """The endpoint. Raises Refused(503) when too many listen; their pages ask every few seconds."""
        headers = [("Content-Type", "text/event-stream"), ("X-Accel-Buffering", "no")]
        if environ["REQUEST_METHOD"] == "HEAD":
            return Answer("200 OK", headers, b"")
        if self.listeners >= MOST_LISTENERS:
            expected = f"expected at most {MOST_LISTENERS} listeners"
            raise Refused(503, "too_many_listeners", f"live: {expected}; pages ask every few seconds instead")
        return Answer("200 OK", headers, b"retry: 3000\n\n", self._hints())

    def _hints(self) -> Generator[bytes, None, None]:
        self.listeners += 1
        try:
            began = spoke = self._clock.monotonic()
            seen = happened()
            while not self._is_over() and (now := self._clock.monotonic()) < began + LONGEST_SECONDS:
                if (latest := happened()) != seen:
                    seen, spoke = latest, now
                    yield b"event: changed\ndata: %d\n\n" % latest
                elif now >= spoke + SILENCE_SECONDS:
                    spoke = now
                    yield b": nothing new\n\n"
                else:
                    yield b""
                self._clock.sleep(LOOK_SECONDS)
        finally:
            self.listeners -= 1


def happened() -> int:
    """How many facts there were that change what a page shows."""
    return sum(
        count for fact, count in counted.items() if fact.startswith(_SUBJECTS) and fact not in _NOTHING_NEW
    )
