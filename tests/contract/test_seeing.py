"""See: get, find, count, waiting, event."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any

import pytest
from bson import ObjectId

from bus.errors import StoreError
from bus.model import BUSY, COMPLETE, ERROR, READY, Event, EventFilter, Filter, MonQTask, Posting, Report
from bus.store.contract import PAGE_BYTES, Backlog, Store

from .samples import NAME, NOW, ONE, a_delivery, a_task, depths, held, later, post


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
    second = store.find(which, 4, cursor=first[-1].id)

    assert newest_first == [task.id for task in first + second]


@pytest.mark.parametrize(
    "which, expected",
    [
        ({}, {"failed", "done", "busy", "old", "new"}),
        ({"states": (READY,)}, {"old", "new"}),
        ({"states": (ERROR, COMPLETE)}, {"failed", "done"}),
        ({"name": "shop.*"}, {"failed", "done", "busy", "new"}),
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
        ({"states": (READY,), "name": "shop.*"}, {"new"}),
    ],
)
def test_every_part_of_a_filter_must_match(
    store: Store, shop: dict[str, MonQTask], which: dict[str, Any], expected: set[str]
) -> None:
    """`name` is whole but for its wildcards, `error` a pattern searched in the result's text."""
    ids = {shop[name].id for name in expected}

    found = store.find(Filter(**which), 10)

    assert ids == {task.id for task in found}
    assert len(ids) == sum(store.count(Filter(**which)).values())


def test_find_by_ids_shows_those(store: Store, shop: dict[str, MonQTask]) -> None:
    """Together with what else the filter says."""
    ids = (shop["failed"].id, shop["old"].id, ObjectId())

    assert {shop["failed"].id, shop["old"].id} == {task.id for task in store.find(Filter(ids=ids), 10)}
    assert {"ready": 1} == store.count(Filter(ids=ids, states=(READY,)))
    assert [shop["failed"].id] == [task.id for task in store.find(Filter(ids=ids), 10, cursor=shop["old"].id)]


def test_count_leaves_out_states_without_tasks(store: Store, shop: dict[str, MonQTask]) -> None:
    """By state, only what there is."""
    assert {"ready": 2, "busy": 1, "complete": 1, "error": 1} == store.count(Filter())
    assert {} == store.count(Filter(name="nothing"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop.mail", ["shop.mail"]),
        ("shop.", []),
        ("shop.mai", []),
        ("shop.mail*", ["shop.mail", "shop.mailing"]),
        ("*mail", ["shop.mail"]),
        ("*", ["shop.mail", "shop.mailing", "shopXmail?[a]"]),
        ("s*.m*l*n*", ["shop.mailing"]),
        ("*mail*mail*", []),
        ("**.**", ["shop.mail", "shop.mailing"]),
        ("shop?mail", []),
        ("*[a]", ["shopXmail?[a]"]),
        ("*l?[*", ["shopXmail?[a]"]),
        ("*.mail\\z", []),
        ("SHOP.*", []),
    ],
)
def test_a_name_is_whole_but_for_its_wildcards(store: Store, name: str, expected: list[str]) -> None:
    """A star stands for any text, and every other sign for itself."""
    post(store, *(a_task(one) for one in ("shop.mail", "shop.mailing", "shopXmail?[a]")))

    assert expected == sorted(task.task_name for task in store.find(Filter(name=name), 9))


def test_a_name_full_of_wildcards_is_answered_at_once(store: Store) -> None:
    """Nobody waits for all the ways in which the stars may stand for something."""
    post(store, a_task("a" * 900))

    assert [] == store.find(Filter(name="*a" * 400 + "b"), 9)
    assert 1 == len(store.find(Filter(name="*a" * 400), 9))


def test_tasks_are_found_by_the_moment_of_their_end(store: Store, shop: dict[str, MonQTask]) -> None:
    """Not by that of their posting; what has not ended is neither older nor newer."""
    end = {"time_stop": later(50)}
    ids = [shop["failed"].id, shop["done"].id]
    store.move(ids[:1], ("error",), end)
    store.move(ids[1:2], ("complete",), {"time_stop": later(70)})

    assert {"error": 1} == store.count(Filter(ended_older=later(60)))
    assert {"complete": 1} == store.count(Filter(ended_newer=later(60)))
    assert {"complete": 1} == store.count(Filter(ended_newer=later(50)))
    assert {} == store.count(Filter(ended_newer=later(55), ended_older=later(65)))


def test_tasks_are_counted_by_name(store: Store, shop: dict[str, MonQTask]) -> None:
    """For whoever is about to change many of them."""
    post(store, a_task("shop.new"))

    assert {"shop.new": 2, "shopXold": 1} == store.count(Filter(states=(READY,)), "name")
    assert {"shop.done": 1} == store.count(Filter(topic="order.paid"), "name")


def test_events_are_found_by_topic_hook_and_kind(store: Store) -> None:
    """Each given part is the event's own, whole; newest first, in pages."""
    for topic, hook, kind in (
        ("push", "github", ""), ("push", "gitea", ""), ("push", None, ""), ("pushed", "github", ""),
        ("tick", None, "timer"),
    ):  # fmt: skip
        event = Event(ObjectId(), topic, NOW, hook=hook, delivery=None if hook is None else topic, kind=kind)
        store.post([Posting([], event)])

    def found(**parts: str) -> list[tuple[str, str | None]]:
        events: list[Event] = []
        while page := store.events(1, events[-1].id if events else None, EventFilter(**parts)):
            events += page
        return [(event.topic, event.hook) for event in events]

    assert [("push", None), ("push", "gitea"), ("push", "github")] == found(topic="push")
    assert [("pushed", "github"), ("push", "github")] == found(hook="github")
    assert [("push", "github")] == found(hook="github", topic="push", kind="delivery")
    assert [("push", None)] == found(kind="published")
    assert [("tick", None)] == found(kind="timer")
    assert [] == found(topic="pus") == found(hook="git*") == found(kind="deliver")


