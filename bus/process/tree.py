"""A process and all its descendants, in whatever process group or session. Linux only.

They are found from parent to child. A process whose parent ends becomes a child of its nearest ancestor
that adopts orphans (see `parent_death.adopt_orphans`): as long as that one lives, none gets away.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

ROUNDS: Final = 1000
"""How often is looked, at most, for what was forked while the others were being stopped."""
QUIET_ROUNDS: Final = 10
"""The kernel's list of children may leave some out while others end, see proc_pid_children(5)."""

STOPPED: Final = "T"  # states of proc_pid_stat(5)
DEAD: Final = ("Z", "X")


class Seen(NamedTuple):
    """A process as it was seen: its *state*, *parent*, *group* and *session*, its *start* in ticks."""

    state: str
    parent: int
    group: int
    session: int
    start: int


class ProcessTree:
    """The process *root*, a child of ours, and its descendants as far as `gather` has found them.

    Once *root* has ended, orphans come to this process: they are known by the session that a member began, or
    by *mark*, an entry NAME=value of the environment that they got from *root*.
    """

    def __init__(self, root: int, mark: str = "") -> None:
        self._mark = mark.encode()
        self._root = root
        self._members: dict[int, Seen] = {}
        self._sessions: set[int] = set()
        self._listed: set[int] = set()
        self._our_session = os.getsid(0)
        self._add(root, os.getpid())

    def gather(self) -> None:
        """Look for further members. Blocks for a few reads of /proc for each."""
        self._gather(None)

    def signal(self, number: int, *, but_group: int | None = None) -> None:
        """Send *number* to every member that lives, those of the process group *but_group* left out."""
        for pid, known in list(self._members.items()):
            found = look_at(pid)
            if found is None or found.start != known.start or found.state in DEAD:
                del self._members[pid]
            elif found.group != but_group:
                _send(pid, number)

    def kill(self) -> None:
        """SIGKILL all of it, and what is forked meanwhile: everybody is stopped before the first one dies."""
        if not (self._members or self._mark):
            return  # *root* was dead before it was looked at: nothing is known by which others could be found
        for number in (signal.SIGSTOP, signal.SIGKILL):
            self.signal(number)
            self._gather_all(number)

    def _gather_all(self, number: int) -> None:
        """Gather until nobody new was found QUIET_ROUNDS times in a row."""
        quiet = 0
        for _ in range(ROUNDS):
            quiet = 0 if self._gather(number) else quiet + 1
            if quiet == QUIET_ROUNDS:
                return

    def _gather(self, number: int | None) -> bool:
        """As `gather`; each new member gets signal *number* the moment it is found, or it is gone by then.

        True when a child was listed that was not listed before: one that is gone when it is looked at may
        have forked, and its child is found in the next round only.
        """
        before = len(self._listed)
        waiting = list(self._members)
        while waiting:
            parent = waiting.pop()
            waiting += [pid for pid in self._list(parent) if self._add(pid, parent, number)]
        for pid in self._list(os.getpid()):
            if self._is_orphan(pid):
                self._add(pid, os.getpid(), number)
        return len(self._listed) > before

    def _list(self, parent: int) -> list[int]:
        found = list(children(parent))
        self._listed.update(found)
        return found

    def _add(self, pid: int, parent: int, number: int | None = None) -> bool:
        found, known = look_at(pid), self._members.get(pid)
        if found is None or found.state in DEAD or found.parent != parent:
            return False
        if known is not None and known.start == found.start:
            return False
        if number is not None:
            _send(pid, number)
        self._members[pid] = found
        if found.session != self._our_session:
            self._sessions.add(found.session)
        return True

    def _is_orphan(self, pid: int) -> bool:
        """Whether *pid*, a child of this process by now, was forked by a member that has ended since."""
        found = look_at(pid)
        if found is None or found.state in DEAD:
            return False
        return found.session in self._sessions or bool(self._mark and self._mark in _environment(pid))


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # a program of another user, such as sudo
        os.kill(pid, number)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # ended, or of another user


def children(pid: int) -> Iterator[int]:
    """The children of *pid*, adopted ones too; none where the kernel does not list them."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                yield from [int(child) for child in (thread / "children").read_text().split()]


def look_at(pid: int) -> Seen | None:
    """What /proc says about *pid*, None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold spaces and parentheses
    return Seen(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def is_dead(pid: int) -> bool:
    """Whether nothing runs under that id: also when it only waits to be reaped."""
    found = look_at(pid)
    return found is None or found.state in DEAD


def is_stopped(pid: int) -> bool:
    """Whether somebody has stopped it (SIGSTOP, SIGTSTP); it does nothing until SIGCONT."""
    found = look_at(pid)
    return found is not None and found.state == STOPPED
