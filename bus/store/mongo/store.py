"""The MongoDB store: one document per task, every change of hands an atomic update.

Majority and journal for all that is promised; leases by the server's clock; the claim served by
one index. Payload never enters an aggregation pipeline (measured: `'$$ROOT'` is evaluated).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bson import ObjectId
from pymongo import DESCENDING, ReturnDocument, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from ...birth import Birth
from ...clock import Clock
from ...codec import undo_references
from ...errors import StoreError
from ...model import (
    BUSY,
    READY,
    STATES,
    Claim,
    Claimed,
    Event,
    Filter,
    MonQTask,
    Posting,
    Receipt,
    Report,
    State,
    Worker,
)
from ..contract import CALL_SECONDS, Heard, Notice
from ..documents import event_from_document, task_from_document
from .claims import Claims
from .connection import DUPLICATE_KEY, Connection, Document, refusals
from .feed import Feed
from .intake import Intake
from .pruning import Pruning
from .reports import Reports, change
from .schema import (
    EVENTS,
    INDEX_SECONDS,
    STATE,
    TASKS,
    WORKERS,
    create_indexes,
    require_server,
)

if TYPE_CHECKING:
    from ..group import Group

PING_SECONDS: Final = 2.0
PING_AGAIN_SECONDS: Final = 1.0
PING: Final = "ping"  # it has no lease, so it is nobody's
DAY_MS: Final = 86_400_000


class MongoStore:
    """Implements store.contract.Store on a database that several daemons and other programs share."""

    shared = True

    def __init__(self, address: str, *, daemon: bool) -> None:
        self._connection = Connection(address)
        self._daemon = daemon
        self._clock = Clock()
        self._written_at = float("-inf")
        self._intake = Intake(self._connection)
        self._claims = Claims(self._connection)
        self._reports = Reports(self._connection)
        self._pruning = Pruning()
        self._feed = Feed(self._connection, daemon=daemon)
        self._posts: Group[list[Posting], list[Receipt | Exception]] | None = None
        self._ends: Group[list[Report], list[bool]] | None = None

    # life

    def open(self) -> None:
        """Connect, create what is missing. Raises StoreError, for a server that is too old too."""
        self._connection.open()
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise
        if self._daemon:
            from ..group import Group

            self._posts = Group(self._store_together)
            self._ends = Group(self._report_together)

    def _prepare(self) -> None:
        with self._connection.call() as database:
            require_server(database)
        with self._connection.call(INDEX_SECONDS) as database:
            create_indexes(database)
        self._feed.prepare()

    def close(self) -> None:
        """Give back tasks whose claim was never answered, and all sockets."""
        with suppress(StoreError):
            self._claims.give_back()
        self._feed.close()
        self._connection.close()

    def ping(self) -> None:
        """Write something as durably as everything else, within two seconds, at most once a second.

        Asking whether there is a primary would not do: it may have no majority, or a disk that hangs.
        """
        if self._clock.monotonic() - self._written_at < PING_AGAIN_SECONDS:
            return
        began = self._clock.monotonic()
        with self._connection.call(PING_SECONDS) as database:
            change = {"$currentDate": {"at": True}}
            database[WORKERS].update_one({"_id": PING}, change, upsert=True)
        self._written_at = began

    def tend(self) -> Sequence[Notice]:
        """Nothing to do: its servers look after their disks."""
        return ()

    # in

    def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """See the contract; in the daemon together with what else is posted at this moment."""
        asked = list(postings)
        answers = self._posts.submit(asked, CALL_SECONDS) if self._posts else self._intake.store(asked)
        receipts = []
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            receipts.append(answer)
        return receipts

    def _store_together(self, calls: Sequence[list[Posting]]) -> list[list[Receipt | Exception]]:
        answers = iter(self._intake.store([posting for call in calls for posting in call]))
        return [list(islice(answers, len(call))) for call in calls]

    # claim, hold and end

    def claim(self, worker: Worker, names: Collection[str], limit: int, now: datetime) -> Claimed:
        """See the contract."""
        return self._claims.claim(worker, names, limit, now)

    def report(self, reports: Sequence[Report]) -> list[bool]:
        """See the contract; True also for a report that an earlier, unanswered call has written."""
        asked = list(reports)
        return self._ends.submit(asked, CALL_SECONDS) if self._ends else self._reports.write(asked)

    def _report_together(self, calls: Sequence[list[Report]]) -> list[list[bool]]:
        answers = iter(self._reports.write([report for call in calls for report in call]))
        return [list(islice(answers, len(call))) for call in calls]

    def renew(self, worker: Worker, lease_seconds: float) -> int:
        """See the contract."""
        until = {"$add": ["$$NOW", int(lease_seconds * 1000)]}
        # $literal: a pipeline would evaluate a "$" in the name of a host
        lease: Document = {"process": {"$literal": worker.process}, "lease_until": until}
        if worker.birth is not None:
            lease["birth"] = {"$literal": worker.birth._asdict()}
        # a missing lease compares as lower than any date
        had_ended = {"$and": [{"$gt": ["$lease_until", None]}, {"$lte": ["$lease_until", "$$NOW"]}]}
        counted = {"$add": [{"$ifNull": ["$lapses", 0]}, {"$cond": [had_ended, 1, 0]}]}
        with self._connection.call() as database:
            document = database[WORKERS].find_one_and_update(
                {"_id": worker.id},
                [{"$set": {"lapses": counted}}, {"$set": lease}],
                projection={"lapses": 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return int(document["lapses"]) if document else 0

    def held(self, worker: Worker) -> list[Claim]:
        """See the contract."""
        query = {"state": BUSY, "worker": worker.id}
        with self._connection.call() as database:
            found = database[TASKS].find(query, {"generation": 1})
            return [Claim(task["_id"], worker.id, task.get("generation") or 0) for task in found]

    def workers(self) -> list[Worker]:
        """See the contract."""
        query = {"$expr": {"$gt": ["$lease_until", "$$NOW"]}}
        with self._connection.call() as database:
            return [_worker(document) for document in database[WORKERS].find(query)]

    def orphans(self, worker: Worker, limit: int) -> list[MonQTask]:
        """See the contract. Busy tasks without a `worker` belong to another program and stay."""
        if limit <= 0:
            return []
        with self._connection.call() as database:
            # first the tasks, then the leases: a daemon has its lease before its first claim
            holders = set(database[TASKS].distinct("worker", {"state": BUSY, "worker": {"$type": "string"}}))
            dead = holders - _living(database, holders) - {worker.id}
            if not dead:
                return []
            query = {"state": BUSY, "worker": {"$in": list(dead)}}
            return _tasks(database[TASKS].find(query).sort("_id").limit(limit))

    # see

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """See the contract."""
        with self._connection.call() as database:
            found = _tasks(database[TASKS].find({"_id": task_id}).limit(1))
        return found[0] if found else None

    def find(self, which: Filter, limit: int, before: ObjectId | None = None) -> list[MonQTask]:
        """See the contract."""
        if limit <= 0:
            return []
        query = _query(which)
        if before is not None:
            query = {"$and": [query, {"_id": {"$lt": before}}]}
        with self._connection.call() as database:
            return _tasks(database[TASKS].find(query).sort("_id", DESCENDING).limit(limit))

    def count(self, which: Filter) -> dict[str, int]:
        """See the contract; by states alone it reads an index and no document."""
        query = {"state": {"$in": list(STATES)}, **_query(which)}
        return self._numbers(query, "$state")

    def depth(self, most: int) -> int:
        """See the contract."""
        with self._connection.call() as database:
            return database[TASKS].count_documents({"state": READY}, limit=most, hint=STATE)

    def waiting(self) -> dict[str, int]:
        """See the contract."""
        names = self._numbers({"state": READY}, "$task_name")
        return {name: count for name, count in names.items() if isinstance(name, str)}

    def _numbers(self, query: Document, by: str) -> dict[str, int]:
        stages = [{"$match": query}, {"$group": {"_id": by, "count": {"$sum": 1}}}]
        with self._connection.call() as database:
            return {group["_id"]: group["count"] for group in database[TASKS].aggregate(stages)}

    def event(self, event_id: ObjectId) -> Event | None:
        """See the contract."""
        with self._connection.call() as database:
            document = database[EVENTS].find_one({"_id": event_id})
        return event_from_document(document) if document else None

    def events(self, limit: int, before: ObjectId | None = None) -> list[Event]:
        """See the contract."""
        query = {} if before is None else {"_id": {"$lt": before}}
        with self._connection.call() as database:
            found = database[EVENTS].find(query).sort("_id", DESCENDING).limit(limit)
            return [event_from_document(document) for document in found]

    # elsewhere

    def adopt(self, tasks: Sequence[MonQTask], events: Sequence[Event]) -> None:
        """See the contract."""
        self._intake.adopt(tasks, events)

    def backup(self, path: Path) -> None:
        """Never: a copy without the server's help would not be of one moment."""
        raise StoreError(f"{path}: expected the embedded store, got MongoDB; use mongodump --oplog")

    # operate and forget

    def move(self, ids: Sequence[ObjectId], states: Collection[State], fields: Mapping[str, Any]) -> int:
        """See the contract; one by one, so that a held key stops only its own task."""
        update = change(fields)
        operations = [UpdateOne({"_id": i, "state": {"$in": list(states)}}, update) for i in ids]
        if not operations:
            return 0
        with self._connection.call() as database:
            try:
                return database[TASKS].bulk_write(operations, ordered=False).matched_count
            except BulkWriteError as error:
                return _moved(error)

    def delete(self, ids: Sequence[ObjectId], states: Collection[State]) -> int:
        """See the contract."""
        query = {"_id": {"$in": list(ids)}, "state": {"$in": list(states)}}
        with self._connection.call() as database:
            return database[TASKS].delete_many(query).deleted_count

    def prune(self, now: datetime, limit: int) -> int:
        """See the contract."""
        with self._connection.call() as database:
            return self._pruning.prune(database, now, limit)

    # bell

    def ring(self) -> None:
        """See the contract; never raises."""
        self._feed.ring()

    def listen(self, seconds: float) -> Heard:
        """See the contract. For one greenlet only."""
        return self._feed.listen(seconds)


