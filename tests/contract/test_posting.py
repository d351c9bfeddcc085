"""In: a posting is stored whole, durably, once."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from bson import Decimal128, ObjectId, Regex

from bus.model import BUSY, COMPLETE, Filter, Posting, Receipt, Report
from bus.store.contract import Store

from .samples import (
    NAME,
    NOW,
    ONE,
    TWO,
    a_delivery,
    a_fan_out,
    a_task,
    held,
    later,
    post,
    together,
)

HOSTILE_TEXT = ["$$ROOT", "$name", "{}; drop", "a\x00b", "ünï ☃ 🎈", "", "' OR 1=1 --"]


def test_a_posted_task_is_read_back_as_it_was_given(store: Store) -> None:
    """No field of a task changes by being stored."""
    task = a_task(
        args=[1, 2.5, None, True, "text", b"bytes", [1, [2]], NOW, ObjectId(), 2**40],
        kwargs={"when": later(1), "deep": {"a": {"b": []}}},
        context={"project": "p", "user": ObjectId()},
        priority=-3,
        result_type="keep",
        max_attempts=7,
        timeout=1.5,
        key="a key",
        topic="a.topic",
        expire_at=later(9),
    )
    store.post([Posting([task])])

    assert task == store.get(task.id)


def test_every_kind_of_value_comes_back_equal(store: Store) -> None:
    """What passed codec.storable is never changed by a store."""
    values = [uuid.uuid4(), Decimal128("1.10"), Regex("^a", "i"), -(2**63), 2**63 - 1, 1e300, NOW]
    (task,) = post(store, a_task(args=values, kwargs={"$set": 1, "a.b": {"$where": "x", "": 2}}))

    found = store.get(task.id)
    assert found is not None
    assert (values, task.kwargs) == (found.args, found.kwargs)


def test_text_of_strangers_is_only_text(store: Store) -> None:
    """Neither a query language nor a pipeline ever sees payload as anything else."""
    tasks = post(store, *(a_task(args=[text], context={"user": text}) for text in HOSTILE_TEXT))

    claimed = store.claim(ONE, {NAME}, 100, NOW).tasks
    store.report([Report(task.claim, {"state": COMPLETE, "result": task.args[0]}) for task in claimed])

    assert HOSTILE_TEXT == [store.get(task.id).result for task in tasks]  # type: ignore[union-attr]


def test_the_receipts_come_in_the_order_of_the_postings(store: Store) -> None:
    """Each posting gets the receipt that is its own."""
    tasks = [a_task() for _ in range(250)]

    receipts = store.post([Posting([task]) for task in tasks])

    assert [Receipt([task.id]) for task in tasks] == receipts


def test_posting_nothing_is_answered_with_nothing(store: Store) -> None:
    """An empty call is no special case."""
    assert [] == store.post([])


def test_the_same_posting_twice_is_stored_once(store: Store) -> None:
    """After an unknown outcome the poster asks again; the ids were chosen before."""
    posting = Posting([a_task()])

    first, second = store.post([posting]), store.post([posting])

    assert [False, True] == [receipt.repeated for (receipt,) in (first, second)]
    assert [first[0]._replace(repeated=True)] == second
    assert {"ready": 1} == store.count(Filter())


def test_a_task_is_known_by_its_id_whatever_has_become_of_it(store: Store) -> None:
    """Asked again when it runs, or has ended: it is not begun a second time."""
    running: dict[str, Any] = {"state": BUSY, "worker": ONE.id, "attempt": 1, "generation": 1}
    task = a_task(**running)
    answers = [store.post([Posting([task])])[0] for _ in range(2)]
    store.report([Report(task.claim, {"state": COMPLETE})])
    answers += store.post([Posting([dataclasses.replace(task)])])

    assert [False, True, True] == [receipt.repeated for receipt in answers]
    assert [[task.id]] * 3 == [receipt.task_ids for receipt in answers]
    assert {"complete": 1} == store.count(Filter())


def test_one_id_posted_many_times_at_once_is_new_for_one_of_them(store: Store) -> None:
    """Only that one may begin it, also when all of them are written together."""
    task = a_task()
    answers = together(*[lambda: store.post([Posting([dataclasses.replace(task)])])[0]] * 20)

    assert 19 == sum(receipt.repeated for receipt in answers)
    assert {"ready": 1} == store.count(Filter())


def test_an_event_is_known_by_its_id_with_its_first_tasks(store: Store) -> None:
    """A publisher who asks again brings new tasks each time; the handlers run once."""
    event = a_delivery(None)
    (first,) = store.post([a_fan_out(event, a_task("a.one"), a_task("a.two"))])
    (again,) = store.post([a_fan_out(dataclasses.replace(event), a_task("a.one"), a_task("a.two"))])

    assert Receipt(first.task_ids, event.id, duplicate=True, repeated=True) == again
    assert {"ready": 2} == store.count(Filter())


def test_an_event_whose_tasks_have_ended_is_known_by_its_id(store: Store) -> None:
    """And when they are forgotten: the event remembers them."""
    event = a_delivery(None)
    (first,) = store.post([a_fan_out(event, a_task())])
    store.move(first.task_ids, ["ready"], {"state": "skipped"})
    store.delete(first.task_ids, ["skipped"])
    (again,) = store.post([a_fan_out(dataclasses.replace(event), a_task())])

    assert (True, first.task_ids) == (again.repeated, again.task_ids)
    assert {} == store.count(Filter())


def test_an_event_and_its_tasks_are_stored_together(store: Store) -> None:
    """Both are there when post returns."""
    query = {"project.id": "7", "$a": "", "x\x00": "\x00"}
    attributes = {"id": "1", "source": "/€", "type": "t", "specversion": "1.0", "empty": ""}
    headers = {"x-github-event": "push"}
    event = a_delivery(headers=headers, query=query, attributes=attributes, expire_at=later(60))
    posting = a_fan_out(event, a_task("a.one"), a_task("a.two"))

    (receipt,) = store.post([posting])

    assert Receipt(event.task_ids, event.id) == receipt
    assert event == store.event(event.id)
    assert posting.tasks == [store.get(task_id) for task_id in receipt.task_ids]


def test_an_event_that_nobody_handles_is_stored(store: Store) -> None:
    """Nothing is silently dropped."""
    event = a_delivery()

    (receipt,) = store.post([Posting([], event)])

    assert Receipt([], event.id) == receipt
    assert event == store.event(event.id)


def test_a_repeated_delivery_changes_nothing_and_gets_the_first_ids(store: Store) -> None:
    """Senders repeat what they are not sure of."""
    first = a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))
    again = a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))

    (one,), (two,) = store.post([first]), store.post([again])

    assert Receipt(one.task_ids, one.event_id, duplicate=True) == two
    assert {"ready": 2} == store.count(Filter())


def test_a_repeated_delivery_is_known_after_its_tasks_have_ended(store: Store) -> None:
    """A redelivery of yesterday does not run again."""
    posting = a_fan_out(a_delivery(), a_task())
    (first,) = store.post([posting])
    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    store.report([Report(task.claim, {"state": COMPLETE})])

    (again,) = store.post([a_fan_out(a_delivery(), a_task())])

    assert Receipt(first.task_ids, first.event_id, duplicate=True) == again
    assert {"complete": 1} == store.count(Filter())


def test_the_same_delivery_id_at_another_hook_is_another_event(store: Store) -> None:
    """Two senders may number their deliveries alike."""
    here, there = a_delivery("1", hook="github"), a_delivery("1", hook="gitlab")

    receipts = store.post([Posting([], here), Posting([], there)])

    assert [Receipt([], here.id), Receipt([], there.id)] == receipts


def test_events_without_a_delivery_id_are_never_duplicates(store: Store) -> None:
    """Only a sender's own id tells that two events are one."""
    events = [a_delivery(None), a_delivery(None)]

    receipts = store.post([Posting([], event) for event in events])

    assert [False, False] == [receipt.duplicate for receipt in receipts]


