"""Questions of operators that no verb of a store answers alone: kinds of errors, siblings, capped counts."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from bus.admin import Admin
from bus.clock import FrozenClock
from bus.model import Event, Filter, Instance, MonQTask
from bus.store import Store

AWKWARD = (
    "ValueError: 4711 is no (good) [key] {of} it. $100 ^ | ? * + \\ 'x'",
    'KeyError: "ä€\u202e𝄞" at 0x7f00ff',
    "E: 50%_ of 123e4567-e89b-12d3-a456-426614174000",
)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def admin(store: Store, clock: FrozenClock) -> Admin:
    return Admin(store, clock)


def stored(store: Store, clock: FrozenClock, **fields: Any) -> MonQTask:
    given = {"task_name": "a.b", "args": [], "kwargs": {}, "time_queue": clock.now(), **fields}
    task = MonQTask(id=ObjectId(), **given)
    store.adopt([task], [])
    return task


def test_the_expression_of_a_kind_finds_just_its_tasks(store, admin, clock):
    """Whatever signs are in an error, it is read alike by the two engines of expressions."""
    for error in AWKWARD:
        for _ in range(2):
            stored(store, clock, state="error", result=f"Traceback\n{error}", time_stop=clock.now())
    groups, looked = admin.failures(Filter(), 100)
    found = [admin.count(Filter(states=("error",), name=one.name, error=one.pattern)) for one in groups]

    assert 6 == looked
    assert [2, 2, 2] == [one.count for one in groups]
    assert [{"error": 2}] * 3 == found


def test_only_so_many_failed_tasks_are_looked_at_the_newest_first(store, admin, clock):
    tasks = [stored(store, clock, state="error", result=f"E: {'x' * n}") for n in range(1, 8)]
    stored(store, clock, state="complete")
    groups, looked = admin.failures(Filter(), 3)

    assert 3 == looked
    assert {task.id for task in tasks[-3:]} == {one.example for one in groups}
    assert ([], 0) == admin.failures(Filter(states=("ready",)), 3)


@pytest.mark.parametrize(("most", "counted"), [(1, 1), (700, 700), (1200, 1200), (5000, 1200)])
def test_a_count_that_looks_often_reads_no_more_than_is_asked_for(store, admin, clock, most, counted):
    """Over pages; 1,200 that match and one that does not."""
    tasks = [MonQTask(ObjectId(), "a.b", [], {}, clock.now(), state="skipped") for _ in range(1200)]
    store.adopt([*tasks, MonQTask(ObjectId(), "a.c", [], {}, clock.now())], [])

    assert counted == admin.count_up_to(Filter(states=("skipped",)), most)


def test_the_siblings_of_a_task_are_the_other_tasks_of_its_event(store, admin, clock):
    event_id = ObjectId()
    one, two = (stored(store, clock, event_id=event_id) for _ in range(2))
    alone = stored(store, clock)
    bereft = stored(store, clock, event_id=ObjectId())
    gone = ObjectId()
    store.adopt([], [Event(event_id, "t", clock.now(), task_ids=[one.id, two.id, gone])])

    assert [two.id] == [task.id for task in admin.siblings(one)]
    assert [[], []] == [admin.siblings(task) for task in (alone, bereft)]
    assert {one.id, two.id} == {task.id for task in admin.tasks_of(admin.event(event_id))}


def test_the_daemons_of_a_shared_store_are_told(store, admin):
    """By the name they have for people; an embedded file has one, which is asked."""
    for number in (2, 1):
        store.renew(Instance(f"w{number}", f"monqbus/here pid {number}"), 60.0)

    assert (["monqbus/here pid 1", "monqbus/here pid 2"] if store.shared else []) == admin.daemons()


def test_what_waits_is_told_by_name(store, admin, clock):
    for name in ("a.b", "a.b", "a.c"):
        stored(store, clock, task_name=name)

    assert {"a.b": 2, "a.c": 1} == {name: one.depth for name, one in admin.waiting().items()}
