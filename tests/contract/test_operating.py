"""Operate and forget: move, delete, prune."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from bus.model import (
    BUSY,
    COMPLETE,
    ENDED,
    ERROR,
    READY,
    SKIPPED,
    Event,
    Filter,
    MonQTask,
    Posting,
    Report,
    State,
)
from bus.store.contract import Store
from bus.store.mongo import pruning as mongo_pruning
from bus.store.sqlite import pruning as sqlite_pruning

from .samples import NAME, NOW, ONE, a_delivery, a_fan_out, a_task, held, later, post


def ended(store: Store, state: State = COMPLETE, **fields: Any) -> MonQTask:
    (task,) = held(store, **fields)
    store.report([Report(task.claim, {"state": state, "expire_at": task.expire_at})])
    return task


def left(store: Store) -> dict[str, int]:
    return store.count(Filter())


def test_move_changes_only_tasks_in_the_given_states(store: Store) -> None:
    """The states are the operator's fence."""
    failed, done, waiting = ended(store, ERROR), ended(store), a_task()
    post(store, waiting)

    moved = store.move([failed.id, done.id, waiting.id, ObjectId()], {ERROR, SKIPPED}, {"state": READY})

    assert 1 == moved
    assert {"ready": 2, "complete": 1} == left(store)


def test_move_sets_all_fields(store: Store) -> None:
    """A retry by hand starts anew."""
    task = ended(store, ERROR)

    store.move([task.id], {ERROR}, {"state": READY, "attempt": 0, "time_queue": later(5), "worker": None})

    found = store.get(task.id)
    assert found is not None
    assert (READY, 0, later(5), None) == (found.state, found.attempt, found.time_queue, found.worker)


def test_a_moved_task_can_be_claimed(store: Store) -> None:
    """Retried means that it runs."""
    task = ended(store, ERROR)
    store.move([task.id], {ERROR}, {"state": READY})

    assert [task.id] == [found.id for found in store.claim(ONE, {NAME}, 1, NOW).tasks]


def test_a_held_key_keeps_just_that_task_where_it_is(store: Store) -> None:
    """Two unfinished tasks with one key cannot be; the others of the batch move."""
    failed = [ended(store, ERROR, key=key) for key in ("a", "b", "c")]
    post(store, a_task(key="b"))

    moved = store.move([task.id for task in failed], {ERROR}, {"state": READY})

    assert 2 == moved
    assert [READY, ERROR, READY] == [store.get(task.id).state for task in failed]  # type: ignore[union-attr]


def test_of_two_tasks_with_one_key_one_moves(store: Store) -> None:
    """The first of a batch holds the key for the rest."""
    failed = [ended(store, ERROR, key="a") for _ in range(2)]

    assert 1 == store.move([task.id for task in failed], {ERROR}, {"state": READY})


def test_a_busy_task_that_is_moved_is_lost_to_its_holder(store: Store) -> None:
    """Cancelling a running task: the holder's report changes nothing."""
    (task,) = held(store)
    store.move([task.id], {READY, BUSY}, {"state": SKIPPED})

    assert [False] == store.report([Report(task.claim, {"state": COMPLETE})])
    assert {"skipped": 1} == left(store)


def test_moving_nothing_moves_nothing(store: Store) -> None:
    """An empty call is no special case."""
    assert 0 == store.move([], {READY}, {"state": SKIPPED})
    assert 0 == store.move([ObjectId()], {READY}, {"state": SKIPPED})


def test_delete_forgets_only_tasks_in_the_given_states(store: Store) -> None:
    """Purge never touches what has not ended."""
    tasks = [ended(store), ended(store, ERROR), *held(store), *post(store, a_task())]

    assert 2 == store.delete([task.id for task in tasks], ENDED)
    assert {"busy": 1, "ready": 1} == left(store)
    assert 0 == store.delete([], ENDED)


def test_prune_forgets_ended_tasks_past_their_time(store: Store) -> None:
    """`expire_at` is the last moment of a task."""
    gone = ended(store, expire_at=NOW)
    kept = ended(store, expire_at=later(0.001))
    forever = ended(store)

    assert 1 == store.prune(NOW, 10)
    assert [None, kept.id, forever.id] == [
        found and found.id for found in (store.get(task.id) for task in (gone, kept, forever))
    ]


def test_prune_never_forgets_what_has_not_ended(store: Store) -> None:
    """Whatever `expire_at` says."""
    held(store, expire_at=later(-99))
    post(store, a_task(expire_at=later(-99)))

    assert 0 == store.prune(NOW, 10)
    assert {"busy": 1, "ready": 1} == left(store)