def test_one_delivery_sent_many_times_at_once_is_stored_once(store: Store) -> None:
    """The law of the last test under concurrency: everybody is told the same ids."""
    postings = [a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two")) for _ in range(20)]

    receipts = [answer[0] for answer in together(*(partial(store.post, [p]) for p in postings))]

    assert 1 == len({(receipt.event_id, *receipt.task_ids) for receipt in receipts})
    assert 19 == sum(receipt.duplicate for receipt in receipts)
    assert {"a.one": 1, "a.two": 1} == store.waiting()


def test_a_thousand_copies_of_one_delivery_make_one_set_of_tasks(store: Store) -> None:
    """A sender that lost patience, or somebody who means harm; handed over at once."""
    postings = [a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two")) for _ in range(1000)]

    receipts = [answer[0] for answer in together(*(partial(store.post, [p]) for p in postings))]

    assert 1 == len({(receipt.event_id, *receipt.task_ids) for receipt in receipts})
    assert 999 == sum(receipt.duplicate for receipt in receipts)
    assert ({"a.one": 1, "a.two": 1}, 1) == (store.waiting(), len(store.events(9)))


def test_a_recorded_delivery_is_recognised_under_another_id(store: Store) -> None:
    """By its guard, alone or at the same moment; without one it is another delivery."""
    first = a_fan_out(a_delivery("one", guard="github:abc"), a_task())
    (receipt,) = store.post([first])
    again = [
        a_fan_out(a_delivery(delivery, guard="github:abc"), a_task()) for delivery in ("two", "three", None)
    ]
    answers = [answer[0] for answer in together(*(partial(store.post, [one]) for one in again))]
    others = store.post(
        [a_fan_out(a_delivery("four", guard=None), a_task()), Posting([], a_delivery("five"))]
    )

    assert [Receipt(receipt.task_ids, receipt.event_id, duplicate=True)] * 3 == answers
    assert [False, False] == [other.duplicate for other in others]
    assert {"shop.send_mail": 2} == store.waiting()


def test_a_guard_counts_after_the_id(store: Store) -> None:
    """The same id is the same delivery, also where the body of another one came with it."""
    one, two = store.post([Posting([], a_delivery(word, guard=word)) for word in ("one", "two")])

    assert one.event_id == store.post([Posting([], a_delivery("one", guard="two"))])[0].event_id
    assert two.event_id == store.post([Posting([], a_delivery("three", guard="two"))])[0].event_id


def test_guard_and_peer_of_an_event_come_back(store: Store) -> None:
    """As they were stored."""
    event = a_delivery(guard="github:abc", peer="192.0.2.7")
    store.post([Posting([], event)])

    assert event == store.event(event.id)


def test_posts_of_many_greenlets_are_answered_each_with_its_own(store: Store) -> None:
    """Group commit mixes calls, never answers."""
    tasks = [a_task(args=[n]) for n in range(100)]

    answers = together(*(partial(store.post, [Posting([task])]) for task in tasks))

    assert [[Receipt([task.id])] for task in tasks] == answers
    assert {"ready": 100} == store.count(Filter())


def test_a_key_held_by_a_waiting_task_names_the_holder(store: Store) -> None:
    """A key is unique among unfinished tasks."""
    (holder,) = post(store, a_task(key="k"))

    (receipt,) = store.post([Posting([a_task(key="k")])])

    assert Receipt([holder.id], None, duplicate=True) == receipt
    assert {"ready": 1} == store.count(Filter())


def test_a_key_held_by_a_running_task_names_the_holder(store: Store) -> None:
    """Running is not finished."""
    (holder,) = held(store, key="k")

    (receipt,) = store.post([Posting([a_task(key="k")])])

    assert Receipt([holder.id], None, duplicate=True) == receipt


def test_a_key_is_free_again_when_its_task_has_ended(store: Store) -> None:
    """Ended tasks hold nothing."""
    (holder,) = held(store, key="k")
    store.report([Report(holder.claim, {"state": COMPLETE})])
    task = a_task(key="k")

    (receipt,) = store.post([Posting([task])])

    assert Receipt([task.id]) == receipt


def test_tasks_with_one_key_in_one_call_become_one_task(store: Store) -> None:
    """The first of a call is the holder for the rest of it."""
    tasks = [a_task(key="k") for _ in range(3)]

    receipts = store.post([Posting([task]) for task in tasks])

    first = tasks[0].id
    assert [Receipt([first]), Receipt([first], None, True), Receipt([first], None, True)] == receipts


def test_of_many_greenlets_with_one_key_one_stores_its_task(store: Store) -> None:
    """Nobody is told a task that is not stored."""
    tasks = [a_task(key="k") for _ in range(20)]

    receipts = [answer[0] for answer in together(*(partial(store.post, [Posting([t])]) for t in tasks))]

    assert 1 == len({receipt.task_ids[0] for receipt in receipts})
    assert {"ready": 1} == store.count(Filter())


def test_a_held_key_stops_only_its_own_task_of_an_event(store: Store) -> None:
    """The other handlers get their tasks, and a repetition names the same ids."""
    (holder,) = post(store, a_task("a.one", key="k"))
    keyed, free = a_task("a.one", key="k"), a_task("a.two")

    (receipt,) = store.post([a_fan_out(a_delivery(), keyed, free)])
    (again,) = store.post([a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))])

    assert [holder.id, free.id] == receipt.task_ids
    assert Receipt(receipt.task_ids, receipt.event_id, duplicate=True) == again


