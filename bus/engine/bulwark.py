"""Keeps a handler from ending or doubling the daemon by a call that only looks harmless.

All handlers share one process. What cannot be kept from them is told in docs/operations.md.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Final, NoReturn

from ..telemetry import emit

FORKS: Final = ("fork", "forkpty")


class Bulwark:
    """Refuses `os.fork` in this process and survives SIGALRM, from `start` to `stop`.

    A forked daemon would go on in both processes: every task, every connection, the store. So
    `multiprocessing` with its fork method and libraries that daemonize raise RuntimeError; `subprocess`
    does not fork this way. `signal.alarm` without a signal handler would end the process.
    """

    def __init__(self) -> None:
        self._forks: dict[str, Any] = {}
        self._alarm: Any = None

    def start(self) -> None:
        """From now on."""
        self._forks = {name: getattr(os, name) for name in FORKS}
        for name in FORKS:
            setattr(os, name, _refuse)
        # a function and not SIG_IGN: that would be inherited by the programs which handlers start
        self._alarm = signal.signal(signal.SIGALRM, _ignore)

    def stop(self) -> None:
        """Everything as it was."""
        for name, function in self._forks.items():
            setattr(os, name, function)
        signal.signal(signal.SIGALRM, self._alarm)


def _refuse() -> NoReturn:
    raise RuntimeError(
        "os.fork: expected not to be called inside the daemon, whose tasks would go on in both processes; "
        "use subprocess, or multiprocessing.get_context('spawn')"
    )


def _ignore(number: int, _: object) -> None:
    emit("signal.ignored", signal=signal.Signals(number).name)
