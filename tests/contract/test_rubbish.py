"""Rubbish in any field of any collection or table: that item is set aside, everything else goes on.

Hypothesis chooses what is damaged and how. With MONQBUS_TEST_LONG=1 it looks at random and for minutes.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import bson
import pytest
from bson import Binary, Code, Decimal128, MaxKey, MinKey, ObjectId, Regex
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymongo.database import Database
from pymongo.errors import PyMongoError

from bus.copying import copy
from bus.model import BUSY, COMPLETE, ENDED, READY, Event, Filter, Instance, MonQTask, Posting, Report
from bus.presentation import attempts, task_details
from bus.store.contract import Store
from bus.store.documents import event_to_document, task_to_document
from bus.store.fields import EVENT_FIELDS, FIELDS
from bus.store.mongo import MongoStore
from bus.store.sqlite.rows import COLUMNS
from bus.store.sqlite.store import MEMORY, SqliteStore
from tests.mongod import Deployment

from .samples import NAME, NOW, ONE, TWO, a_delivery, a_fan_out, a_task, later

IS_LONG = bool(os.environ.get("MONQBUS_TEST_LONG"))
PROFILE = settings(
    max_examples=3_000 if IS_LONG else 120,
    derandomize=not IS_LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
BAD_TEXT = b"\xff\xfe bad"
ALL = 1_000


class Place(NamedTuple):
    """Where *value* goes: into the *field* of the item number *item* of a *kind*."""

    kind: str
    item: int
    field: str
    value: Any


class Scene:
    """What lies in the store: of each thing one that stays whole and several that may be damaged."""

    def __init__(self) -> None:
        self.ready = [a_task(priority=n) for n in range(4)]
        self.delivered = [a_task(args=["github.push"]) for _ in range(4)]
        self.events = [a_delivery(f"d-{n}", expire_at=later(900)) for n in range(4)]
        for event, task in zip(self.events, self.delivered, strict=True):
            a_fan_out(event, task)
        self.orphans = [self._busy(TWO) for _ in range(3)]
        self.held = [self._busy(ONE) for _ in range(3)]
        self.ended = [a_task(state=COMPLETE, expire_at=later(-5), result={"a": 1}) for _ in range(3)]
        self.old = [a_delivery(f"old-{n}", expire_at=later(-5)) for n in range(3)]
        self.tasks = [*self.ready, *self.delivered, *self.orphans, *self.held, *self.ended]
        self.all_events = [*self.events, *self.old]

    @staticmethod
    def _busy(instance: Instance) -> MonQTask:
        return a_task(state=BUSY, worker=instance.id, process="p", attempt=1, generation=1, time_start=NOW)

    def is_whole(self, item: MonQTask | Event) -> bool:
        """The first of each group is never damaged."""
        groups = (
            self.ready, self.delivered, self.events, self.orphans, self.held, self.ended, self.old,
        )  # fmt: skip
        return any(group[0] is item for group in groups)


class Ground(Protocol):
    """A store that can be damaged behind its back."""

    store: Store

    def lay(self, scene: Scene, damage: list[Place]) -> None:
        """Empty the store, then put the scene into it with this damage."""


class MongoGround:
    def __init__(self, store: Store, database: Database[dict[str, Any]]) -> None:
        self.store = store
        self._database = database

    def lay(self, scene: Scene, damage: list[Place]) -> None:
        documents: dict[str, list[dict[str, Any]]] = {
            "task": [task_to_document(task) for task in scene.tasks],
            "event": [{**event_to_document(event), "fanned_out": True} for event in scene.all_events],
            "worker": [{"_id": f"w-{n}", "process": "p", "birth": {"pid": 1}} for n in range(2)],
            "feed": [{"_id": ObjectId(), "by": ObjectId()}],
        }
        names = {
            "task": "monq_task",
            "event": "monq_event",
            "worker": "monq_worker",
            "feed": "monq_task.feed",
        }
        for kind in ("task", "event", "worker"):
            self._database[names[kind]].delete_many({})
        self.store.renew(ONE, 60)
        for kind, content in documents.items():
            for n, document in enumerate(content):
                changes = {
                    place.field: place.value for place in damage if (place.kind, place.item) == (kind, n)
                }
                self._insert(names[kind], document, changes)

    def _insert(self, name: str, document: dict[str, Any], changes: dict[str, Any]) -> None:
        elements = {**{field: element(value) for field, value in document.items()}}
        for field, value in changes.items():
            elements.pop(field, None)
            if value is not MISSING:
                elements[field] = value if isinstance(value, RawElement) else element(value)
        try:
            self._database[name].insert_one(RawBSONDocument(assembled(elements)))
        except (PyMongoError, BSONError):
            self._database[name].insert_one(document)  # not even the server takes this one


class SqliteGround:
    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self._sql: sqlite3.Connection = store._connection.sql

    def lay(self, scene: Scene, damage: list[Place]) -> None:
        self._sql.execute("DELETE FROM task")
        self._sql.execute("DELETE FROM event")
        self.store.adopt(scene.tasks, scene.all_events)
        for kind, item, field, value in damage:
            given = value.data if isinstance(value, RawElement) else value
            raw, cast = (given, "CAST(? AS TEXT)") if value is TEXT else (given, "?")
            with_id = {"task": scene.tasks, "event": scene.all_events}[kind][item].id.binary
            with suppress(sqlite3.Error):  # not even the file takes everything
                self._sql.execute(f"UPDATE {kind} SET {field} = {cast} WHERE id = ?", (raw, with_id))


class RawElement(NamedTuple):
    """A BSON value without its name, perhaps one that no decoder reads."""

    data: bytes


MISSING = object()
TEXT = RawElement(BAD_TEXT)


def element(value: Any) -> RawElement:
    data = bson.encode({"v": value})
    return RawElement(data[4:5] + data[7:-1])


def assembled(elements: dict[str, RawElement]) -> bytes:
    inner = b"".join(raw.data[:1] + name.encode() + b"\0" + raw.data[1:] for name, raw in elements.items())
    return (len(inner) + 5).to_bytes(4, "little") + inner + b"\0"


def a_string(data: bytes) -> RawElement:
    return RawElement(b"\x02" + (len(data) + 1).to_bytes(4, "little") + data + b"\0")


def a_document(kind: bytes, inside: RawElement) -> RawElement:
    return RawElement(kind + assembled({"0": inside}))


BAD_STRING = a_string(BAD_TEXT)
BAD_UUID = RawElement(b"\x05\x02\x00\x00\x00\x04xx")
OF_BSON = [
    MISSING, None, True, 0, -1, 1, 2**63 - 1, -(2**63), 2**53 + 1, 0.5, float("nan"), float("inf"), 1e300, "",
    "text", "ready", "busy", NAME, b"x", [], {}, [{}], [[]], [5], {"a": 1}, {"$ref": "a", "$id": 1},
    {"$ref": 5, "$id": 1}, [{"$ref": "a", "$id": 1}], ObjectId(b"x" * 12), Decimal128("1"), Code("x"),
    Code("x", {"a": 1}), Regex("a"), MinKey(), MaxKey(), DatetimeMS(10**15), DatetimeMS(-(10**15)), NOW,
    Binary(b"x", 128), ["text"], [NAME], [NOW], BAD_STRING, BAD_UUID, a_document(b"\x03", BAD_STRING),
    a_document(b"\x04", BAD_STRING), a_document(b"\x04", BAD_UUID),
]  # fmt: skip
OF_SQLITE = [
    None, 0, -1, 1, 2**63 - 1, -(2**63), 2**53 + 1, 0.5, float("inf"), -1e300, "", "text", "ready", "busy",
    "zzz", NAME, b"", b"x", b"x" * 12, b"\xff" * 20, TEXT, bson.encode({}), bson.encode({"v": 5}),
    bson.encode({"v": [{}]}), bson.encode({"v": [5]}), bson.encode({"v": {"a": 1}}), bson.encode({"args": 5}),
    bson.encode({"args": [], "kwargs": {}, "context": {}, "timeout": "x"}), assembled({"v": BAD_STRING}),
    assembled({"args": element([]), "kwargs": BAD_STRING, "context": element({})}),
    assembled({"v": a_document(b"\x04", BAD_UUID)}), bson.encode({"v": 1})[:-3], b"\x05\0\0\0\0",
]  # fmt: skip

SCENE = Scene()
DAMAGEABLE = {
    "task": [n for n, task in enumerate(SCENE.tasks) if not SCENE.is_whole(task)],
    "event": [n for n, event in enumerate(SCENE.all_events) if not SCENE.is_whole(event)],
}


def places(kind: str, items: list[int], fields: list[str], values: list[Any]) -> st.SearchStrategy[Place]:
    return st.builds(
        Place, st.just(kind), st.sampled_from(items), st.sampled_from(fields), st.sampled_from(values)
    )


IN_MONGO = st.lists(
    places("task", DAMAGEABLE["task"], ["_id", "result", "note", *FIELDS], OF_BSON)
    | places("event", DAMAGEABLE["event"], ["_id", "key", "handlers", "fanned_out", *EVENT_FIELDS], OF_BSON)
    | places("worker", [0], ["_id", "process", "birth", "lease_until", "lapses"], OF_BSON)
    | places("feed", [0], ["_id", "by"], OF_BSON),
    min_size=1,
    max_size=8,
)
IN_SQLITE = st.lists(
    places("task", DAMAGEABLE["task"], COLUMNS.split(", "), OF_SQLITE)
    | places("event", DAMAGEABLE["event"], ["id", "key", "hook", "expire_at", "document"], OF_SQLITE),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def mongo(standalone: Deployment) -> Iterator[MongoGround]:
    name = f"monqbus_test_{uuid4().hex[:12]}"
    with closing(MongoStore(standalone.address(name), daemon=False)) as store:
        store.open()
        yield MongoGround(store, standalone.client[name])
    standalone.client.drop_database(name)


@given(damage=IN_MONGO)
@example(damage=[Place("task", 9, "worker", a_document(b"\x04", BAD_STRING))])
@example(damage=[Place("task", 9, "worker", BAD_STRING)])
@example(damage=[Place("event", DAMAGEABLE["event"][0], "query", [["a", 1]])])
@example(damage=[Place("event", DAMAGEABLE["event"][0], "query", True)])
@example(damage=[Place("event", DAMAGEABLE["event"][0], "attributes", {"id": 1})])
@example(damage=[Place("task", 1, "task_name", Code("x")), Place("task", 2, "state", Code("x"))])
@PROFILE
def test_rubbish_in_mongodb_stops_nothing_else(mongo: MongoGround, damage: list[Place]) -> None:
    """Other programs write there, too."""
    everything_else_goes_on(mongo, damage)


@given(damage=IN_SQLITE)
@example(damage=[Place("task", 1, "rank", -(2**63))])
@example(damage=[Place("task", 1, "result", TEXT)])
@example(damage=[Place("task", 1, "id", TEXT), Place("task", 2, "id", float("inf"))])
@PROFILE
def test_rubbish_in_the_embedded_file_stops_nothing_else(damage: list[Place]) -> None:
    """SQLite puts anything into any column, and so may a disk."""
    with closing(SqliteStore(MEMORY, daemon=False)) as store:
        store.open()
        everything_else_goes_on(SqliteGround(store), damage)


@given(damage=IN_SQLITE)
@PROFILE
def test_a_damaged_store_is_copied_as_far_as_it_can_be_read(damage: list[Place]) -> None:
    """What stays behind is told; nothing that cannot be read runs in the other store."""
    with (
        closing(SqliteStore(MEMORY, daemon=False)) as store,
        closing(SqliteStore(MEMORY, daemon=False)) as other,
    ):
        store.open()
        other.open()
        SqliteGround(store).lay(SCENE, damage)

        copied = copy(store, other)
        again = copy(store, other)

        assert copied == again
        for task in SCENE.tasks:
            if SCENE.is_whole(task):
                assert task == other.get(task.id)
        for event in SCENE.all_events:
            if SCENE.is_whole(event):
                assert event == other.event(event.id)


def everything_else_goes_on(ground: Ground, damage: list[Place]) -> None:
    """All verbs of the contract, in an order in which a daemon may use them."""
    store = ground.store
    ground.lay(SCENE, damage)
    seen_at_first = look_at_everything(store)
    whole = {item.id for item in (*SCENE.tasks, *SCENE.all_events) if SCENE.is_whole(item)}

    assert whole <= seen_at_first

    store.renew(ONE, 60)
    store.instances()
    assert SCENE.held[0].claim in store.held(ONE)
    rescue(store)
    post_beside_damage(store)
    ended = run_all(store)
    rescued_and_due = {SCENE.ready[0].id, SCENE.delivered[0].id, SCENE.orphans[0].id}

    assert rescued_and_due <= ended
    look_at_everything(store)
    prune_and_purge(store)


def look_at_everything(store: Store) -> set[Any]:
    """The ids of all that is shown, page by page."""
    tasks = paged(lambda before: store.find(Filter(), 3, before))
    events = paged(lambda before: store.events(3, before))
    for task in tasks:
        json.dumps(task_details(task))
        attempts(task)
        bson.encode(task_to_document(task))
    for task in tasks:
        assert store.get(task.id) is not None
    for event in events:
        assert store.event(event.id) is not None
    assert len(SCENE.tasks) <= len(tasks) + 5 * 9
    store.find(Filter(states=(READY, BUSY), error="x"), ALL)
    assert [task.id for task in tasks] == paged_ids(store, Filter())
    claimable = Filter(states=(READY, BUSY))
    assert store.ids(claimable, ALL) == paged_ids(store, claimable)
    assert store.ids(claimable, ALL) == [task.id for task in store.find(claimable, ALL, brief=True)]
    counts, waiting = store.count(Filter()), store.waiting()
    assert all(isinstance(word, str) for word in (*counts, *waiting))
    store.depth(ALL)
    return {item.id for item in (*tasks, *events)}


def paged_ids(store: Store, which: Filter) -> list[Any]:
    found: list[Any] = []
    while page := store.ids(which, 3, found[-1] if found else None):
        found += page
    return found


def paged(page: Callable[[Any], list[Any]]) -> list[Any]:
    found: list[Any] = []
    before = None
    while some := page(before):
        found += some
        before = some[-1].id
        assert len(found) < ALL, "pages without end"
    assert len(found) == len({item.id for item in found})
    return found


def rescue(store: Store) -> None:
    """As the rescuer does, until nothing is left to rescue."""
    rescued: set[Any] = set()
    for _ in range(20):
        orphans = store.orphans(ONE, 2)
        if not orphans:
            break
        fields = {"state": READY, "worker": None, "crashes": 1}
        held = store.report([Report(task.claim, fields) for task in orphans])
        assert any(held), [(task.claim, task.fault) for task in orphans]
        rescued |= {task.id for task in orphans}
    assert SCENE.orphans[0].id in rescued
    assert [] == store.orphans(ONE, 2)


def post_beside_damage(store: Store) -> None:
    """Deliveries come again whose first event is damaged, in one commit with a new one."""
    repeated = [a_fan_out(a_delivery(f"d-{n}"), a_task(name="other")) for n in range(4)]
    new = a_fan_out(a_delivery(f"new-{uuid4().hex}"), a_task(name="other"))
    receipts = store.post([*repeated, new, Posting([a_task(name="other")])])
    assert (new.event.id, False) == (receipts[4].event_id, receipts[4].duplicate)  # type: ignore[union-attr]
    assert (SCENE.events[0].id, [SCENE.delivered[0].id]) == (receipts[0].event_id, receipts[0].task_ids)


def run_all(store: Store) -> set[Any]:
    """Claim and end until nothing is due any more."""
    ended: set[Any] = set()
    for _ in range(30):
        claimed = store.claim(ONE, {NAME, "text"}, 2, NOW)
        for task in claimed.tasks:
            assert "" == task.fault
            assert task.event_id is None or task.event is None or "" == task.event.fault
        held = store.report([Report(task.claim, {"state": COMPLETE, "result": 1}) for task in claimed.tasks])
        assert all(held)
        assert not ended & {task.id for task in claimed.tasks}
        ended |= {task.id for task in claimed.tasks}
    assert [] == store.claim(ONE, {NAME, "text"}, 2, NOW).tasks
    return ended


def prune_and_purge(store: Store) -> None:
    store.prune(NOW, ALL)
    assert store.get(SCENE.ended[0].id) is None
    assert store.event(SCENE.old[0].id) is None
    ids = [task.id for task in store.find(Filter(), ALL)]
    store.move(ids, (READY, BUSY), {"state": "skipped", "time_stop": NOW})
    store.delete(ids, ENDED)
    left = store.find(Filter(), ALL)
    assert all(task.state not in ENDED for task in left), [(task.id, task.state) for task in left]
