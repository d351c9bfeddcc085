"""Rules that somebody else has set up in MongoDB: another unique index, a validator.

What they refuse is an error that names the rule, and never "stored before"; everything else goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import gevent
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.collation import Collation
from pymongo.database import Database

from bus.clock import UTC, FrozenClock
from bus.errors import NotAccepted, StoreError
from bus.model import COMPLETE, ERROR, READY, SKIPPED, Filter, Instance, Posting, Receipt, Report
from bus.store.mongo import MongoStore, claims
from tests.mongod import Deployment

from .samples import NAME, NOW, ONE, PATIENCE, TWO, a_delivery, a_fan_out, a_task, depths, held, post

Documents = Database[dict[str, Any]]


@pytest.fixture
def store(standalone: Deployment, database: Documents) -> Iterator[MongoStore]:
    with closing(MongoStore(standalone.address(database.name), daemon=True)) as store:
        store.open()
        yield store


def forbid(database: Documents, collection: str, condition: dict[str, Any]) -> None:
    """Let a validator refuse all documents that match *condition*; an empty one allows everything."""
    database.command("collMod", collection, validator={"$nor": [condition]} if condition else {})


def each_alone(store: MongoStore, postings: list[Posting]) -> list[Receipt | BaseException]:
    """What each of *postings* gets, all posted at the same moment by different callers."""
    calls = [gevent.spawn(store.post, [posting]) for posting in postings]
    gevent.joinall(calls, timeout=PATIENCE)
    return [call.exception or call.get()[0] for call in calls]


# posting


def test_another_programs_unique_index_is_not_taken_for_stored_before(
    store: MongoStore, database: Documents
) -> None:
    """Ten answers of 202 were one task, and nobody ever knew."""
    database.monq_task.create_index([("task_name", 1), ("args", 1)], unique=True, name="once")

    answers = each_alone(store, [Posting([a_task()]) for _ in range(10)])

    refused = [answer for answer in answers if isinstance(answer, NotAccepted)]
    assert (9, 1) == (len(refused), database.monq_task.count_documents({}))
    assert all("unique index 'once'" in str(error) for error in refused)


@pytest.mark.parametrize(
    ("collection", "keys"),
    [
        ("monq_task", [("key", 1), ("note", 1)]),
        ("monq_task", [("task_name", 1)]),
        ("monq_event", [("topic", 1)]),
        ("monq_event", [("delivery_of", 1), ("key_of", 1)]),
    ],
    ids=str,
)
def test_not_every_index_with_our_fields_is_ours(
    store: MongoStore, database: Documents, collection: str, keys: list[tuple[str, int]]
) -> None:
    """Two postings that have nothing to do with each other, and one that no rule concerns."""
    store.post([a_fan_out(a_delivery("first"), a_task())])
    database[collection].create_index(keys, unique=True, name="theirs")
    free = Posting([a_task("other", key="k")])

    refused, stored = each_alone(store, [a_fan_out(a_delivery("second"), a_task()), free])

    assert isinstance(refused, NotAccepted)
    assert "'theirs'" in str(refused)
    assert Receipt([free.tasks[0].id]) == stored


def test_an_index_over_our_key_with_other_rules_is_not_ours(store: MongoStore, database: Documents) -> None:
    """To it "A" is "a"; to us they are two deliveries."""
    database.monq_event.create_index("key", unique=True, name="theirs", collation=Collation("en", strength=1))

    answers = each_alone(store, [Posting([], a_delivery("a")), Posting([], a_delivery("A"))])

    assert ["NotAccepted", "Receipt"] == sorted(type(answer).__name__ for answer in answers)


def test_a_validator_refuses_its_own_posting_alone(store: MongoStore, database: Documents) -> None:
    """Group commit puts strangers into one call."""
    forbid(database, "monq_task", {"priority": 66})
    forbid(database, "monq_event", {"topic": "evil"})
    bad_event = a_fan_out(a_delivery("bad"), a_task())
    bad_event.event.topic = "evil"  # type: ignore[union-attr]
    good = [a_fan_out(a_delivery(f"good-{n}"), a_task()) for n in range(30)]

    answers = each_alone(store, [Posting([a_task(priority=66)]), *good, bad_event])

    assert isinstance(answers[0], NotAccepted)
    assert isinstance(answers[-1], NotAccepted)
    assert "validator" in str(answers[0])
    assert all(isinstance(answer, Receipt) and not answer.duplicate for answer in answers[1:-1])
    assert {"ready": 30} == store.count(Filter())


def test_a_fan_out_refused_in_part_is_finished_once_the_rule_is_gone(
    store: MongoStore, database: Documents
) -> None:
    """Its sender was told that it is not stored, and sends again."""
    forbid(database, "monq_task", {"task_name": "a.two"})
    first = a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))
    with pytest.raises(NotAccepted):
        store.post([first])
    forbid(database, "monq_task", {})

    (receipt,) = store.post([a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))])

    assert Receipt([task.id for task in first.tasks], first.event.id, duplicate=True) == receipt  # type: ignore[union-attr]
    assert {"a.one": 1, "a.two": 1} == depths(store.waiting())


@pytest.mark.parametrize(
    "left_out", [["task_ids"], ["handlers"], ["task_ids", "handlers", "fanned_out"]], ids=" ".join
)
def test_an_event_of_which_parts_are_gone_does_not_fail_its_commit(
    store: MongoStore, database: Documents, left_out: list[str]
) -> None:
    """Thirty got 500 because one met an event without `task_ids`; what is known of no task gets one."""
    first = a_delivery("old")
    store.post([a_fan_out(first, a_task())])
    database.monq_event.update_one({"_id": first.id}, {"$unset": dict.fromkeys(left_out, "")})
    again = a_fan_out(a_delivery("old"), a_task())
    good = [a_fan_out(a_delivery(f"good-{n}"), a_task()) for n in range(29)]

    answers = each_alone(store, [*good, again])

    assert all(isinstance(answer, Receipt) for answer in answers)
    is_bare = "task_ids" in left_out
    met = answers[-1]
    assert isinstance(met, Receipt)
    assert (first.id, not is_bare, is_bare) == (met.event_id, met.duplicate, met.replayed)


# claims


def test_what_a_rule_forbids_to_begin_is_passed_over(store: MongoStore, database: Documents) -> None:
    """Documents that were there before the validator may not be changed any more; the others run."""
    old = post(store, *(a_task(priority=99, args=[n]) for n in range(2)))
    good = post(store, *(a_task() for _ in range(3)))
    forbid(database, "monq_task", {"priority": 99})
    clock = store._claims._clock = FrozenClock()  # type: ignore[assignment]

    claimed = [task.id for _ in range(3) for task in store.claim(ONE, {NAME}, 2, NOW).tasks]
    told = [notice.fields["task_id"] for notice in store.tend()]

    assert [task.id for task in good] == claimed
    assert [task.id for task in old] == told
    forbid(database, "monq_task", {})
    assert [] == store.claim(ONE, {NAME}, 9, NOW).tasks
    clock.advance(claims.PASSED_SECONDS + 1)
    assert [task.id for task in old] == [task.id for task in store.claim(ONE, {NAME}, 9, NOW).tasks]


def test_a_rule_that_nothing_fits_is_an_error_of_the_claim(
    store: MongoStore, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that nobody can work on is not an empty one."""
    monkeypatch.setattr(claims, "MOST_PASSED", 3)
    post(store, *(a_task() for _ in range(9)))
    forbid(database, "monq_task", {"state": "busy"})

    with pytest.raises(StoreError, match="code 121"):
        for _ in range(3):
            store.claim(ONE, {NAME}, 3, NOW)