def test_waiting_counts_ready_tasks_by_name(store: Store) -> None:
    """Delayed and unknown ones too: who knows the names tells which are parked."""
    held(store)
    post(store, a_task(), a_task(), a_task("other.task", time_queue=later(99)))

    assert {NAME: 2, "other.task": 1} == depths(store.waiting())


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


def test_the_backlog_of_a_name_says_how_much_is_ready_and_the_earliest_moment(store: Store) -> None:
    """Due or not, whatever its priority; what is busy is not waiting."""
    post(
        store,
        a_task("a.one", time_queue=later(5)),
        a_task("a.one", time_queue=later(-90), priority=1),
        a_task("a.two", time_queue=later(60)),
    )
    held(store, name="a.busy")

    assert {"a.one": Backlog(2, later(-90)), "a.two": Backlog(1, later(60))} == store.waiting()


EVIL = ["(a+)+$", "(a|aa)+$", "(.*a){12}$", "([a-z]+)*!$", "a*a*a*a*a*a*b"]


@pytest.mark.parametrize("pattern", EVIL)
def test_a_pattern_that_would_take_years_is_answered(store: Store, pattern: str) -> None:
    """Found, not found, or an error that says what to do: the store answers, and works on afterwards."""
    (failed,) = held(store)
    store.report([Report(failed.claim, {"state": ERROR, "result": "a" * 5000 + "?"})])

    with suppress(StoreError):
        assert [] == store.find(Filter(error=pattern), 10)
    with suppress(StoreError):
        assert {} == store.count(Filter(error=pattern))
    assert {"error": 1} == store.count(Filter())


def test_a_result_that_is_no_text_matches_no_pattern(store: Store) -> None:
    """Whatever a task returned: only text is searched."""
    for result in ({"a": "boom"}, b"boom", ["boom"], 7):
        (task,) = held(store)
        store.report([Report(task.claim, {"state": ERROR, "result": result})])

    assert [] == store.find(Filter(error="."), 10)


def test_a_page_ends_where_its_bytes_do(store: Store) -> None:
    """A thousand tasks of megabytes are many answers, which repeat and skip nothing."""
    large = "x" * 1024 * 1024
    tasks = [*held(store, 5, args=[large]), *post(store, *(a_task(args=[large]) for _ in range(15)))]
    which = Filter(states=(READY, BUSY))

    pages, before = [], None
    while page := store.find(which, 1000, before):
        pages.append(page)
        before = page[-1].id

    assert sorted((task.id for task in tasks), reverse=True) == [task.id for page in pages for task in page]
    assert 2 * PAGE_BYTES >= max(sum(len(task.args[0]) for task in page) for page in pages)
    assert [1] == [len(store.find(Filter(), 1))]


def test_an_item_larger_than_a_page_is_a_page(store: Store) -> None:
    """Or nobody could ever get past it."""
    first, second = post(store, a_task(args=["x" * (PAGE_BYTES + 1)]), a_task(args=["x" * PAGE_BYTES]))

    assert [second.id] == [task.id for task in store.find(Filter(), 10)]
    assert [first.id] == [task.id for task in store.find(Filter(), 10, second.id)]


def test_a_page_of_events_ends_where_its_bytes_do(store: Store) -> None:
    """Their bodies are as large as a hook allows."""
    for number in range(4):
        event = a_delivery(str(number))
        event.body = b"x" * (PAGE_BYTES // 2)
        store.post([Posting([], event)])

    pages, before = [], None
    while page := store.events(1000, before):
        pages.append(len(page))
        before = page[-1].id

    assert (4, True) == (sum(pages), max(pages) < 4)


def test_a_brief_task_comes_without_what_may_be_large(store: Store) -> None:
    """A listing shows neither arguments nor output; everything else is there."""
    (task,) = held(store, args=["a"], kwargs={"b": 1}, context={"user": "u"}, timeout=5.0, max_attempts=3)
    progress = {"fraction": 0.5, "note": "", "at": NOW}
    store.report([Report(task.claim, {"output": "much", "progress": progress, "result": "so far"})])

    (brief,) = store.find(Filter(), 1, brief=True)
    whole = store.get(task.id)

    gone = {"args": [], "kwargs": {}, "context": {}, "timeout": None, "max_attempts": None}
    assert whole is not None
    assert dataclasses.replace(whole, **gone, output=None) == brief


def test_ids_are_those_that_find_finds(store: Store, shop: dict[str, MonQTask]) -> None:
    """In the same order, by the same filter, whatever the tasks weigh."""
    post(store, *(a_task("shop.large", args=["x" * 1024 * 1024]) for _ in range(12)))
    which = Filter(name="shop.*")

    ids = store.ids(which, 100)
    behind = store.ids(which, 100, ids[3])

    assert [task.id for task in store.find(which, 100, brief=True)] == ids
    assert ids[4:] == behind
    assert [] == store.ids(which, 0)
