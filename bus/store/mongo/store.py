"""The MongoDB store: the contract on documents, every change an atomic update.

Majority and journal for all that is promised; leases by the server's clock; the claim served by
one index. Payload never enters an aggregation pipeline (measured: `'$$ROOT'` is evaluated).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bson import ObjectId
from pymongo import ASCENDING, ReturnDocument, UpdateOne
from pymongo.collection import Collection as MongoCollection
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from ...clock import Clock
from ...delivery_record import Delivery, DeliveryFilter, Keep
from ...errors import StoreError
from ...limits import Limit
from ...model import (
    BUSY,
    READY,
    SKIPPED,
    Claim,
    Claimed,
    Event,
    EventFilter,
    FairShare,
    Filter,
    Instance,
    MonQTask,
    Posting,
    Receipt,
    Record,
    Report,
    State,
)
from ..contract import CALL_SECONDS, EVERY_EVENT, Backlog, CountedBy, Heard, Line, Notice
from ..fields import UNSOUND, holds
from ..salvage import opened
from ..set_aside import SetAside
from . import serial
from .claims import Claims
from .connection import KEY_INDEX, Connection, Document, not_accepted, refusals, stands_in
from .delivery_log import DeliveryRing
from .feed import Feed
from .foreign_documents import set_aside
from .intake import Intake
from .integrity import Integrity
from .lenient import id_of, identity_of, is_, is_text, one_of, read
from .migration import migrate, require_known
from .pages import read_page
from .pruning import Pruning
from .reads import Reads, task_of
from .records import Records
from .reports import Reports, change
from .schema import INDEX_SECONDS, TASKS, WORKERS, create_indexes, require_fit, require_server
from .transactions import Transactions

if TYPE_CHECKING:
    from ..group_commit import GroupCommit

PING_SECONDS: Final = 2.0
PING_AGAIN_SECONDS: Final = 1.0
PING: Final = "ping"  # it has no lease, so it is nobody's
DAY_MS: Final = 86_400_000
BY_NAME: Final[Document] = {"_id": {"$type": "string"}}

Answer = TypeVar("Answer")


class MongoStore:
    """Implements store.contract.Store on a database that several daemons and other programs share.

    One that *looks* makes neither collections nor indexes when it is opened; a *daemon* alone upgrades an
    earlier schema version. Each refuses a newer one.
    """

    shared = True

    def __init__(self, address: str, *, daemon: bool, looks: bool = False) -> None:
        self._looks = looks
        self._connection = Connection(address)
        self._daemon = daemon
        self._clock = Clock()
        self._written_at = float("-inf")
        self._intake = Intake(self._connection)
        self._transactions = Transactions(self._connection)
        self._aside = SetAside()
        self._claims = Claims(self._connection, self._aside.add)
        self._reports = Reports(self._connection, self._intake)
        self._looking = Reads(self._connection)
        self._pruning = Pruning(self._clock)
        self._ring = DeliveryRing(self._connection)
        self._records = Records(self._connection)
        self._feed = Feed(self._connection, daemon=daemon)
        self._watch = Integrity(self._connection, self._clock)
        self._posts: GroupCommit[list[Posting], list[Receipt | Exception]] | None = None
        self._ends: GroupCommit[list[Report], list[bool | Exception]] | None = None

    # life

    def hosts(self) -> Collection[str]:
        """The members that are known at this moment, and those that the address names."""
        return self._connection.hosts

    def open(self) -> None:
        """Connect, create what is missing. Raises StoreError, for a server that is too old too."""
        self._connection.open()
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise
        if self._daemon:
            from ..group_commit import GroupCommit

            self._posts = GroupCommit(self._store_together)
            self._ends = GroupCommit(self._report_together)

    def _prepare(self) -> None:
        with self._connection.call() as database:
            require_server(database)
            require_fit(database)
            require_known(database)
        if self._looks:
            return
        with self._connection.call(INDEX_SECONDS) as database:
            create_indexes(database)
            if self._daemon:
                migrate(database, self._clock, INDEX_SECONDS / 2)
        self._feed.prepare()
        self._watch.begin()

    def close(self) -> None:
        """Release tasks whose claim was never answered, and close all sockets."""
        with suppress(StoreError):
            self._claims.give_back()
        self._feed.close()
        self._connection.close()

    def ping(self) -> None:
        """Write something as durably as everything else, within two seconds, at most once a second.

        Asking whether there is a primary would not do: it may have no majority, or a disk that hangs.
        """
        self._watch.require()
        if self._clock.monotonic() - self._written_at < PING_AGAIN_SECONDS:
            return
        began = self._clock.monotonic()
        with self._connection.call(PING_SECONDS) as database:
            change = {"$currentDate": {"at": True}}
            database[WORKERS].update_one({"_id": PING}, change, upsert=True)
        self._written_at = began

    def tend(self) -> Sequence[Notice]:
        """See the contract: looks every few seconds whether collections and indexes are what they were.

        Also what was set aside. Servers look after their disks. Blocks longer than other verbs while missing
        indexes are built. Lets tasks go on whose predecessor's end was cut between two writes.
        """
        if self._daemon:
            with self._connection.call() as database:
                if serial.mend(database[TASKS]):
                    self._feed.ring(())
        return [*self._watch.look(), *self._aside.news()]

    # in

    def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """See the contract; in the daemon together with what else is posted at this moment."""
        if not self._daemon:
            self._watch.glance()
        self._watch.require()
        asked = list(postings)
        return _all_or_first_error(
            self._posts.submit(asked, CALL_SECONDS) if self._posts else self._intake.store(asked)
        )

    def post_within(
        self, session: Any, postings: Sequence[Posting], committed: Callable[[], None]
    ) -> list[Receipt]:
        """See the contract."""
        if not self._daemon:
            self._watch.glance()
        self._watch.require()
        return self._transactions.store(session, postings, committed)

    def _store_together(self, calls: Sequence[list[Posting]]) -> list[list[Receipt | Exception]]:
        answers = iter(self._intake.store([posting for call in calls for posting in call]))
        return [list(islice(answers, len(call))) for call in calls]

    # claim, hold and end

    def claim(
        self,
        instance: Instance,
        names: Collection[str],
        limit: int,
        now: datetime,
        fair: FairShare | None = None,
        *,
        bound: Limit | None = None,
    ) -> Claimed:
        """See the contract."""
        return self._claims.claim(instance, names, limit, now, fair, bound=bound)

    def report(self, reports: Sequence[Report]) -> list[bool]:
        """See the contract; True also for a report that an earlier, unanswered call has written."""
        asked = list(reports)
        return _all_or_first_error(
            self._ends.submit(asked, CALL_SECONDS) if self._ends else self._reports.write(asked)
        )

    def _report_together(self, calls: Sequence[list[Report]]) -> list[list[bool | Exception]]:
        answers = iter(self._reports.write([report for call in calls for report in call]))
        return [list(islice(answers, len(call))) for call in calls]

    def renew(self, instance: Instance, lease_seconds: float) -> int:
        """See the contract."""
        until = {"$add": ["$$NOW", int(lease_seconds * 1000)]}
        # $literal: a pipeline would evaluate a "$" in the name of a host
        lease: Document = {"process": {"$literal": instance.process}, "lease_until": until}
        if instance.identity is not None:
            lease["birth"] = {"$literal": instance.identity._asdict()}
        # a missing lease compares as lower than any date
        had_ended = {"$and": [{"$gt": ["$lease_until", None]}, {"$lte": ["$lease_until", "$$NOW"]}]}
        before = {"$cond": [{"$isNumber": "$lapses"}, "$lapses", 0]}
        counted = {"$add": [before, {"$cond": [had_ended, 1, 0]}]}
        with self._connection.call() as database:
            document = database[WORKERS].find_one_and_update(
                {"_id": instance.id},
                [{"$set": {"lapses": counted}}, {"$set": lease}],
                projection={"lapses": 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        lapses = document["lapses"] if document else 0
        return int(lapses) if math.isfinite(lapses) else 0

    def held(self, instance: Instance) -> list[Claim]:
        """See the contract."""
        query = {"state": BUSY, "worker": instance.id}
        with self._connection.call() as database:
            tasks = database[TASKS]
            found = read(tasks, lambda sound: sound.find(query, {"generation": 1}))
            nameless = [document for document in found if not _has_a_claim(document)]
            self._end_nameless(tasks, nameless)
        return [
            Claim(task["_id"], instance.id, task.get("generation") or 0)
            for task in found
            if task not in nameless
        ]

    def _end_nameless(self, tasks: MongoCollection[Document], nameless: list[Document]) -> None:
        """Set busy documents aside whose claim cannot be named, so that no report could ever end them."""
        if nameless:
            which = one_of([id_of(document) for document in nameless])
            set_aside(tasks, which, self._clock.now(), self._aside.add, state=BUSY, reason=UNSOUND)

    def instances(self) -> list[Instance]:
        """See the contract."""
        query = {"$expr": {"$gt": ["$lease_until", "$$NOW"]}, "lease_until": {"$type": "date"}, **BY_NAME}
        with self._connection.call() as database:
            found = read(database[WORKERS], lambda sound: sound.find(query))
        return [_instance(document) for document in found if isinstance(document["_id"], str)]

    def orphans(self, instance: Instance, limit: int) -> list[MonQTask]:
        """See the contract. Busy tasks without a `worker` belong to another program and stay."""
        if limit <= 0:
            return []
        with self._connection.call() as database:
            # first the tasks, then the leases: a daemon has its lease before its first claim
            tasks = database[TASKS]
            stages: list[Document] = [
                {"$match": {"state": BUSY, "worker": {"$type": "string"}}},
                {"$group": {"_id": "$worker"}},
            ]
            groups = read(tasks, lambda sound: sound.aggregate(stages))
            holders = {group["_id"] for group in groups if is_text(group["_id"])}
            dead = holders - _living(database, holders) - {instance.id}
            if not dead:
                return []
            query = {"$and": [{"state": BUSY}, one_of(list(dead), "worker")]}
            found = read_page(tasks, query, order=ASCENDING, limit=limit)
            nameless = [
                document
                for document in found
                if not (type(document["worker"]) is str and _has_a_claim(document))
            ]
            self._end_nameless(tasks, nameless)
        return [task_of(document) for document in found if document not in nameless]

    # see

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """See the contract."""
        return self._looking.get(task_id)

    def find(
        self, filter: Filter, limit: int, cursor: ObjectId | None = None, *, brief: bool = False
    ) -> list[MonQTask]:
        """See the contract."""
        return self._looking.find(filter, limit, cursor, brief=brief)

    def ids(self, filter: Filter, limit: int, cursor: ObjectId | None = None) -> list[ObjectId]:
        """See the contract."""
        return self._looking.ids(filter, limit, cursor)

    def line(self, serial: str, limit: int, *, newest: bool = False) -> Line:
        """See the contract."""
        return self._looking.line(serial, limit, newest=newest)

    def count(self, filter: Filter, by: CountedBy = "state") -> dict[str, int]:
        """See the contract; by states alone it reads an index and no document."""
        return self._looking.count(filter, by)

    def depth(self, most: int) -> int:
        """See the contract."""
        return self._looking.depth(most)

    def waiting(self) -> dict[str, Backlog]:
        """See the contract."""
        return self._looking.waiting()

    def event(self, event_id: ObjectId) -> Event | None:
        """See the contract."""
        return self._looking.event(event_id)

    def events(
        self, limit: int, cursor: ObjectId | None = None, filter: EventFilter = EVERY_EVENT
    ) -> list[Event]:
        """See the contract."""
        return self._looking.events(limit, cursor, filter)

    # the delivery log

    def log_deliveries(self, records: Sequence[Delivery], keep: Keep | None = None) -> int:
        """See the contract."""
        return self._ring.write(records, keep)

    def deliveries(
        self, filter: DeliveryFilter, limit: int, cursor: ObjectId | None = None
    ) -> list[Delivery]:
        """See the contract."""
        return self._ring.find(filter, limit, cursor)

    def delivery(self, record_id: ObjectId) -> Delivery | None:
        """See the contract."""
        return self._ring.get(record_id)

    # elsewhere

    def adopt(self, tasks: Sequence[MonQTask], events: Sequence[Event]) -> None:
        """See the contract."""
        self._intake.adopt(tasks, events)

    def backup(self, path: Path) -> None:
        """Never: a copy without the server's help would not be of one moment."""
        raise StoreError(f"{path}: expected the embedded store, got MongoDB; use mongodump --oplog")

    # operate and forget

    def move(self, ids: Sequence[ObjectId], states: Collection[State], fields: Mapping[str, Any]) -> int:
        """See the contract; one by one, so that one that cannot be moved stops no other."""
        operations = [operation for i in ids for operation in _moving(i, states, change(fields))]
        if not operations:
            return 0
        with self._connection.call() as database:
            try:
                moved = database[TASKS].bulk_write(operations, ordered=False).matched_count
            except BulkWriteError as error:
                moved = _moved(error)
            serial.settle(database[TASKS], ids)
        return moved

    def delete(self, ids: Sequence[ObjectId], states: Collection[State]) -> int:
        """See the contract."""
        query = {"$and": [one_of(ids), {"state": {"$in": list(states)}}]}
        with self._connection.call() as database:
            tasks = database[TASKS]
            if held := serial.leave(tasks, query):
                query = {"$or": [query, {"$and": [one_of(held), {"state": SKIPPED}]}]}
            return tasks.delete_many(query).deleted_count

    def prune(self, now: datetime, limit: int) -> int:
        """See the contract."""
        with self._connection.call() as database:
            return self._pruning.prune(database, now, limit)

    # records

    def records(self, kind: str) -> list[Record]:
        """See the contract."""
        return self._records.records(kind)

    def keep_records(self, records: Sequence[Record]) -> list[bool]:
        """See the contract."""
        return self._records.keep_records(records)

    # bell

    def ring(self, names: Collection[str] = ()) -> None:
        """See the contract; never raises."""
        self._feed.ring(names)

    def listen(self, seconds: float) -> Heard:
        """See the contract. For one greenlet only."""
        return self._feed.listen(seconds)


