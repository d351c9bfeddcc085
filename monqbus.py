"""monqbus: durable events and tasks. The public names, and the program's entry.

Importing this module patches nothing and connects to nothing; `main` patches the process with
gevent, and only for `monqbus run`.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from bus import __version__
from bus.apps.context import c, carry
from bus.apps.events import g, post_event, post_event_async
from bus.apps.poster import hold, hold_async
from bus.apps.registry import Task, event_handler, task
from bus.apps.scheduling import schedule
from bus.errors import (
    Cancel,
    JoinTimeout,
    MonqbusError,
    NotBound,
    NotStorable,
    Retry,
    Snooze,
    StoreUnavailable,
    TaskFailed,
    TaskSkipped,
)
from bus.model import Event, MonQTask

__all__ = [
    "Cancel",
    "Event",
    "JoinTimeout",
    "MonQTask",
    "MonqbusError",
    "NotBound",
    "NotStorable",
    "Retry",
    "Snooze",
    "StoreUnavailable",
    "Task",
    "TaskFailed",
    "TaskSkipped",
    "__version__",
    "c",
    "carry",
    "connect",
    "event_handler",
    "g",
    "hold",
    "hold_async",
    "main",
    "post_event",
    "post_event_async",
    "schedule",
    "task",
]


def connect(config: str | Path = "monqbus.ini") -> None:
    """Let `.post()` and `post_event()` of this process reach the store that *config* names.

    With MongoDB this process writes to it directly; with the embedded store it asks the running
    daemon through its control socket. Threads and greenlets may post at once; a process that is forked
    afterwards connects anew at its first post. Raises ConfigError, StoreUnavailable.
    """
    from bus.connecting import connect as connect_process

    connect_process(Path(config))


def main(argv: Sequence[str] | None = None) -> int:
    """The `monqbus` command; the exit code."""
    from bus.process import first_process, streams
    from bus.process.executable import settle

    first_process.heed_term()
    streams.open_closed()  # before anything opens files, which would get their numbers
    settle()  # whatever is forked or started from here on inherits a clean environment
    words = list(sys.argv[1:] if argv is None else argv)
    is_daemon = _asks_to_run(words)
    if is_daemon:
        from bus.cpu import zygote
        from bus.process import activation

        activation.take()  # before anything opens files
        streams.take_over()  # what is forked writes into the log
        zygote.start()  # before this process has threads, locks or connections that a fork would copy
        from gevent import monkey  # before anything imports sockets, threads or locks

        monkey.patch_all()
    from bus.cli import main as command

    code = command(words)
    if is_daemon:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End the daemon's process with *code*, after what apps have registered with atexit.

    Not by Python's own end: it takes the interpreter from under native threads that are still inside a
    driver, which waits for a server (seen: SIGSEGV in one of twenty stops while MongoDB was away).
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or never there
            stream.flush()
    os._exit(code)


def _asks_to_run(words: Sequence[str]) -> bool:
    """Whether the command among *words* is `run`; --config FILE and --debug may stand in front of it."""
    rest = iter(words)
    for word in rest:
        if word == "--config":
            next(rest, None)
        elif not word.startswith("-"):
            return word == "run"
    return False


if __name__ == "__main__":
    sys.exit(main())
