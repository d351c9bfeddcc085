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

ROUNDS: Final = 200
"""How often one `kill` looks, at most, for what was forked while the others were being stopped."""
QUIET_ROUNDS: Final = 10
"""The kernel's list of children may leave some out while others end, see proc_pid_children(5)."""

STOPPED: Final = "T"  # states of proc_pid_stat(5)
DEAD: Final = ("Z", "X")
PF_EXITING: Final = 0x4
"""Of include/linux/sched.h: its memory is gone or going, and its children are still its own."""


class Seen(NamedTuple):
    """A process as it was seen: its *state*, *parent*, *group* and *session*, its *start* in ticks.

    *exiting*: it has no environment any more, and its children have not come to their new parent yet.
    """

    state: str
    parent: int
    group: int
    session: int
    start: int
    exiting: bool = False


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
        self._dead: set[int] = set()
        self._our_session = os.getsid(0)
        self._add(root, look_at(root), os.getpid())

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

    def kill(self) -> bool:
        """SIGKILL all of it, and what is forked meanwhile: everybody is stopped before the first one dies.

        False when members that fork without pause were still ahead after ROUNDS: call it again, with time
        in between to reap what has ended. Blocks for some reads of /proc for each round.
        """
        if not (self._members or self._mark):
            return True  # *root* was dead before it was looked at: there is nothing to find others by
        is_whole = True
        for number in (signal.SIGSTOP, signal.SIGKILL):
            self.signal(number)
            is_whole = self._gather_all(number)
        return is_whole

    def _gather_all(self, number: int) -> bool:
        """Gather until nobody new was found QUIET_ROUNDS times in a row. False when ROUNDS do not reach."""
        quiet = 0
        for _ in range(ROUNDS):
            quiet = 0 if self._gather(number) else quiet + 1
            if quiet == QUIET_ROUNDS:
                return True
        return False

    def _gather(self, number: int | None) -> bool:
        """As `gather`; each new member gets signal *number* the moment it is found, or it is gone by then.

        True when a child was listed that was not listed before, or one may be a member and is exiting: one
        that is gone when it is looked at may have forked, and its child is found in the next round only.
        """
        before = len(self._listed)
        waiting = list(self._members)
        while waiting:
            parent = waiting.pop()
            listed = list(children(parent))
            self._listed.update(listed)
            waiting += [pid for pid in listed if self._add(pid, look_at(pid), parent, number)]
        is_unsure = self._adopt(number)
        return is_unsure or len(self._listed) > before

    def _adopt(self, number: int | None) -> bool:
        """Add those children of this process that were forked by a member which has ended since.

        True when somebody is exiting who may be one: what it has forked is to be seen in a moment.
        The newest first, and no look at who is known to be dead: a member that forks and ends without pause
        leaves hundreds behind, and a search that takes longer with each never reaches the living one.
        """
        us, is_unsure = os.getpid(), False
        listed = adopted(us)
        self._listed.update(listed)
        self._dead.intersection_update(listed)  # reaped by now: the number may be another process's
        for pid in reversed(listed):
            if pid in self._dead:
                continue
            found = look_at(pid)
            if found is None or found.state in DEAD:
                self._dead.add(pid)
            elif found.session in self._sessions or (self._mark and self._mark in _environment(pid)):
                self._add(pid, found, us, number)
            elif found.exiting:
                is_unsure = True
        return is_unsure

    def _add(self, pid: int, found: Seen | None, parent: int, number: int | None = None) -> bool:
        known = self._members.get(pid)
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


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # a program of another user, such as sudo
        os.kill(pid, number)


def _environment(pid: int) -> list[bytes]:
    try:
        return _read(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return []  # ended, or of another user


def children(pid: int) -> Iterator[int]:
    """The children of *pid*, adopted ones too; none where the kernel does not list them."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            yield from _children_of(pid, int(thread.name))


def adopted(pid: int) -> list[int]:
    """The children of the main thread of *pid*, in the order in which they came: orphans come to that one."""
    return _children_of(pid, pid)


def _children_of(pid: int, thread: int) -> list[int]:
    try:
        return [int(child) for child in _read(f"/proc/{pid}/task/{thread}/children").split()]
    except OSError:
        return []


def look_at(pid: int) -> Seen | None:
    """What /proc says about *pid*, None when there is no such process."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()  # the name before may hold spaces and parentheses
    exiting = bool(int(fields[6]) & PF_EXITING)
    parent, group, session, start = (int(fields[index]) for index in (1, 2, 3, 19))
    return Seen(fields[0].decode(), parent, group, session, start, exiting)


def _read(path: str) -> bytes:
    """All of a file of /proc. Without buffers and decoding, which take longer than the rest of a look."""
    with Path(path).open("rb", buffering=0) as file:
        return file.read()


def is_dead(pid: int) -> bool:
    """Whether nothing runs under that id: also when it only waits to be reaped."""
    found = look_at(pid)
    return found is None or found.state in DEAD


def is_stopped(pid: int) -> bool:
    """Whether somebody has stopped it (SIGSTOP, SIGTSTP); it does nothing until SIGCONT."""
    found = look_at(pid)
    return found is not None and found.state == STOPPED