# reports


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_end_that_is_refused_holds_up_no_other(store: MongoStore, database: Documents, size: int) -> None:
    """Neither alike ones, which the server writes together, nor those of other callers."""
    tasks = [*held(store, 5), *held(store, 1, priority=66)]
    forbid(database, "monq_task", {"priority": 66, "state": COMPLETE})
    fields = {"state": COMPLETE, "result": "x" * size}
    ends = [Report(task.claim, fields) for task in tasks]

    calls = [gevent.spawn(store.report, [end]) for end in ends]
    gevent.joinall(calls, timeout=PATIENCE)

    assert [[True]] * 5 == [call.get() for call in calls[:5]]
    assert isinstance(calls[5].exception, NotAccepted)
    with pytest.raises(NotAccepted):
        store.report(ends)
    assert {COMPLETE: 5, "busy": 1} == store.count(Filter())


# operators


def test_moving_says_when_a_rule_forbids_it_and_moves_the_others(
    store: MongoStore, database: Documents
) -> None:
    """A foreign index was taken for a key that is held: "0 moved", and no reason."""
    tasks = post(store, *(a_task(priority=n) for n in range(3)))
    ids = [task.id for task in tasks]
    store.move(ids, {READY}, {"state": SKIPPED})
    forbid(database, "monq_task", {"state": READY, "priority": 1})
    database.monq_task.create_index(
        "state", unique=True, name="one_at_a_time", partialFilterExpression={"state": READY}
    )

    assert 1 == store.move(ids, {SKIPPED}, {"state": READY})
    with pytest.raises(NotAccepted, match=r"validator"):
        store.move([ids[1]], {SKIPPED}, {"state": READY})
    with pytest.raises(NotAccepted, match=r"'one_at_a_time'"):
        store.move([ids[2]], {SKIPPED}, {"state": READY})


