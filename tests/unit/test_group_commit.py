"""Group commit: what many greenlets ask at once becomes one call."""

from __future__ import annotations

from collections.abc import Sequence

import gevent
import pytest
from gevent.event import Event as Signal

from bus.errors import Interrupt, StoreFull, StoreUnavailable
from bus.store.group_commit import GroupCommit

PATIENCE = 5.0


class Slow:
    """Performs batches, each when `gate` opens, and keeps them for inspection."""

    def __init__(self) -> None:
        self.gate = Signal()
        self.begun = Signal()
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.begun.set()
        assert self.gate.wait(PATIENCE)
        return [-item for item in items]


def ask(group: GroupCommit[int, int], *items: int) -> list[gevent.Greenlet]:
    """One greenlet for each of *items*, all of which have handed it in."""
    asking = [gevent.spawn(group.submit, item, PATIENCE) for item in items]
    gevent.idle()
    return asking


@pytest.fixture
def slow():
    return Slow()


def answers(asking: list[gevent.Greenlet]) -> list[int]:
    gevent.joinall(asking, timeout=PATIENCE, raise_error=True)
    return [greenlet.value for greenlet in asking]


def test_everyone_gets_the_answer_to_his_own_item(slow):
    slow.gate.set()

    assert [-1, -2, -3] == answers(ask(GroupCommit(slow), 1, 2, 3))


def test_what_comes_while_a_call_is_under_way_goes_together_in_the_next(slow):
    """In order of arrival."""
    group = GroupCommit[int, int](slow)
    first = ask(group, 1)
    assert slow.begun.wait(PATIENCE)
    rest = ask(group, 2, 3, 4)
    assert 3 == group.depth
    slow.gate.set()

    assert [-1, -2, -3, -4] == answers(first + rest)
    assert [[1], [2, 3, 4]] == slow.batches


def test_a_batch_has_a_limit(slow):
    group = GroupCommit[int, int](slow, most=2)
    first = ask(group, 1)
    assert slow.begun.wait(PATIENCE)
    rest = ask(group, 2, 3, 4)
    slow.gate.set()
    answers(first + rest)

    assert [[1], [2, 3], [4]] == slow.batches


def test_an_error_of_one_item_is_raised_at_its_caller_only():
    group = GroupCommit[int, int](lambda items: [ValueError("two") if item == 2 else item for item in items])
    asking = ask(group, 1, 2, 3)
    gevent.joinall(asking, timeout=PATIENCE)

    assert [1, None, 3] == [greenlet.value for greenlet in asking]
    assert "two" == str(asking[1].exception)


def test_an_error_of_the_whole_call_is_raised_at_all_its_callers_and_the_next_call_works():
    calls = []

    def perform(items: Sequence[int]) -> Sequence[int]:
        calls.append(items)
        if len(calls) == 1:
            raise OSError("disk")
        return items

    group = GroupCommit[int, int](perform)
    asking = ask(group, 1, 2)
    gevent.joinall(asking, timeout=PATIENCE)

    assert ["disk", "disk"] == [str(greenlet.exception) for greenlet in asking]
    assert 3 == group.submit(3, PATIENCE)


def test_a_caller_waits_for_its_time_and_no_longer(slow):
    """The outcome is unknown then; its item may still be performed."""
    group = GroupCommit[int, int](slow)

    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.01 s, the outcome is unknown"):
        group.submit(1, 0.01)

    slow.gate.set()
    assert -2 == group.submit(2, PATIENCE)
    assert [[1], [2]] == slow.batches


def test_a_callers_own_timeout_passes_through(slow):
    """A gevent.Timeout of the caller is not taken for the store's."""
    group = GroupCommit[int, int](slow)

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        group.submit(1, PATIENCE)
    slow.gate.set()


def test_an_interrupted_caller_does_not_disturb_the_others(slow):
    """The call runs in a greenlet of its own, which no interrupt reaches."""
    group = GroupCommit[int, int](slow)
    asking = ask(group, 1, 2)
    assert slow.begun.wait(PATIENCE)
    asking[0].kill(Interrupt(), block=False)
    slow.gate.set()
    gevent.joinall(asking, timeout=PATIENCE)

    assert isinstance(asking[0].exception, Interrupt)
    assert -2 == asking[1].value


def test_with_too_many_waiting_further_ones_are_refused_at_once(slow):
    """A disk that hangs must not fill the memory. What was refused is never performed."""
    group = GroupCommit[int, int](slow, most_waiting=2)
    asking = ask(group, 1)
    assert slow.begun.wait(PATIENCE)
    asking += ask(group, 2, 3)

    with pytest.raises(StoreFull, match="store: 2 calls wait for it already; try again in a moment"):
        group.submit(4, PATIENCE)
    slow.gate.set()
    assert [-1, -2, -3] == answers(asking)
    assert -5 == group.submit(5, PATIENCE)
    assert [[1], [2, 3], [5]] == slow.batches


def test_a_killed_call_is_told_to_its_callers_and_the_next_ones_are_served(slow):
    """A handler's `gevent.killall` must not be the end of the store."""
    group = GroupCommit[int, int](slow)
    asking = ask(group, 1, 2)
    assert slow.begun.wait(PATIENCE)
    waiting = ask(group, 3)
    group._draining.kill(block=False)
    gevent.joinall(asking, timeout=PATIENCE)
    slow.gate.set()

    assert [-3, -4] == answers(waiting + ask(group, 4))
    for greenlet in asking:
        with pytest.raises(StoreUnavailable, match="cut short by GreenletExit, its outcome is unknown"):
            greenlet.get()


def test_a_call_that_was_killed_before_it_began_keeps_nobody_out(slow):
    slow.gate.set()
    group = GroupCommit[int, int](slow)
    first = gevent.spawn(group.submit, 1, PATIENCE)
    while group._draining is None:
        gevent.sleep(0)
        if group._draining is not None:
            group._draining.kill(block=False)

    assert [-2] == answers(ask(group, 2))
    assert -1 == first.get(timeout=PATIENCE)


def test_who_is_patient_begins_the_call_when_nobody_else_does(slow):
    slow.gate.set()

    assert -1 == GroupCommit[int, int](slow).submit(1, PATIENCE, patience=0.001)


def test_who_is_patient_begins_no_call_behind_one_that_is_under_way(slow):
    """It goes with the next one that is urgent: else a delivery over one connection costs two commits."""
    group = GroupCommit[int, int](slow)
    first = ask(group, 1)
    assert slow.begun.wait(PATIENCE)
    patient = gevent.spawn(group.submit, 2, PATIENCE, patience=PATIENCE)
    gevent.idle()
    slow.gate.set()
    answers(first)
    answers(ask(group, 3))

    assert -2 == patient.get(timeout=PATIENCE)
    assert [[1], [2, 3]] == slow.batches


def test_whose_patience_ends_behind_a_call_under_way_is_in_the_next_one(slow):
    group = GroupCommit[int, int](slow)
    first = ask(group, 1)
    assert slow.begun.wait(PATIENCE)
    patient = gevent.spawn(group.submit, 2, PATIENCE, patience=0.001)
    while not group._is_urgent:
        gevent.idle()
    slow.gate.set()

    assert [-1, -2] == answers([*first, patient])
    assert [[1], [2]] == slow.batches
