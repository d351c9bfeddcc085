"""Stores postings in MongoDB without transactions, which a standalone server does not have.

The order makes it whole: the event with the ids of its tasks, then the tasks, then a mark on the
event. Who finds an event without the mark finishes what was begun, under the same ids.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from bson import ObjectId
from pymongo import UpdateMany, UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from ...errors import NotStorable, StoreError, StoreUnavailable
from ...model import READY, Event, MonQTask, Posting, Receipt
from ..documents import event_to_document, require_own, task_to_document
from .connection import DUPLICATE_KEY, Connection, Document, refusals
from .schema import EVENTS, TASKS, UNENDED

ROUNDS: Final = 3
UNACKNOWLEDGED: Final = WriteConcern(w=0)

Refusals = dict[int, Document]
Marks = list[UpdateMany | UpdateOne]


class Intake:
    """Writes many postings with few calls and answers for each of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def store(
        self, postings: Sequence[Posting], begun: set[ObjectId] | None = None
    ) -> list[Receipt | Exception]:
        """A receipt for each posting, or the error that is its own. Raises StoreUnavailable for all.

        *begun* are the ids of what an earlier try of the same call has stored.
        """
        begun = set() if begun is None else begun
        try:
            with self._connection.call() as database:
                return list(_store(database, postings, begun))
        except StoreUnavailable:
            raise
        except (StoreError, NotStorable) as error:
            if len(postings) == 1:
                return [error]
        # one of them cannot be stored: asking again is safe, the ids are chosen
        return [answer for posting in postings for answer in self.store([posting], begun)]

    def adopt(self, tasks: Sequence[MonQTask], events: Sequence[Event]) -> None:
        """Insert *tasks* and *events* as they are; see contract.adopt."""
        documents = [{**event_to_document(event), "fanned_out": True} for event in events]
        with self._connection.call() as database:
            for place, refusal in _insert(database[EVENTS], documents).items():
                require_own("event", events[place], "_id" in refusal["keyPattern"])
            tasks_there = _insert(database[TASKS], [task_to_document(task) for task in tasks])
            for place, refusal in tasks_there.items():
                require_own("task", tasks[place], "_id" in refusal["keyPattern"])


def _store(database: Database[Document], postings: Sequence[Posting], begun: set[ObjectId]) -> list[Receipt]:
    earlier = _insert_events(database[EVENTS], postings, begun)
    repeated = {i for i, first in earlier.items() if _is_repeated(first, postings[i], begun)}
    wanted = [_wanted(posting, earlier.get(i)) for i, posting in enumerate(postings)]
    ids_of_all, known = _insert_tasks(database[TASKS], [task for tasks in wanted for task in tasks], begun)
    stored = zip(ids_of_all, known, strict=True)
    receipts: list[Receipt] = []
    marks = _Marks()
    for i, (posting, tasks) in enumerate(zip(postings, wanted, strict=True)):
        answers = [next(stored) for _ in tasks]
        ids = [task_id for task_id, _ in answers]
        first = earlier.get(i)
        if first is not None and first.get("fanned_out"):
            receipts.append(
                Receipt(first["task_ids"], first["_id"], not _is_own(first, posting), i in repeated)
            )
        elif first is not None and not _is_own(first, posting):
            marks.add(first["_id"], ids, first["task_ids"])
            receipts.append(Receipt(ids, first["_id"], duplicate=True, repeated=i in repeated))
        else:
            named = [task.id for task in tasks]
            if posting.event is not None and tasks:
                marks.add(posting.event.id, ids, named)
            event_id = posting.event.id if posting.event else None
            is_repeated = i in repeated or (event_id is None and any(is_known for _, is_known in answers))
            receipts.append(Receipt(ids, event_id, ids != named, is_repeated))
    marks.write(database[EVENTS])
    return receipts


class _Marks:
    """Says on events that their tasks are stored, and which those are where that differs."""

    def __init__(self) -> None:
        self._plain: list[ObjectId] = []
        self._operations: Marks = []

    def add(self, event_id: ObjectId, ids: list[ObjectId], named: list[ObjectId]) -> None:
        if ids == named:
            self._plain.append(event_id)
        else:
            change = {"$set": {"fanned_out": True, "task_ids": ids}}
            self._operations.append(UpdateOne({"_id": event_id}, change))

    def write(self, events: Collection[Document]) -> None:
        """Unacknowledged: a lost mark costs the next repetition a look, and the posting is stored anyway."""
        if self._plain:
            change = {"$set": {"fanned_out": True}}
            self._operations.append(UpdateMany({"_id": {"$in": self._plain}}, change))
        if self._operations:
            with suppress(PyMongoError):
                hasty = events.with_options(write_concern=UNACKNOWLEDGED)
                hasty.bulk_write(self._operations, ordered=False)


