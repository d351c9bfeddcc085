"""Refuses calls that would end or double the daemon, such as os.fork and os._exit in a handler.

All handlers share one process. What cannot be kept from them is told in docs/operations.md.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing import connection, process
from typing import Any, Final, NoReturn

from ..telemetry import emit

FORKS: Final = ("fork", "forkpty")
STANDARD: Final = (1, 2)
REMEDY: Final = "declare the task cpu=True, where multiprocessing works, or start a program with subprocess"


class ForkGuard:
    """Refuses what would double or stop this process, and survives SIGALRM, from `start` to `stop`.

    A forked daemon would go on in both processes: every task, every connection, the store. The processes
    of `multiprocessing` and `concurrent.futures` are refused however they are started: their pipes and
    locks block the hub's thread, and with it the greenlets they wait for, without end. Both raise
    RuntimeError. `subprocess` does not fork this way. `os.closerange`, by which programs become daemons, is
    refused, too, and 1 and 2 cannot be closed: *lead_back* gives them back at once. `signal.alarm` without a
    signal handler would end the process.
    """

    def __init__(self, lead_back: Callable[[int], None] = lambda _: None) -> None:
        self._lead_back = lead_back
        self._refused: list[tuple[Any, str, Any]] = []
        self._alarm: Any = None

    def start(self) -> None:
        """Install the refusals and the handler of SIGALRM."""
        for name in FORKS:
            self._replace(os, name, _refuse_fork)
        self._replace(os, "close", self._close(os.close))
        self._replace(os, "closerange", _refuse_closerange)
        self._replace(process.BaseProcess, "start", _refuse_processes)
        self._replace(connection, "Pipe", _refuse_processes)  # queues, pools and managers begin with one
        self._replace(connection.Connection, "__init__", _refuse_connection)
        # a function and not SIG_IGN: that would be inherited by the programs which handlers start
        self._alarm = signal.signal(signal.SIGALRM, _ignore)

    def stop(self) -> None:
        """Remove them: everything as it was."""
        while self._refused:
            setattr(*self._refused.pop())
        signal.signal(signal.SIGALRM, self._alarm)

    def _close(self, close: Callable[[int], None]) -> Callable[[int], None]:
        def closing(fd: int) -> None:
            if fd in STANDARD:
                self._lead_back(fd)
            else:
                close(fd)

        return closing

    def _replace(self, owner: Any, name: str, other: Any) -> None:
        self._refused.append((owner, name, getattr(owner, name)))
        setattr(owner, name, other)


def _refuse_closerange(*_: Any) -> NoReturn:
    raise RuntimeError(
        "os.closerange: expected not to be called inside the daemon, whose files and connections are among "
        "them; close those that you have opened, or start a program with subprocess"
    )


def _refuse_fork() -> NoReturn:
    raise RuntimeError(
        "os.fork: expected not to be called inside the daemon, whose tasks would go on in both processes; "
        + REMEDY
    )


def _refuse_processes(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError(
        "multiprocessing: expected not to be used inside the daemon, all of which would wait for its pipes; "
        + REMEDY
    )


def _refuse_connection(_: Any, handle: int, *__: Any, **___: Any) -> NoReturn:
    os.close(handle)  # it was made for this connection, and nobody else will close it
    _refuse_processes()


def _ignore(number: int, _: object) -> None:
    emit("signal.ignored", signal=signal.Signals(number).name)