def test_a_copy_says_which_index_refuses_a_task(store: MongoStore, database: Documents) -> None:
    """It is no key that another task holds."""
    database.monq_task.create_index("task_name", unique=True, name="theirs")
    tasks = [a_task(), a_task()]

    with pytest.raises(NotAccepted, match="unique index 'theirs'"):
        store.adopt(tasks, [])
    store.adopt(tasks[:1], [])

    assert 1 == database.monq_task.count_documents({})


# other programs' instances


def test_instances_that_nobody_can_name_stop_no_rescue(store: MongoStore, database: Documents) -> None:
    """A document as `_id` cannot be put into a set."""
    far = datetime.now(UTC) + timedelta(days=1)
    old = datetime.now(UTC) - timedelta(days=9)
    for worker_id in ({"a": 1}, ObjectId(), 7):
        database.monq_worker.insert_one({"_id": worker_id, "lease_until": far, "process": 5, "birth": [1]})
    database.monq_worker.insert_one({"_id": {"b": 1}, "lease_until": old})
    database.monq_worker.insert_one({"_id": TWO.id, "lease_until": "for ever"})
    store.renew(Instance("three", "p"), 60)
    (task,) = held(store, instance=TWO)

    assert ["three"] == [instance.id for instance in store.instances()]
    assert [task] == store.orphans(ONE, 9)


def test_a_lease_with_rubbish_in_it_is_renewed(store: MongoStore, database: Documents) -> None:
    """Otherwise its daemon would stop to claim."""
    for lapses in ("many", float("nan"), [1], 2**63 - 1):
        database.monq_worker.replace_one({"_id": ONE.id}, {"lapses": lapses, "lease_until": 5}, upsert=True)
        store.renew(ONE, 60)

    assert [ONE.id] == [instance.id for instance in store.instances()]


def test_busy_documents_that_no_report_can_end_are_set_aside(store: MongoStore, database: Documents) -> None:
    """A generation that is no number is in no claim: it stayed busy, and was looked at, for ever."""
    lost = held(store, 3, instance=TWO)
    ours = held(store, 2)
    for task in (lost[0], ours[0]):
        database.monq_task.update_one({"_id": task.id}, {"$set": {"generation": "x"}})

    assert [task.id for task in lost[1:]] == [task.id for task in store.orphans(ONE, 9)]
    assert [ours[1].claim] == store.held(ONE)
    assert {ERROR: 2, "busy": 3} == store.count(Filter())
    assert {lost[0].id, ours[0].id} == {notice.fields["task_id"] for notice in store.tend()}


def test_rubbish_among_the_hints_silences_no_bell(
    standalone: Deployment, store: MongoStore, database: Documents
) -> None:
    """A hint that nobody could decode kept the feed from being opened until others had pushed it out."""
    bad_text = b"\x02by\0\x03\0\0\0\xff\xfe\0"
    for element in (bad_text, bad_text.replace(b"by", b"_id"), b"\x09at\0" + b"\x7f" * 8):
        inner = element + (b"" if b"_id" in element else b"\x07_id\0" + ObjectId().binary)
        raw = (len(inner) + 5).to_bytes(4, "little") + inner + b"\0"
        database["monq_task.feed"].insert_one(RawBSONDocument(raw))

    opened = store.listen(1).word
    with closing(MongoStore(standalone.address(database.name), daemon=False)) as other:
        other.open()
        other.ring()
        heard = store.listen(PATIENCE).word

    assert ("lost", "rang") == (opened, heard)


@pytest.mark.parametrize(
    "names", [b"\x02of\0\x03\0\0\0\xff\xfe\0", b"\x10of\0\x01\0\0\0", b"\x04of\0\x05\0\0\0\0"]
)
def test_a_hint_whose_names_nobody_can_read_is_for_all(
    store: MongoStore, database: Documents, names: bytes
) -> None:
    """Whoever wrote it: a look too much harms nobody."""
    store.listen(1)
    inner = b"\x07_id\0" + ObjectId().binary + names
    raw = (len(inner) + 5).to_bytes(4, "little") + inner + b"\0"
    database["monq_task.feed"].insert_one(RawBSONDocument(raw))
    heard = store.listen(PATIENCE)

    assert "rang" == heard.word
    assert heard.is_about("shop.any")