def test_a_task_posted_as_busy_is_held_from_the_start(store: Store) -> None:
    """Direct start: stored and begun in one step, nobody else can claim it."""
    running: dict[str, Any] = {"state": BUSY, "worker": ONE.id, "process": ONE.process, "time_start": NOW}
    (task,) = post(store, a_task(attempt=1, generation=1, **running))

    assert [] == store.claim(TWO, {NAME}, 10, NOW).tasks
    assert [True] == store.report([Report(task.claim, {"state": COMPLETE})])


def test_a_repeated_delivery_posted_as_busy_leaves_nothing_busy(store: Store) -> None:
    """Its poster is told "duplicate" and runs nothing, so nothing may be held in its name."""
    store.post([a_fan_out(a_delivery(), a_task())])
    running: dict[str, Any] = {"state": BUSY, "worker": ONE.id, "attempt": 1, "generation": 1}

    store.post([a_fan_out(a_delivery(), a_task(**running))])

    assert {"ready": 1} == store.count(Filter())


def test_what_is_stored_does_not_change_with_the_callers_object(store: Store) -> None:
    """The store keeps its own copy."""
    task = a_task(args=[[1]])
    given = dataclasses.replace(task, args=[[1]])
    post(store, task)
    task.args[0].append(2)

    assert given == store.get(task.id)


