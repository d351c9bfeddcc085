"""Signal handlers of the daemon, and process-wide settings restored after an app changed them.

Which signal does what (SIGTERM, SIGHUP, …) is a table in `process_parts`; how it stops then, in `lifecycle`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent

from ..telemetry import emit

LOOK_SECONDS: Final = 1.0
# how long a native thread that comes back from the disk waits for a busy hub; Python's default is 5 ms
SWITCH_SECONDS: Final = 0.0005
DEPTH: Final = sys.getrecursionlimit()  # before the apps are imported


class Signals:
    """Calls *acts* in the hub when their signals come, from `start` to `stop`.

    An app that replaces or blocks one of them would make the daemon deaf for its supervisor. `look`
    takes it back. What changes a disposition without Python is not seen.
    """

    def __init__(self, acts: Mapping[signal.Signals, Callable[[], None]]) -> None:
        self._acts = acts
        self._watchers: dict[signal.Signals, Any] = {}

    def start(self) -> None:
        """Hear them, whatever has been made of them before. For the main thread."""
        for number in self._acts:
            self._take(number)

    def stop(self) -> None:
        """Hear nothing more."""
        for watcher in self._watchers.values():
            watcher.cancel()

    def look(self) -> list[str]:
        """Take back what is not ours any more; its names."""
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, [*self._acts, signal.SIGCHLD])
        gone = [
            number for number in self._acts if number in blocked or signal.getsignal(number) is not _is_ours
        ]
        for number in gone:
            self._take(number)
        return [number.name for number in gone]

    def _take(self, number: signal.Signals) -> None:
        """Hold the signal back meanwhile: between two watchers its default would end the process."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        if number in self._watchers:
            self._watchers[number].cancel()
        signal.signal(number, _is_ours)
        self._watchers[number] = gevent.signal_handler(number, self._acts[number])  # the loop's goes over it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])


def _is_ours(*_: object) -> None:
    """What Python takes for the handler of our signals, until an app sets another one; never called."""


class Belongings:
    """Looks after what the whole process has only once: the *signals*, and two settings of Python."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def tick(self) -> float:
        """Take back what an app has changed, and tell it; the seconds until the next look."""
        changed = self._signals.look()
        if sys.getrecursionlimit() < DEPTH:
            sys.setrecursionlimit(DEPTH)
            changed.append("the recursion limit")
        if sys.getswitchinterval() > SWITCH_SECONDS * 2:
            sys.setswitchinterval(SWITCH_SECONDS)
            changed.append("the switch interval")
        if changed:
            emit("process.restored", what=", ".join(changed))
        return LOOK_SECONDS
