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
    monkeypatch.setattr(tree, "adopted", children)
    monkeypatch.setattr(tree, "look_at", look_at)
    monkeypatch.setattr(tree, "_send", lambda pid, number: sent.append((pid, number)))
    ProcessTree(ROOT).kill()

    assert [(pid, signal.SIGSTOP) for pid in (ROOT, NEXT)] + [
        (pid, signal.SIGKILL) for pid in (ROOT, NEXT)
    ] == sent


def test_a_member_that_forks_and_ends_is_caught_however_many_it_left_behind(monkeypatch):
    """The dead are looked at once each, and the newest child first: the search takes no longer with each."""
    dead, alive = list(range(2000, 3000)), 3000
    looks: list[int] = []
    stopped: list[int] = []

    def look_at(pid: int) -> Seen:
        looks.append(pid)
        return Seen("Z" if pid in dead else "S", tree.os.getpid(), pid, pid, 7)

    monkeypatch.setattr(tree, "children", lambda _: [])
    monkeypatch.setattr(tree, "adopted", lambda _: [*dead, alive])
    monkeypatch.setattr(tree, "look_at", look_at)
    monkeypatch.setattr(tree, "_environment", lambda _: [b"mark=1"])
    monkeypatch.setattr(tree, "_send", lambda pid, _: stopped.append(pid))
    found = ProcessTree(ROOT, "mark=1")
    looks.clear()

    assert found.kill()
    assert {ROOT, alive} == set(stopped)
    assert alive == next(pid for pid in looks if pid != ROOT)
    assert all(looks.count(pid) == 1 for pid in dead)


def test_one_that_is_exiting_may_have_a_child_which_comes_later(monkeypatch):
    """Without its memory it has no mark, and on a busy machine it stays so for many rounds."""
    exiting, child = 2000, 2001
    rounds = iter([[exiting]] * (3 * tree.QUIET_ROUNDS) + [[exiting, child]] * 3)
    stopped: list[int] = []

    def look_at(pid: int) -> Seen:
        return Seen("R", tree.os.getpid(), pid, pid, 7, exiting=pid == exiting)

    monkeypatch.setattr(tree, "children", lambda _: [])
    monkeypatch.setattr(tree, "adopted", lambda _: next(rounds, [child]))
    monkeypatch.setattr(tree, "look_at", look_at)
    monkeypatch.setattr(tree, "_environment", lambda pid: [b"mark=1"] if pid == child else [])
    monkeypatch.setattr(tree, "_send", lambda pid, _: stopped.append(pid))

    assert ProcessTree(ROOT, "mark=1").kill()
    assert child in stopped


def test_a_search_that_stays_behind_says_so(monkeypatch):
    """Somebody new in each round: it is called again later, and holds up nobody meanwhile."""
    newer = iter(range(2000, 1000000))

    monkeypatch.setattr(tree, "children", lambda _: [])
    monkeypatch.setattr(tree, "adopted", lambda _: [next(newer)])
    monkeypatch.setattr(tree, "look_at", lambda pid: Seen("S", tree.os.getpid(), pid, ROOT, 7))
    monkeypatch.setattr(tree, "_send", lambda *_: None)

    assert not ProcessTree(ROOT).kill()
    assert 2000 + 2 * tree.ROUNDS == next(newer)