def test_a_task_posted_again_is_itself_although_its_key_is_anothers_by_now(store: Store) -> None:
    """The poster did not hear the first answer; meanwhile the task was cancelled and its key taken."""
    (first,) = post(store, a_task(key="k"))
    store.move([first.id], ["ready"], {"state": "skipped"})
    post(store, a_task(key="k"))
    (receipt,) = store.post([Posting([first])])

    assert ([first.id], False) == (receipt.task_ids, receipt.duplicate)


# an event that no handler took


def test_a_redelivery_of_an_event_without_tasks_gives_it_those_there_are_now(store: Store) -> None:
    """They wait, however they were posted, and the event knows them; it is kept as long as the new one."""
    first = a_delivery(expire_at=later(5))
    store.post([Posting([], first)])
    again = a_delivery(expire_at=later(9))
    again.topic = "mended"
    running: dict[str, Any] = {"state": BUSY, "worker": ONE.id, "attempt": 1, "generation": 1}
    posting = a_fan_out(again, a_task("a.one", **running), a_task("a.two", **running))

    (receipt,) = store.post([posting])

    assert Receipt(again.task_ids, first.id, replayed=True) == receipt
    expected = dataclasses.replace(first, task_ids=again.task_ids, topic="mended", expire_at=later(9))
    assert expected == store.event(first.id)
    assert store.event(again.id) is None
    claimed = store.claim(TWO, {"a.one", "a.two"}, 9, NOW).tasks
    assert {(task.id, task.event and task.event.id, task.attempt) for task in claimed} == {
        (task_id, first.id, 1) for task_id in again.task_ids
    }


