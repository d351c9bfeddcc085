"""monqbus: durable events and tasks. The public names, and the program's entry.

Importing this module patches nothing and connects to nothing; `main` patches the process with
gevent, and only for `monqbus run`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bus import __version__
from bus.context import c, carry
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
from bus.registry import Task, event_handler, g, post_event, task

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
    "main",
    "post_event",
    "task",
]


def connect(config: str | Path = "monqbus.ini") -> None:
    """Let `.post()` and `post_event()` of this process reach the store that *config* names.

    With MongoDB this process writes to it directly; with the embedded store it asks the running
    daemon through its control socket. Raises ConfigError, StoreUnavailable.
    """
    from bus.connecting import connect as connect_process

    connect_process(Path(config))


def main(argv: Sequence[str] | None = None) -> int:
    """The `monqbus` command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["run"]:
        from gevent import monkey  # before anything imports sockets, threads or locks

        monkey.patch_all()
    from bus.cli import main as command

    return command(words)


if __name__ == "__main__":
    sys.exit(main())
