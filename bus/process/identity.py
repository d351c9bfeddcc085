"""Identifies a process on its machine (boot, pid, start time), so that its death can be seen at once.

A process id alone proves nothing, it is used again; with the moment of its start and the boot of
the kernel it names one process for ever. Linux only: elsewhere a birth is unknown, and nobody is
ever called dead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from .tree import DEAD, look_at

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SPACE = Path("/proc/self/ns/pid")
_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - it is a property of the process
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


def here() -> tuple[int, int]:
    """What differs between the calling process and those it was forked from. Cheap: for every use.

    The id alone would not do: the first process of a pid namespace has the number that the one which
    forked it may have outside. The forks alone would not, where a program forks without Python.
    """
    return os.getpid(), _forks


class ProcessIdentity(NamedTuple):
    """A process, unmistakably: *boot* of its kernel, its pid *space*, its *pid*, its *start* in ticks."""

    boot: str
    space: str
    pid: int
    start: int


def of_this_process() -> ProcessIdentity | None:
    """The birth of the calling process, None where the system does not tell."""
    found = look_at(os.getpid())
    if found is None:
        return None
    try:
        return ProcessIdentity(_BOOT.read_text().strip(), str(_SPACE.readlink()), os.getpid(), found.start)
    except OSError:
        return None


def is_dead(other: ProcessIdentity, here: ProcessIdentity | None) -> bool:
    """Whether *other* has certainly ended, as *here*, the calling process, can see it.

    Certain means: born under the same boot in the same pid namespace, and its pid is free, taken by
    a later process, or a zombie's. False for everything that cannot be seen from here.
    """
    if here is None or (other.boot, other.space) != (here.boot, here.space):
        return False
    try:
        os.kill(other.pid, 0)  # not /proc: it may hide the processes of other users (hidepid)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    found = look_at(other.pid)  # a zombie does nothing any more
    return found is not None and (found.state in DEAD or found.start != other.start)
