"""Claims from MongoDB in batches: find the ids, take those still ready, read back what is ours.

One by one with findAndModify gets slower with every claimer (measured: 1,204/s with 4 greenlets,
200/s with 64); a batch of 100 takes 8,000 to 10,000 a second whatever the backlog.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.collection import Collection as MongoCollection
from pymongo.database import Database

from ...model import BUSY, READY, Claimed, Event, MonQTask, Worker
from ..documents import event_from_document, may_need_delivery, task_from_document
from .connection import Connection, Document
from .foreign import SOUND, set_aside
from .schema import CLAIM, DUE, EVENTS, TASKS

NAMES_PER_QUERY: Final = 150  # the server merges up to 200 index scans, beyond that it sorts
ROUNDS: Final = 5
ORDER: Final = [("priority", DESCENDING), ("time_queue", ASCENDING), ("_id", ASCENDING)]


class Doubt(NamedTuple):
    """Tasks that *worker* may have claimed at *since* without having learned of it."""

    worker: str = ""
    ids: Sequence[ObjectId] = ()
    since: datetime | None = None


class Claims:
    """Takes tasks for a worker. One claim at a time; others of this store wait for their turn."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self._doubted = Doubt()

    def claim(self, worker: Worker, names: Collection[str], limit: int, now: datetime) -> Claimed:
        """See contract.claim. What another error or interrupt leaves behind, the next claim gives back."""
        with self._turn, self._connection.call() as database:
            self._give_back(database)
            claimed = self._claim(database, worker, sorted(names), limit, now)
            self._doubted = Doubt()
        return claimed

    def give_back(self) -> None:
        """Return to ready what a claim took whose caller never learned of it."""
        with self._turn, self._connection.call() as database:
            self._give_back(database)

    def _give_back(self, database: Database[Document]) -> None:
        worker, ids, since = self._doubted
        if not ids:
            return
        # the moment of the claim: a packet that comes late must not undo the next claim by the same worker
        fence = {"_id": {"$in": ids}, "state": BUSY, "worker": worker, "time_start": since}
        change = {
            "$set": {"state": READY, "process": None, "time_start": None},
            "$unset": {"worker": ""},
            "$inc": {"attempt": -1},
        }
        database[TASKS].update_many(fence, change)
        self._doubted = Doubt()

    def _claim(
        self, database: Database[Document], worker: Worker, names: list[str], limit: int, now: datetime
    ) -> Claimed:
        taken: list[MonQTask] = []
        for _ in range(ROUNDS):
            missing = limit - len(taken)
            if missing <= 0:
                return Claimed(taken)
            ids = _due(database[TASKS], names, missing, now)
            if ids:
                taken += self._take(database, worker, ids, now)
            if len(ids) < missing:
                return Claimed(taken, _next_due(database[TASKS], names, now))
        # other daemons take what is found here: there is more, look again at once
        return Claimed(taken, now if len(taken) < limit else None)

    def _take(
        self, database: Database[Document], worker: Worker, ids: list[ObjectId], now: datetime
    ) -> list[MonQTask]:
        """Those of *ids* that were still ready, in the order of *ids*."""
        self._doubted = Doubt(worker.id, [*self._doubted.ids, *ids], now)
        mine = {
            "state": BUSY,
            "worker": worker.id,
            "process": worker.process,
            "time_start": now,
            "time_stop": None,
        }
        taken = database[TASKS].update_many(
            {"_id": {"$in": ids}, "state": READY, **SOUND},
            {"$set": mine, "$inc": {"generation": 1, "attempt": 1}},
        )
        if taken.matched_count < len(ids):
            set_aside(database[TASKS], ids, now)
        fence = {"_id": {"$in": ids}, "state": BUSY, "worker": worker.id}
        found = {document["_id"]: task_from_document(document) for document in database[TASKS].find(fence)}
        tasks = [found[task_id] for task_id in ids if not isinstance(task_id, dict) and task_id in found]
        _attach_deliveries(database[EVENTS], tasks)
        return tasks


def _due(tasks: MongoCollection[Document], names: list[str], limit: int, now: datetime) -> list[ObjectId]:
    """The ids of up to *limit* ready tasks in the order of claiming, read from the index alone."""
    found: list[Document] = []
    for chunk in _chunks(names):
        query = {"state": READY, "task_name": {"$in": chunk}, "time_queue": {"$lte": now}}
        shown = {"_id": 1, "priority": 1, "time_queue": 1}
        found += tasks.find(query, shown).sort(ORDER).limit(limit).hint(CLAIM)
    if len(names) > NAMES_PER_QUERY:
        found.sort(key=_rank)
    return [document["_id"] for document in found[:limit]]


def _rank(document: Document) -> tuple[float, Any, Any]:
    priority = document.get("priority")  # null is lowest, as in the index
    rank = -priority if isinstance(priority, (int, float)) else float("inf")
    return (rank, document["time_queue"], document["_id"])


def _next_due(tasks: MongoCollection[Document], names: list[str], now: datetime) -> datetime | None:
    """When the first of the delayed tasks becomes due; one index key for each name."""
    moments: list[datetime] = []
    for chunk in _chunks(names):
        query = {"state": READY, "task_name": {"$in": chunk}, "time_queue": {"$gt": now}}
        delayed = tasks.find(query, {"_id": 0, "time_queue": 1}).sort("time_queue", ASCENDING)
        moments += [document["time_queue"] for document in delayed.limit(1).hint(DUE)]
    return min((moment for moment in moments if isinstance(moment, datetime)), default=None)


def _chunks(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), NAMES_PER_QUERY):
        yield list(names[start : start + NAMES_PER_QUERY])


def _attach_deliveries(events: MongoCollection[Document], tasks: list[MonQTask]) -> None:
    """Give the tasks of a delivery their event; a published one is in their arguments already."""
    wanted = list({task.event_id for task in tasks if task.event_id is not None})
    if not wanted:
        return
    query = {"_id": {"$in": wanted}, "hook": {"$type": "string"}}
    found: dict[ObjectId | None, Event] = {
        document["_id"]: event_from_document(document) for document in events.find(query)
    }
    for task in tasks:
        task.event = found.get(task.event_id)
    _mark_bereft(events, [task for task in tasks if task.event is None and may_need_delivery(task)])


def _mark_bereft(events: MongoCollection[Document], tasks: list[MonQTask]) -> None:
    """Of *tasks*, which may have been published without arguments, mark those whose event is gone."""
    if not tasks:
        return
    query = {"_id": {"$in": [task.event_id for task in tasks]}}
    there = {document["_id"] for document in events.find(query, {"_id": 1})}
    for task in tasks:
        task.is_bereft = task.event_id not in there
