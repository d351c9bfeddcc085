"""Listening sockets that a service manager passes on: the protocol of sd_listen_fds(3).

The manager opens the sockets and keeps them, so that connections wait in their queues while no daemon runs.
`take` comes before anything is forked or opened; whatever is forked later calls `close_in_child`.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import ConfigError
from .executable import is_frozen, main_pid

FIRST: Final = 3
MOST: Final = 64
VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
REMEDY: Final = "let systemd set it with a .socket unit, or unset the LISTEN_ variables"


class Passed(NamedTuple):
    """A descriptor that was passed on, and its FileDescriptorName= in the .socket unit."""

    number: int
    name: str


_passed: list[Passed] = []
_problem = ""


def take() -> None:
    """Take the sockets over, and the variables out of the environment. Never raises, never blocks.

    They are closed by exec from now on. Variables that name another process mean nothing here.
    """
    global _problem  # noqa: PLW0603 - one process, one environment
    try:
        _passed[:] = read(os.environ)
    except ConfigError as error:
        _problem = str(error)


def passed() -> list[Passed]:
    """The sockets that `take` found. Raises ConfigError when the variables, or a descriptor, are wrong."""
    if _problem:
        raise ConfigError(_problem)
    return list(_passed)


def close_in_child() -> None:
    """For a process forked from one that has called `take`: a worker must not keep a port open."""
    while _passed:
        with suppress(OSError):
            os.close(_passed.pop().number)


def read(environ: MutableMapping[str, str]) -> list[Passed]:
    """What *environ* says of sockets for this process; its variables are removed. Raises ConfigError."""
    pid, count, names, _ = (environ.pop(name, None) for name in VARIABLES)
    if pid is None or count is None:
        return []
    if not _is_number(pid):
        raise ConfigError(f"LISTEN_PID: expected the number of a process, got {pid!r}; {REMEDY}")
    if int(pid) != os.getpid() or not _is_bootloaders():
        return []
    if not _is_number(count) or not 0 < int(count) <= MOST:
        raise ConfigError(f"LISTEN_FDS: expected a number from 1 to {MOST}, got {count!r}; {REMEDY}")
    numbers = range(FIRST, FIRST + int(count))
    titles = ["unknown"] * len(numbers) if names is None else names.split(":")
    if len(titles) != len(numbers):
        raise ConfigError(
            f"LISTEN_FDNAMES: expected {len(numbers)} names with colons between them, as LISTEN_FDS says, "
            f"got {names!r}; {REMEDY}"
        )
    return [_taken(number, title) for number, title in zip(numbers, titles, strict=True)]


def _is_bootloaders() -> bool:
    """Whether the executable's first process was meant; it writes our number over its own unasked."""
    if not is_frozen():
        return True
    try:
        given = Path(f"/proc/{main_pid()}/environ").read_bytes().split(b"\0")
    except OSError:
        return True  # unreadable: then it cannot be told, and is most likely so
    return b"LISTEN_PID=%d" % main_pid() in given


def _taken(number: int, name: str) -> Passed:
    try:
        os.set_inheritable(number, False)
    except OSError as error:
        raise ConfigError(
            f"LISTEN_FDS: expected an open descriptor {number}, got: {error.strerror}; {REMEDY}"
        ) from error
    return Passed(number, name)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10