def _all_or_first_error(answers: Iterable[Answer | Exception]) -> list[Answer]:
    whole: list[Answer] = []
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        whole.append(answer)
    return whole


def _moving(task_id: Any, states: Collection[State], update: Document) -> list[UpdateOne]:
    """What moves a task, whether it has a serial key or not: one of them does something."""
    which = {"_id": is_("$eq", task_id), "state": {"$in": list(states)}}
    if update["$set"].get("state") != READY:
        return [UpdateOne(which, update)]
    return [
        UpdateOne({**which, "serial": serial.GONE}, update),
        UpdateOne({**which, "serial": serial.IS_THERE}, serial.waiting_again(update)),
    ]


def _has_a_claim(document: Document) -> bool:
    """Whether a report could find *document* by the claim that can be read from it."""
    generation = document.get("generation")
    is_number = generation is None or (holds("generation", generation))
    return opened(id_of(document)) is None and is_number


def _instance(document: Document) -> Instance:
    process = document.get("process")
    return Instance(
        document["_id"], process if isinstance(process, str) else "", identity_of(document.get("birth"))
    )


def _living(database: Database[Document], holders: set[Any]) -> set[Any]:
    """The daemons whose lease holds, by the server's clock; long dead ones without tasks are forgotten."""
    until, now = "$lease_until", "$$NOW"
    stages = [
        {"$match": BY_NAME},
        {
            "$project": {
                "lives": {"$and": [{"$eq": [{"$type": until}, "date"]}, {"$gt": [until, now]}]},
                "is_old": {"$lt": [until, {"$subtract": [now, DAY_MS]}]},
            }
        },
    ]
    instances = read(database[WORKERS], lambda sound: sound.aggregate(stages))
    forgotten = [
        instance["_id"] for instance in instances if instance["is_old"] and instance["_id"] not in holders
    ]
    if forgotten:
        database[WORKERS].delete_many(one_of(forgotten))
    return {instance["_id"] for instance in instances if instance["lives"]}


def _moved(error: BulkWriteError) -> int:
    """How many moved although some could not, because another unfinished task holds their key.

    What else keeps one from moving is raised when none moved: else it would never be told.
    """
    others = [refusal for refusal in refusals(error) if not stands_in(KEY_INDEX, refusal)]
    moved: int = (error.details or {})["nMatched"]
    if others and not moved:
        raise not_accepted(others[0])
    return moved