def test_the_third_delivery_is_a_duplicate_of_the_second(store: Store) -> None:
    """An event gets tasks only once, also when they have ended."""
    store.post([Posting([], a_delivery())])
    (second,) = store.post([a_fan_out(a_delivery(), a_task())])
    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    store.report([Report(task.claim, {"state": COMPLETE})])

    (third,) = store.post([a_fan_out(a_delivery(), a_task())])

    assert Receipt(second.task_ids, second.event_id, duplicate=True) == third
    assert {"complete": 1} == store.count(Filter())


def test_without_a_handler_a_redelivery_stays_a_duplicate(store: Store) -> None:
    event = a_delivery()
    store.post([Posting([], event)])

    assert [Receipt([], event.id, duplicate=True)] == store.post([Posting([], a_delivery())])


def test_of_many_redeliveries_at_once_one_brings_the_tasks(store: Store) -> None:
    """Everybody is told the same ids, and nothing is stored twice."""
    store.post([Posting([], a_delivery())])
    postings = [a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two")) for _ in range(20)]

    receipts = [answer[0] for answer in together(*(partial(store.post, [p]) for p in postings))]

    assert 1 == len({(receipt.event_id, *receipt.task_ids) for receipt in receipts})
    assert (1, 19) == (sum(r.replayed for r in receipts), sum(r.duplicate for r in receipts))
    assert {"a.one": 1, "a.two": 1} == store.waiting()


def test_redeliveries_in_one_call_are_like_those_of_many(store: Store) -> None:
    store.post([Posting([], a_delivery())])
    one, two = store.post([a_fan_out(a_delivery(), a_task()) for _ in range(2)])

    assert (one.task_ids, one.event_id) == (two.task_ids, two.event_id)
    assert (True, True) == (one.replayed, two.duplicate)
    assert {"ready": 1} == store.count(Filter())


@pytest.mark.needs("shared")
def test_of_two_daemons_one_brings_the_tasks(store: Store, new_store: Callable[..., Store]) -> None:
    """A redelivery reaches any of them, and two at once."""
    here, there = store, new_store()
    here.post([Posting([], a_delivery(f"{n}")) for n in range(20)])
    calls = [
        partial(store.post, [a_fan_out(a_delivery(f"{n}"), a_task())])
        for n in range(20)
        for store in (here, there)
    ]
    receipts = [answer[0] for answer in together(*calls)]

    assert 20 == len({receipt.task_ids[0] for receipt in receipts})
    assert 20 == sum(receipt.replayed for receipt in receipts)
    assert {"ready": 20} == here.count(Filter())


def test_a_redelivery_that_is_asked_again_is_answered_alike(store: Store) -> None:
    """The first answer was lost; the task runs once."""
    store.post([Posting([], a_delivery())])
    posting = a_fan_out(a_delivery(), a_task())

    first, second = store.post([posting]), store.post([posting])

    assert first == second
    assert {"ready": 1} == store.count(Filter())


def test_an_event_posted_again_under_its_own_id_gets_its_tasks_once(store: Store) -> None:
    """An operator replays it; two at the same moment are one, and nobody has begun what came as busy."""
    event = a_delivery(None)
    store.post([Posting([], event)])
    running: dict[str, Any] = {"state": BUSY, "worker": ONE.id, "attempt": 1, "generation": 1}
    postings = [a_fan_out(dataclasses.replace(event), a_task(**running)) for _ in range(5)]

    receipts = [answer[0] for answer in together(*(partial(store.post, [p]) for p in postings))]

    assert 1 == len({receipt.task_ids[0] for receipt in receipts})
    assert (1, 4) == (sum(r.replayed for r in receipts), sum(r.duplicate for r in receipts))
    assert {"ready": 1} == store.count(Filter())
