"""Starts daemons as systemd does for a .socket unit: with listening sockets that outlive them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.program import PROGRAM

from .daemons import Daemon

_EXEC = """\
import os, sys
pid, count, *rest = sys.argv[1:]
numbers, program = list(map(int, rest[:int(count)])), rest[int(count):]
high = [os.dup2(number, 200 + place) for place, number in enumerate(numbers)]
for number in numbers:
    os.close(number)
for place, number in enumerate(high):
    os.dup2(number, 3 + place)
    os.close(number)
os.environ["LISTEN_PID"] = pid or str(os.getpid())
os.execv(program[0], program)
"""


def listening(family: int = socket.AF_INET, address: object = ("127.0.0.1", 0)) -> socket.socket:
    """A socket as a .socket unit makes it."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.bind(address)
    except OSError:
        made.close()
        raise
    made.listen(1024)
    made.setblocking(False)
    return made


def give(
    daemon: Daemon, sockets: Sequence[socket.socket], environ: Mapping[str, str] | None = None, pid: str = ""
) -> Daemon:
    """Let each start of *daemon* get *sockets*; *environ* and *pid* in place of what belongs to them."""
    daemon.inherited = [one.fileno() for one in sockets]
    numbers = map(str, daemon.inherited)
    daemon.program = [sys.executable, "-c", _EXEC, pid, str(len(sockets)), *numbers, *PROGRAM]
    daemon.environ |= {"LISTEN_FDS": str(len(sockets))} | dict(environ or {})
    return daemon


def descriptors(pid: int) -> dict[int, str]:
    """What the descriptors of a process lead to."""
    found = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(path.name)] = str(path.readlink())
        except OSError:
            continue
    return found
