"""An event says what it is and what a repetition of it is recognised by."""

from __future__ import annotations

from functools import partial
from typing import Any

import pymongo
import pytest

from bus.model import Event, Filter, Posting
from bus.store.contract import Store
from bus.store.mongo import MongoStore
from bus.store.mongo.schema import EVENTS

from .samples import CLOCK, NAME, NOW, ONE, a_delivery, a_fan_out, a_task, together

OF_ONE_KEY = ("schedule", "published", "delivery")


def an_event(kind: str, key: str | None, **fields: Any) -> Event:
    return Event(CLOCK.new_id(), "nightly", NOW, kind=kind, key=key, **fields)


@pytest.mark.parametrize("key", ["report@2026-03-01T12:00:00Z", ":schedule:a", "", None])
def test_an_event_reads_with_the_kind_and_key_it_was_stored_with(store: Store, key: str | None) -> None:
    """Whatever the store does to keep the keys of kinds apart."""
    event = an_event("schedule", key)
    store.post([Posting([], event)])

    assert event == store.event(event.id)
    assert [event] == store.events(10)
    assert ("schedule", key) == (event.kind, event.key)


def test_an_event_that_says_neither_has_those_of_its_hook(store: Store) -> None:
    """With a hook it is a delivery, known again by the sender's id; without one it is published."""
    delivery, published = a_delivery("d-1", hook="github"), Event(CLOCK.new_id(), "order.paid", NOW)
    store.post([Posting([], delivery), Posting([], published)])
    found = [store.event(event.id) for event in (delivery, published)]

    assert [("delivery", "github:d-1"), ("published", None)] == [(one.kind, one.key) for one in found if one]


@pytest.mark.parametrize("kind", OF_ONE_KEY)
def test_a_second_event_of_the_same_kind_and_key_is_a_duplicate(store: Store, kind: str) -> None:
    """A schedule that two daemons fire at one instant has fired once."""
    first, second = (a_fan_out(an_event(kind, "report@noon"), a_task()) for _ in "12")
    store.post([first])
    (receipt,) = store.post([second])

    assert receipt.duplicate
    assert [task.id for task in first.tasks] == receipt.task_ids
    assert {"ready": 1} == store.count(Filter())


def test_one_of_many_that_fire_at_once_is_stored(store: Store) -> None:
    """Who comes first decides, also within one call of group commit."""
    postings = [a_fan_out(an_event("schedule", "report@noon"), a_task()) for _ in range(8)]
    answers = together(*(partial(store.post, [posting]) for posting in postings))

    assert 7 == sum(receipt.duplicate for (receipt,) in answers)
    assert 1 == len({receipt.task_ids[0] for (receipt,) in answers})
    assert 1 == len(store.events(10))


def test_keys_of_different_kinds_do_not_meet(store: Store) -> None:
    """A sender's delivery id cannot keep a schedule from firing."""
    events = [an_event(kind, "github:1") for kind in OF_ONE_KEY]
    receipts = store.post([Posting([], event) for event in events])

    assert [False] * 3 == [receipt.duplicate for receipt in receipts]
    assert 3 == len(store.events(10))


def test_only_a_delivery_comes_along_with_its_task(store: Store) -> None:
    """Its kind says so: a fired schedule may name a hook and is none."""
    delivery = a_fan_out(an_event("delivery", "k"), a_task())
    fired = a_fan_out(an_event("schedule", "k", hook="github"), a_task(args=["nightly"]))
    store.post([delivery, fired])
    tasks = {task.id: task for task in store.claim(ONE, {NAME}, 10, NOW).tasks}

    assert delivery.event == tasks[delivery.tasks[0].id].event
    assert tasks[fired.tasks[0].id].event is None
    assert not tasks[fired.tasks[0].id].is_bereft


def test_a_document_without_a_kind_is_what_its_hook_says(mongo_address: str) -> None:
    """Earlier versions wrote none: their deliveries are claimed with their event and known again."""
    store = MongoStore(mongo_address, daemon=False)
    store.open()
    posting = a_fan_out(a_delivery("d-1"), a_task())
    store.post([posting])
    with pymongo.MongoClient[dict[str, Any]](mongo_address) as client:
        answer = client.get_default_database()[EVENTS].update_many({}, {"$unset": {"kind": ""}})
    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    (again,) = store.post([a_fan_out(a_delivery("d-1"), a_task())])
    store.close()

    assert 1 == answer.modified_count
    assert posting.event == task.event
    assert again.duplicate
