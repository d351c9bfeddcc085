"""See: get, find, count, waiting, event."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from bus.model import BUSY, COMPLETE, ERROR, READY, Filter, MonQTask, Report
from bus.store.contract import Store

from .samples import NAME, NOW, ONE, a_task, held, later, post


@pytest.fixture
def shop(store: Store) -> dict[str, MonQTask]:
    """Five tasks that differ in what a filter can ask for."""
    (failed,) = held(store, name="shop.fail")
    store.report([Report(failed.claim, {"state": ERROR, "result": "ValueError: no such (thing)"})])
    (done,) = held(store, name="shop.done", topic="order.paid")
    store.report([Report(done.claim, {"state": COMPLETE, "result": {"text": "ValueError"}})])
    (busy,) = held(store, name="shop.busy")
    old, new = a_task("shopXold", time_queue=later(-900)), a_task("shop.new", time_queue=later(900))
    post(store, old, new)
    return {"failed": failed, "done": done, "busy": busy, "old": old, "new": new}


def test_what_is_not_there_is_none(store: Store) -> None:
    """An unknown id is an answer, not an error."""
    assert (None, None) == (store.get(ObjectId()), store.event(ObjectId()))


def test_find_shows_the_newest_first(store: Store) -> None:
    """By id, as many as asked for."""
    tasks = post(store, *(a_task() for _ in range(5)))

    assert tasks[:1:-1] == store.find(Filter(), 3)
    assert [] == store.find(Filter(), 0)


def test_find_continues_behind_the_last_of_a_page(store: Store) -> None:
    """Pages neither repeat nor skip, in one state or in several."""
    tasks = [*held(store, 4), *post(store, *(a_task("shop.other") for _ in range(3)))]
    newest_first = sorted((task.id for task in tasks), reverse=True)
    which = Filter(states=(READY, BUSY))

    first = store.find(which, 4)
    second = store.find(which, 4, before=first[-1].id)

    assert newest_first == [task.id for task in first + second]


@pytest.mark.parametrize(
    "which, expected",
    [
        ({}, {"failed", "done", "busy", "old", "new"}),
        ({"states": (READY,)}, {"old", "new"}),
        ({"states": (ERROR, COMPLETE)}, {"failed", "done"}),
        ({"name": "shop."}, {"failed", "done", "busy", "new"}),
        ({"name": "hop"}, set()),
        ({"name": "shop.fail"}, {"failed"}),
        ({"names": ("shop.fail", "shop")}, {"failed"}),
        ({"names": ("shop.fail",), "name": "other"}, set()),
        ({"topic": "order.paid"}, {"done"}),
        ({"topic": "order"}, set()),
        ({"error": "ValueError"}, {"failed"}),
        ({"error": r"no such \(\w+\)$"}, {"failed"}),
        ({"error": "^no such"}, set()),
        ({"older": later(-60)}, {"old"}),
        ({"newer": later(-60)}, {"new"}),
        ({"older": later(901), "newer": later(-901)}, {"failed", "done", "busy", "old", "new"}),
        ({"states": (READY,), "name": "shop."}, {"new"}),
    ],
)
def test_every_part_of_a_filter_must_match(
    store: Store, shop: dict[str, MonQTask], which: dict[str, Any], expected: set[str]
) -> None:
    """`name` is a prefix of plain text, `error` a pattern searched in the result's text."""
    ids = {shop[name].id for name in expected}

    found = store.find(Filter(**which), 10)

    assert ids == {task.id for task in found}
    assert len(ids) == sum(store.count(Filter(**which)).values())


def test_find_by_ids_shows_those(store: Store, shop: dict[str, MonQTask]) -> None:
    """Together with what else the filter says."""
    ids = (shop["failed"].id, shop["old"].id, ObjectId())

    assert {shop["failed"].id, shop["old"].id} == {task.id for task in store.find(Filter(ids=ids), 10)}
    assert {"ready": 1} == store.count(Filter(ids=ids, states=(READY,)))
    assert [shop["failed"].id] == [task.id for task in store.find(Filter(ids=ids), 10, before=shop["old"].id)]


def test_count_leaves_out_states_without_tasks(store: Store, shop: dict[str, MonQTask]) -> None:
    """By state, only what there is."""
    assert {"ready": 2, "busy": 1, "complete": 1, "error": 1} == store.count(Filter())
    assert {} == store.count(Filter(name="nothing"))


def test_waiting_counts_ready_tasks_by_name(store: Store) -> None:
    """Delayed and unknown ones too: who knows the names tells which are parked."""
    held(store)
    post(store, a_task(), a_task(), a_task("other.task", time_queue=later(99)))

    assert {NAME: 2, "other.task": 1} == store.waiting()


def test_a_found_task_is_complete(store: Store) -> None:
    """find, get and claim tell the same of a task."""
    (task,) = post(store, a_task(args=[1], kwargs={"a": 2}, context={"user": "u"}))

    assert [task] == store.find(Filter(), 1)
    (claimed,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    assert [claimed] == store.find(Filter(), 1) == [store.get(task.id)]


def test_depth_counts_what_is_ready_up_to_a_bound(store: Store, shop: dict[str, MonQTask]) -> None:
    """Due or not; what is busy or has ended is not waiting."""
    assert [1, 2, 2] == [store.depth(most) for most in (1, 2, 9)]
    post(store, a_task("shop.more"))
    assert 3 == store.depth(9)