def _insert_events(
    events: Collection[Document], postings: Sequence[Posting], begun: set[ObjectId]
) -> dict[int, Document]:
    """Insert the events; what is returned is, by posting, what stood there: an earlier one, or itself."""
    posted = [(i, posting.event) for i, posting in enumerate(postings) if posting.event is not None]
    refused = _insert(events, [_event_document(postings[i]) for i, _ in posted], begun)
    there = [posted[place] for place in refused]
    if not there:
        return {}
    ids = [event.id for _, event in there]
    keys = [event.key for _, event in there if event.key is not None]
    shown = {"key": 1, "task_ids": 1, "handlers": 1, "fanned_out": 1}
    found = list(events.find({"$or": [{"_id": {"$in": ids}}, {"key": {"$in": keys}}]}, shown))
    by_id = {document["_id"]: document for document in found}
    by_key = {document["key"]: document for document in found if "key" in document}
    stood = {i: by_id.get(event.id) or by_key.get(event.key) for i, event in there}
    if None in stood.values():
        raise StoreUnavailable("event: the first delivery was pruned at this moment; send it again")
    return {i: document for i, document in stood.items() if document is not None}


def _is_own(first: Document, posting: Posting) -> bool:
    """Whether *first* is the event of *posting* itself, with its tasks, which an earlier try has stored."""
    return _has_its_id(first, posting) and first["task_ids"] == [task.id for task in posting.tasks]


def _has_its_id(first: Document, posting: Posting) -> bool:
    return posting.event is not None and first["_id"] == posting.event.id


def _is_repeated(first: Document, posting: Posting, begun: set[ObjectId]) -> bool:
    """Whether *first* has the id of *posting*'s event, and not from an earlier try of the same call."""
    if not _has_its_id(first, posting):
        return False
    is_begun = first["_id"] in begun
    begun.discard(first["_id"])  # the same id a second time in this call is not the earlier try
    return not is_begun


def _event_document(posting: Posting) -> Document:
    """The event with what is needed to finish its fan-out: the name of each task beside its id."""
    event, tasks = posting.event, posting.tasks
    document = event_to_document(event) if event is not None else {}
    document["task_ids"] = [task.id for task in tasks]
    document["handlers"] = [task.task_name for task in tasks]
    if not tasks:
        document["fanned_out"] = True
    return document


def _wanted(posting: Posting, first: Document | None) -> list[MonQTask]:
    """The tasks that have to be stored for *posting*, given the event that came earlier."""
    if first is not None and first.get("fanned_out"):
        return []
    if first is None or _is_own(first, posting):
        return posting.tasks
    ids = defaultdict(list)
    for name, task_id in zip(first.get("handlers", []), first["task_ids"], strict=False):
        ids[name].append(task_id)
    return [_healed(task, first["_id"], ids[task.task_name]) for task in posting.tasks]


def _healed(task: MonQTask, event_id: ObjectId, ids: list[ObjectId]) -> MonQTask:
    """*task* as the first attempt would have stored it, and waiting: its poster is told "duplicate"."""
    return dataclasses.replace(
        task,
        id=ids.pop(0) if ids else task.id,
        event_id=event_id,
        state=READY,
        worker=None,
        process=None,
        time_start=None,
        attempt=0,
        generation=0,
    )


def _insert_tasks(
    tasks: Collection[Document], wanted: list[MonQTask], begun: set[ObjectId]
) -> tuple[list[ObjectId], list[bool]]:
    """Insert *wanted*; the id under which each of them is stored: its own, or that of its key's holder.

    Beside it, whether it stood there under its own id, and not because of an earlier try of this call,
    whose tasks are in *begun*.
    """
    ids = [task.id for task in wanted]
    known = [False] * len(wanted)
    pending = list(range(len(wanted)))
    for _ in range(ROUNDS):
        refused = _insert(tasks, [task_to_document(wanted[i]) for i in pending], begun)
        held = [pending[place] for place, refusal in refused.items() if "key" in refusal["keyPattern"]]
        for i in {pending[place] for place in refused}.difference(held):
            known[i] = ids[i] not in begun
            begun.discard(ids[i])  # the same id a second time in this call is not the earlier try
        if not held:
            return ids, known
        holders = _holders(tasks, [wanted[i].key for i in held])
        for i in held:
            ids[i] = holders.get(wanted[i].key, ids[i])
        pending = [i for i in held if wanted[i].key not in holders]  # the holder has just ended
        if not pending:
            return ids, known
    raise StoreUnavailable("key: its holders end faster than this task can be stored; post it again")


def _holders(tasks: Collection[Document], keys: list[str | None]) -> dict[str | None, ObjectId]:
    query = {"key": {"$in": keys}, "state": UNENDED}
    return {document["key"]: document["_id"] for document in tasks.find(query, {"key": 1})}


def _insert(
    collection: Collection[Document], documents: list[Document], begun: set[ObjectId] | None = None
) -> Refusals:
    """Insert *documents* in order; the refusals of those that stand there already, by place.

    When another refusal makes it raise, *begun* gets the ids of those that were inserted all the same.
    """
    if not documents:
        return {}
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        try:
            return {refusal["index"]: refusal for refusal in refusals(error, DUPLICATE_KEY)}
        except BulkWriteError:
            if begun is not None:
                refused = {refusal["index"] for refusal in (error.details or {})["writeErrors"]}
                begun.update(document["_id"] for i, document in enumerate(documents) if i not in refused)
            raise
    return {}