def _tasks(documents: Iterable[Document]) -> list[MonQTask]:
    tasks = [task_from_document(document) for document in documents]
    for task in tasks:
        task.result = undo_references(task.result)
    return tasks


def _worker(document: Document) -> Worker:
    return Worker(document["_id"], document.get("process") or "", _birth(document.get("birth")))


def _birth(document: Any) -> Birth | None:
    """What *document* says of a process; a newer version may say more, nonsense says nothing."""
    try:
        birth = Birth(*(document[name] for name in Birth._fields))
    except (KeyError, TypeError):
        return None
    return birth if isinstance(birth.pid, int) and isinstance(birth.start, int) else None


def _living(database: Database[Document], holders: set[str]) -> set[str]:
    """The workers whose lease holds, by the server's clock; long dead ones without tasks are forgotten."""
    until, now = "$lease_until", "$$NOW"
    stages = [
        {
            "$project": {
                "lives": {"$gt": [until, now]},
                "is_old": {"$lt": [until, {"$subtract": [now, DAY_MS]}]},
            }
        }
    ]
    workers = list(database[WORKERS].aggregate(stages))
    forgotten = [worker["_id"] for worker in workers if worker["is_old"] and worker["_id"] not in holders]
    if forgotten:
        database[WORKERS].delete_many({"_id": {"$in": forgotten}})
    return {worker["_id"] for worker in workers if worker["lives"]}


def _query(which: Filter) -> Document:
    query: Document = {}
    if which.ids:
        query["_id"] = {"$in": list(which.ids)}
    if which.states:
        query["state"] = {"$in": list(which.states)}
    if which.name:
        query["task_name"] = {"$regex": "^" + re.escape(which.name)}
    if which.names:
        query.setdefault("task_name", {})["$in"] = list(which.names)
    if which.topic:
        query["topic"] = which.topic
    if which.error:
        query["result"] = {"$regex": which.error}
    moments = {"$lt": which.older, "$gt": which.newer}
    if given := {name: moment for name, moment in moments.items() if moment is not None}:
        query["time_queue"] = given
    return query


def _moved(error: BulkWriteError) -> int:
    """How many moved although some could not, because another unfinished task holds their key."""
    refusals(error, DUPLICATE_KEY)
    moved: int = (error.details or {})["nMatched"]
    return moved
