"""Bodies of up to 25 MiB, the largest that GitHub sends: in both stores whole, or not there at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import ObjectId
from pymongo.database import Database

from bus.copying import copy
from bus.errors import StoreUnavailable
from bus.model import Event, Filter, MonQTask, Posting
from bus.store.contract import PAGE_BYTES, Store
from bus.store.mongo import bodies
from bus.store.mongo.store import MongoStore
from bus.store.sqlite.store import SqliteStore
from tests.mongod import Deployment

from .samples import NAME, NOW, ONE, a_delivery, a_fan_out, a_task, later

MIB = 1024 * 1024
LARGEST = bytes(range(256)) * 4096 * 25
Documents = Database[dict[str, Any]]


def large(delivery: str | None = "large", body: bytes = LARGEST, **fields: Any) -> Event:
    event = a_delivery(delivery, **fields)
    event.body = body
    return event


def test_a_large_body_is_stored_and_comes_with_its_task(store: Store) -> None:
    """Byte for byte, wherever an event is read."""
    event = large()
    (receipt,) = store.post([a_fan_out(event, a_task())])

    (claimed,) = store.claim(ONE, {NAME}, 1, NOW).tasks

    assert (event.id, False) == (receipt.event_id, receipt.duplicate)
    assert event == claimed.event == store.event(event.id)
    assert [event] == store.events(10)


@pytest.mark.parametrize("size", [bodies.INLINE_BYTES, bodies.INLINE_BYTES + 1, 2 * bodies.PART_BYTES])
def test_a_body_of_any_size_comes_back(store: Store, size: int) -> None:
    """Also of those where another form of storing begins."""
    event = large(body=LARGEST[:size])
    store.post([Posting([], event)])

    assert event == store.event(event.id)


def test_a_large_delivery_that_comes_again_changes_nothing(store: Store) -> None:
    """Under its own id, after a lost answer, or as another delivery with the same key."""
    event = large(expire_at=later(60))
    store.post([a_fan_out(event, a_task())])
    again = large(body=LARGEST[::-1])
    receipts = store.post([Posting([], event), Posting([], again)])

    assert [event.id] * 2 == [receipt.event_id for receipt in receipts]
    assert [True, False] == [receipts[0].repeated, receipts[1].repeated]
    assert event == store.event(event.id)
    assert store.event(again.id) is None


def test_a_page_of_large_events_ends_soon(store: Store) -> None:
    """Each of them is more than a page, so each is one."""
    events = [large(f"{n}", LARGEST[: PAGE_BYTES + 1]) for n in range(3)]
    store.post([Posting([], event) for event in events])

    pages = [store.events(10)]
    while pages[-1]:
        pages.append(store.events(10, pages[-1][-1].id))

    assert [[event.id] for event in reversed(events)] == [[one.id for one in page] for page in pages[:-1]]


def test_a_large_event_is_brought_to_another_store(store: Store, tmp_path: Path) -> None:
    """And back: a copy has its body."""
    event = large(expire_at=later(60))
    store.post([a_fan_out(event, a_task())])
    with closing(SqliteStore(tmp_path / "copy.db", daemon=True)) as other:
        other.open()
        copy(store, other, lambda _: None)
        found = other.event(event.id)

    assert event == found


def test_a_large_event_gets_its_tasks_later(store: Store) -> None:
    """A replay finds the body where it is."""
    event = large(expire_at=later(60))
    store.post([Posting([], event)])
    store.post([a_fan_out(event, a_task())])

    (claimed,) = store.claim(ONE, {NAME}, 1, NOW).tasks

    assert claimed.event is not None
    assert LARGEST == claimed.event.body


# where the parts are


@pytest.fixture(params=["standalone", "replica_set"])
def database(request: pytest.FixtureRequest) -> Iterator[Documents]:
    """A fresh database on a server of each kind."""
    deployment: Deployment = request.getfixturevalue(request.param)
    address = deployment.address(f"monqbus_test_{ObjectId()}")
    with pymongo.MongoClient[dict[str, Any]](address) as client:
        yield client.get_default_database()
        client.drop_database(client.get_default_database().name)


@pytest.fixture
def deployment(request: pytest.FixtureRequest, database: Documents) -> Deployment:
    found: Deployment = request.getfixturevalue(request.node.callspec.params["database"])
    return found


@pytest.fixture
def mongo(deployment: Deployment, database: Documents) -> Iterator[MongoStore]:
    with closing(MongoStore(deployment.address(database.name), daemon=False)) as store:
        store.open()
        yield store


def parts(database: Documents) -> int:
    return database[bodies.BODIES].count_documents({})


def test_of_a_pruned_event_nothing_is_left(mongo: MongoStore, database: Documents) -> None:
    """Its parts go with it; those of others stay."""
    past, kept = large("past", expire_at=NOW), large("kept", expire_at=later(10**9))
    mongo.post([Posting([], past), Posting([], kept)])
    before = parts(database)
    pruned = mongo.prune(later(1), 10)

    assert (8, 1, 4) == (before, pruned, parts(database))
    assert kept == mongo.event(kept.id)


def test_a_delivery_that_comes_again_leaves_no_parts(mongo: MongoStore, database: Documents) -> None:
    """Those that it brought are deleted, and not those of the first time."""
    event = large()
    mongo.post([Posting([], event)])
    mongo.post([Posting([], event), Posting([], large())])

    assert 4 == parts(database)
    assert event == mongo.event(event.id)


def test_an_event_whose_parts_alone_were_written_is_not_there(
    mongo: MongoStore, database: Documents, deployment: Deployment
) -> None:
    """As after a crash between the two writes: it comes again and is stored once, with all of its body."""
    event = large()
    with (
        deployment.failing("insert", errorCode=11601, namespace=f"{database.name}.monq_event"),
        pytest.raises(StoreUnavailable),
    ):
        mongo.post([a_fan_out(event, a_task())])
    begun = (parts(database), mongo.events(10), mongo.count(Filter()))
    (receipt,) = mongo.post([a_fan_out(event, a_task())])

    assert (4, [], {}) == begun
    assert (False, False) == (receipt.duplicate, receipt.repeated)
    assert event.body == getattr(mongo.event(event.id), "body", b"")


def test_an_event_is_not_stored_without_all_of_its_parts(
    mongo: MongoStore, database: Documents, deployment: Deployment
) -> None:
    """The parts come first: while they cannot be written there is neither event nor task."""
    with (
        deployment.failing("insert", errorCode=11601, namespace=f"{database.name}.{bodies.BODIES}"),
        pytest.raises(StoreUnavailable),
    ):
        mongo.post([a_fan_out(large(), a_task())])

    assert ([], {}) == (mongo.events(10), mongo.count(Filter()))


class Hours:
    """A clock of which only the hours that have passed count."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_parts_without_an_event_go_when_they_were_found_twice(mongo: MongoStore, database: Documents) -> None:
    """An hour apart: at first they may belong to a call that is under way. Others stay."""
    event = large()
    mongo.post([Posting([], event)])
    _, left = bodies.divided({"_id": ObjectId(), "body": LARGEST})
    _, other_try = bodies.divided({"_id": event.id, "body": LARGEST})
    database[bodies.BODIES].insert_many([*left, *other_try])
    clock: Any = Hours()
    sweeper = bodies.Sweeper(clock)
    counts = []
    for hours in (0, 0.9, 1.1, 1.1):
        clock.seconds = hours * 3600
        sweeper.sweep(database)
        counts.append(parts(database))

    assert [12, 12, 4, 4] == counts
    assert event == mongo.event(event.id)


def test_an_event_that_has_lost_a_part_is_shown_with_its_fault(
    mongo: MongoStore, database: Documents
) -> None:
    """No handler gets half of a body: its task ends in `error`, and says why."""
    task = a_task()
    event = large()
    mongo.post([a_fan_out(event, task)])
    database[bodies.BODIES].delete_one({})

    claimed = mongo.claim(ONE, {NAME}, 1, NOW).tasks
    ended: MonQTask | None = mongo.get(task.id)

    assert [] == claimed
    assert ended is not None
    assert ("error", True) == (ended.state, "event body" in str(ended.result))
    assert "of 26214400 bytes" in getattr(mongo.event(event.id), "fault", "")
