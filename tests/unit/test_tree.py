"""Ending a process and all that comes from it, whatever happens between two looks into /proc."""

from __future__ import annotations

import signal

from bus.process import tree
from bus.process.tree import ProcessTree, Seen

ROOT, GONE, NEXT = 1001, 1002, 1003


def test_a_child_that_is_gone_when_it_is_looked_at_may_have_forked(monkeypatch):
    """It is listed and has ended before the look; its own child is listed a round later."""
    rounds = iter([[GONE], [NEXT]])
    sent: list[tuple[int, int]] = []

    def children(pid: int) -> list[int]:
        return next(rounds, []) if pid == ROOT else []

    def look_at(pid: int) -> Seen | None:
        return None if pid == GONE else Seen("S", tree.os.getpid() if pid == ROOT else ROOT, pid, pid, 7)

    monkeypatch.setattr(tree, "children", children)
    monkeypatch.setattr(tree, "look_at", look_at)
    monkeypatch.setattr(tree, "_send", lambda pid, number: sent.append((pid, number)))
    ProcessTree(ROOT).kill()

    assert [(pid, signal.SIGSTOP) for pid in (ROOT, NEXT)] + [
        (pid, signal.SIGKILL) for pid in (ROOT, NEXT)
    ] == sent