def test_prune_is_bounded(store: Store) -> None:
    """Up to the limit of tasks and of events in one call."""
    for _ in range(5):
        ended(store, expire_at=NOW)
        store.post([Posting([], a_delivery(None, expire_at=NOW))])

    assert [4, 4, 2, 0] == [store.prune(NOW, 2) for _ in range(4)]


def test_an_event_stays_while_a_task_of_it_has_not_ended(store: Store) -> None:
    """A handler needs its delivery however late it runs."""
    event = a_delivery(expire_at=NOW)
    store.post([a_fan_out(event, a_task())])
    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks

    assert 0 == store.prune(NOW, 10)
    store.report([Report(task.claim, {"state": COMPLETE})])
    assert 1 == store.prune(NOW, 10)
    assert store.event(event.id) is None


def test_events_that_must_stay_do_not_shield_those_behind_them(store: Store) -> None:
    """However many tasks wait, what can be pruned is."""
    for n in range(6):
        store.post([a_fan_out(a_delivery(f"kept {n}", expire_at=later(-99)), a_task())])
    gone = a_delivery("gone", expire_at=later(-1))
    store.post([Posting([], gone)])

    assert 1 == store.prune(NOW, 2)
    assert store.event(gone.id) is None


def test_a_pruned_delivery_may_come_anew(store: Store) -> None:
    """A delivery is remembered as long as its event."""
    store.post([Posting([], a_delivery(expire_at=NOW))])
    store.prune(NOW, 10)

    (receipt,) = store.post([Posting([], a_delivery())])

    assert not receipt.duplicate


@pytest.mark.parametrize("state", [ERROR, SKIPPED])
def test_an_event_stays_while_an_operator_may_retry_a_task_of_it(store: Store, state: State) -> None:
    """Whoever retries it needs the delivery; forgotten with its last task, a moment later."""
    event = a_delivery(expire_at=NOW)
    store.post([a_fan_out(event, a_task())])
    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    store.report([Report(task.claim, {"state": state, "expire_at": later(60)})])

    assert 0 == store.prune(NOW, 10)
    store.move([task.id], {state}, {"state": READY})
    (again,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    assert (event, False) == (again.event, again.is_bereft)
    store.report([Report(again.claim, {"state": state, "expire_at": later(60)})])
    assert 2 == store.prune(later(60), 10)


def test_a_claim_says_that_the_delivery_of_a_task_is_gone(store: Store) -> None:
    """Nobody can run it: an older version, or somebody at the database, has forgotten the event."""
    gone, there = a_delivery("gone"), a_delivery("there")
    lost, sound = (a_task(args=[event.topic]) for event in (gone, there))
    a_fan_out(gone, lost)
    store.adopt([lost], [])
    store.post([a_fan_out(there, sound)])
    claimed = {task.id: task.is_bereft for task in store.claim(ONE, {NAME}, 9, NOW).tasks}

    assert {lost.id: True, sound.id: False} == claimed


def test_what_was_published_needs_no_delivery(store: Store) -> None:
    """With arguments all is in the task; without any the event is asked for."""
    bare, told = (Event(ObjectId(), "order.paid", NOW) for _ in range(2))
    store.post([a_fan_out(bare, a_task(args=["order.paid"]))])
    full = a_task(args=["order.paid", 7])
    a_fan_out(told, full)
    store.adopt([full], [])

    assert [False, False] == [task.is_bereft for task in store.claim(ONE, {NAME}, 9, NOW).tasks]


@pytest.mark.parametrize("expire_at", ["alike", "apart"])
def test_a_call_of_prune_looks_at_few_events_and_the_next_goes_on_behind_them(
    store: Store, monkeypatch, expire_at: str
) -> None:
    """However many must stay, the store is never held for long, and each is looked at in its turn."""
    for module in (sqlite_pruning, mongo_pruning):
        monkeypatch.setattr(module, "MOST_LOOKED_AT", 2 * 3)
        monkeypatch.setattr(module, "PAGE", 3)
    for n in range(10):
        moment = later(-99 + (n if expire_at == "apart" else 0))
        store.post([a_fan_out(a_delivery(f"kept {n}", expire_at=moment), a_task())])
    store.post([Posting([], a_delivery("gone", expire_at=later(-1)))])
    calls = [store.prune(NOW, 5) for _ in range(4)]

    assert (0, 1) == (calls[0], sum(calls))
    assert 10 == len(store.events(99))
