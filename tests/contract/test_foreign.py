"""Documents that another program wrote into the collection, and wrote wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from bson import Code, Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo.database import Database

from bus.model import COMPLETE, Filter, Report
from bus.presentation import task_details
from bus.store.fields import FIELDS
from bus.store.mongo import MongoStore
from tests.mongod import Deployment

from .samples import NAME, NOW, ONE, TWO, a_task, depths, later, post

Documents = Database[dict[str, Any]]

# field, value, what is said about it
WRONG = [
    ("attempt", None, "attempt: expected a number, got null"),
    ("attempt", "2", "attempt: expected a number, got str '2'"),
    ("attempt", True, "attempt: expected a number, got bool True"),
    ("attempt", float("inf"), "attempt: expected a number, got float inf"),
    ("generation", None, "generation: expected a number, got null"),
    ("generation", [1], "generation: expected a number, got list [1]"),
    ("max_attempts", "3", "max_attempts: expected a number"),
    ("crashes", {}, "crashes: expected a number, got dict"),
    ("timeout", "30s", "timeout: expected a number, got str '30s'"),
    ("timeout", float("nan"), "timeout: expected a number, got float nan"),
    ("priority", "high", "priority: expected a number, got str 'high'"),
    ("priority", Decimal128("10"), "priority: expected a number, got Decimal128"),
    ("args", "abc", "args: expected an array, got str 'abc'"),
    ("args", {"0": 1}, "args: expected an array, got dict"),
    ("kwargs", [1], "kwargs: expected a document, got list [1]"),
    ("context", "p", "context: expected a document, got str 'p'"),
    ("history", 5, "history: expected an array, got int 5"),
    ("history", [5], "history: expected an array, got list [5]"),
    ("progress", "half", "progress: expected a document"),
    ("event_id", "7", "event_id: expected an ObjectId, got str '7'"),
    ("event_id", [ObjectId()], "event_id: expected an ObjectId, got list"),
    ("task_name", [NAME], "task_name: expected text, got list"),
    ("time_start", "today", "time_start: expected a date, got str 'today'"),
    ("topic", Code("x"), "topic: expected text, got Code"),
    ("key", 7, "key: expected text, got int 7"),
    ("topic", {"$gt": ""}, "topic: expected text, got dict"),
    ("output", b"x", "output: expected text, got bytes"),
    ("expire_at", 5, "expire_at: expected a date, got int 5"),
    ("result_type", 1, "result_type: expected text, got int 1"),
    ("_id", {"a": 1}, "_id: expected an ObjectId, got a document"),
]


@pytest.fixture
def store(standalone: Deployment, database: Documents) -> Iterator[MongoStore]:
    with closing(MongoStore(standalone.address(database.name), daemon=True)) as store:
        store.open()
        yield store


def foreign(**fields: Any) -> dict[str, Any]:
    return {"_id": ObjectId(), "task_name": NAME, "state": "ready", "time_queue": later(-5), **fields}


def test_a_field_of_a_wrong_type_stops_nothing(store: MongoStore, database: Documents) -> None:
    """Its document ends in `error` with the reason and is else left as it is; the others run."""
    documents = [foreign(note=n, **{field: value}) for n, (field, value, _) in enumerate(WRONG)]
    database.monq_task.insert_many(documents)
    good = post(store, *(a_task(priority=-9) for _ in range(3)))

    claimed = [task.id for _ in range(3) for task in store.claim(ONE, {NAME}, len(WRONG), NOW).tasks]

    assert [task.id for task in good] == claimed
    for document, (field, value, said) in zip(documents, WRONG, strict=True):
        (found,) = database.monq_task.find({"note": document["note"]})
        assert found.pop("result").startswith(said)
        assert ("error", NOW) == (found.pop("state"), found.pop("time_stop").replace(tzinfo=NOW.tzinfo))
        assert {*document} - {"state", "time_stop", "result"} == set(found), field
        assert repr(value) == repr(found[field])


@pytest.mark.parametrize(
    "field", [field for field in FIELDS if field not in ("state", "task_name", "time_queue")]
)
def test_null_is_as_good_as_absent_except_in_counters(
    store: MongoStore, database: Documents, field: str
) -> None:
    """Some programs write every field they know."""
    document = foreign(**{field: None})
    database.monq_task.insert_one(document)

    claimed = [task.id for task in store.claim(ONE, {NAME}, 1, NOW).tasks]

    assert ([] if field in ("attempt", "generation") else [document["_id"]]) == claimed


def test_only_a_name_a_state_and_a_moment_are_needed(store: MongoStore, database: Documents) -> None:
    """Everything else has a default; the id may be of any kind that MongoDB has."""
    ids = [ObjectId(), "text", 7, UUID(int=7)]
    for one in ids[:3]:
        database.monq_task.insert_one(foreign(_id=one, attempt=0.0))

    tasks = store.claim(ONE, {NAME}, 9, NOW).tasks
    ends = store.report([Report(task.claim, {"state": COMPLETE, "result": 1}) for task in tasks])

    assert [True] * 3 == ends
    assert [([], {}, {}, 10, 1)] * 3 == [
        (task.args, task.kwargs, task.context, task.priority, task.attempt) for task in tasks
    ]
    assert {"complete": 3} == store.count(Filter())


def test_whatever_stands_there_can_be_looked_at(store: MongoStore, database: Documents) -> None:
    """By `list` and `show`, in every state."""
    for field, value, _ in WRONG:
        database.monq_task.insert_one(foreign(state="complete", **{field: value}))
    database.monq_task.insert_one(foreign(time_queue=DatetimeMS(10**15), _id="x"))
    database.monq_task.insert_one({"_id": "bare", "state": "error"})
    database.monq_task.insert_one({"_id": ObjectId(), "state": "ready", "task_name": 5})

    tasks = store.find(Filter(), 99)

    assert len(WRONG) + 3 == len(tasks) == len([task_details(task) for task in tasks])
    assert {NAME: 1} == depths(store.waiting())
    assert datetime.max.year in {task.time_queue.year for task in tasks}


def test_a_wrong_field_of_a_busy_task_does_not_stop_the_rescue(
    store: MongoStore, database: Documents
) -> None:
    """Its daemon is dead, and the others want to count its crashes."""
    database.monq_task.insert_one(foreign(state="busy", worker=TWO.id, generation=1, crashes="x", history=5))

    (orphan,) = store.orphans(ONE, 10)

    assert (0, []) == (orphan.crashes, orphan.history)
    assert [True] == store.report([Report(orphan.claim, {"state": "ready", "worker": None, "crashes": 1})])
