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
from pymongo import ReturnDocument, UpdateMany, UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from ...errors import NotStorable, StoreError, StoreUnavailable
from ...model import Event, MonQTask, Posting, Receipt
from ..documents import event_to_document, later, require_own, task_to_document, unclaimed
from .connection import DUPLICATE_KEY, Connection, Document, refusals
from .schema import EVENTS, TASKS, UNENDED

ROUNDS: Final = 3
UNACKNOWLEDGED: Final = WriteConcern(w=0)
SHOWN: Final = {"key": 1, "task_ids": 1, "handlers": 1, "fanned_out": 1, "expire_at": 1}
PRUNED: Final = "event: the first delivery was pruned at this moment; send it again"

Refusals = dict[int, Document]
Marks = list[UpdateMany | UpdateOne]


class Intake:
    """Writes many postings with few calls and answers for each of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def store(self, postings: Sequence[Posting]) -> list[Receipt | Exception]:
        """A receipt for each posting, or the error that is its own. Raises StoreUnavailable for all."""
        try:
            with self._connection.call() as database:
                return list(_store(database, postings))
        except StoreUnavailable:
            raise
        except (StoreError, NotStorable) as error:
            if len(postings) == 1:
                return [error]
        # one of them cannot be stored: asking again is safe, the ids are chosen
        return [answer for posting in postings for answer in self.store([posting])]

    def adopt(self, tasks: Sequence[MonQTask], events: Sequence[Event]) -> None:
        """Insert *tasks* and *events* as they are; see contract.adopt."""
        documents = [{**event_to_document(event), "fanned_out": True} for event in events]
        with self._connection.call() as database:
            for place, refusal in _insert(database[EVENTS], documents).items():
                require_own("event", events[place], "_id" in refusal["keyPattern"])
            tasks_there = _insert(database[TASKS], [task_to_document(task) for task in tasks])
            for place, refusal in tasks_there.items():
                require_own("task", tasks[place], "_id" in refusal["keyPattern"])


def _store(database: Database[Document], postings: Sequence[Posting]) -> list[Receipt]:
    earlier = _insert_events(database[EVENTS], postings)
    replayed = _replay(database[EVENTS], postings, earlier)
    wanted = [_wanted(posting, earlier.get(i)) for i, posting in enumerate(postings)]
    stored = iter(_insert_tasks(database[TASKS], [task for tasks in wanted for task in tasks]))
    receipts: list[Receipt] = []
    marks = _Marks()
    for i, (posting, tasks) in enumerate(zip(postings, wanted, strict=True)):
        ids = [next(stored) for _ in tasks]
        first = earlier.get(i)
        if first is not None and i in replayed:
            marks.add(first["_id"], ids, first["task_ids"])
            receipts.append(Receipt(ids, first["_id"], replayed=True))
        elif first is not None and first.get("fanned_out"):
            receipts.append(_receipt_of_all(first, posting))
        elif first is not None and not _is_own(first, posting):
            marks.add(first["_id"], ids, first["task_ids"])
            receipts.append(Receipt(ids, first["_id"], duplicate=True))
        else:
            named = [task.id for task in tasks]
            if posting.event is not None and tasks:
                marks.add(posting.event.id, ids, named)
            receipts.append(Receipt(ids, posting.event.id if posting.event else None, ids != named))
    marks.write(database[EVENTS])
    return receipts


def _receipt_of_all(first: Document, posting: Posting) -> Receipt:
    """For an event whose tasks were stored before: they may have ended, and be forgotten, since."""
    is_replayed = bool(posting.tasks) and not _is_own(first, posting) and _names(first, posting)
    duplicate = not is_replayed and not _is_own(first, posting)
    return Receipt(first["task_ids"], first["_id"], duplicate=duplicate, replayed=is_replayed)


def _replay(
    events: Collection[Document], postings: Sequence[Posting], earlier: dict[int, Document]
) -> set[int]:
    """Write the tasks of *postings* on events in *earlier* that have none; the places of those that did.

    One update decides who does. Tasks that are written on an event and not stored yet are stored by
    whoever brings it next, so what happens to this caller now does not matter.
    """
    replayed: set[int] = set()
    for i, first in earlier.items():
        if not postings[i].tasks or first["task_ids"]:
            continue
        document = events.find_one_and_update(
            {"_id": first["_id"], "task_ids": []},
            {"$set": _replaying(first, postings[i]), "$unset": {"fanned_out": ""}},
            SHOWN,
            return_document=ReturnDocument.AFTER,
        )
        if document is not None:
            replayed.add(i)
        else:
            document = events.find_one({"_id": first["_id"]}, SHOWN)
        if document is None:
            raise StoreUnavailable(PRUNED)
        first.clear()  # others of this call may have brought the same delivery
        first.update(document)
    return replayed


def _replaying(first: Document, posting: Posting) -> Document:
    """What an event without tasks is changed to by a *posting* that has some."""
    written = _event_document(posting)
    return {
        "topic": written["topic"],
        "task_ids": written["task_ids"],
        "handlers": written["handlers"],
        "expire_at": later(first.get("expire_at"), written["expire_at"]),
    }


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


def _insert_events(events: Collection[Document], postings: Sequence[Posting]) -> dict[int, Document]:
    """Insert the events; what is returned is, by posting, what stood there: an earlier one, or itself."""
    posted = [(i, posting.event) for i, posting in enumerate(postings) if posting.event is not None]
    refused = _insert(events, [_event_document(postings[i]) for i, _ in posted])
    there = [posted[place] for place in refused]
    if not there:
        return {}
    ids = [event.id for _, event in there]
    keys = [event.key for _, event in there if event.key is not None]
    found = list(events.find({"$or": [{"_id": {"$in": ids}}, {"key": {"$in": keys}}]}, SHOWN))
    by_id = {document["_id"]: document for document in found}
    by_key = {document["key"]: document for document in found if "key" in document}
    stood = {i: by_id.get(event.id) or by_key.get(event.key) for i, event in there}
    if None in stood.values():
        raise StoreUnavailable(PRUNED)
    return {i: document for i, document in stood.items() if document is not None}


def _is_own(first: Document, posting: Posting) -> bool:
    """Whether *first* is the event of *posting* itself, with its tasks, stored by an earlier try."""
    return posting.event is not None and first["_id"] == posting.event.id and _names(first, posting)


def _names(first: Document, posting: Posting) -> bool:
    """Whether the tasks of *first* are those of *posting*."""
    return bool(first["task_ids"] == [task.id for task in posting.tasks])


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
    return unclaimed(dataclasses.replace(task, id=ids.pop(0) if ids else task.id), event_id)


def _insert_tasks(tasks: Collection[Document], wanted: list[MonQTask]) -> list[ObjectId]:
    """Insert *wanted*; the id under which each of them is stored: its own, or that of its key's holder."""
    ids = [task.id for task in wanted]
    pending = list(range(len(wanted)))
    for _ in range(ROUNDS):
        refused = _insert(tasks, [task_to_document(wanted[i]) for i in pending])
        # a refused _id is our own first try, whose answer was lost
        held = [pending[place] for place, refusal in refused.items() if "key" in refusal["keyPattern"]]
        if not held:
            return ids
        holders = _holders(tasks, [wanted[i].key for i in held])
        for i in held:
            ids[i] = holders.get(wanted[i].key, ids[i])
        pending = [i for i in held if wanted[i].key not in holders]  # the holder has just ended
        if not pending:
            return ids
    raise StoreUnavailable("key: its holders end faster than this task can be stored; post it again")


def _holders(tasks: Collection[Document], keys: list[str | None]) -> dict[str | None, ObjectId]:
    query = {"key": {"$in": keys}, "state": UNENDED}
    return {document["key"]: document["_id"] for document in tasks.find(query, {"key": 1})}


def _insert(collection: Collection[Document], documents: list[Document]) -> Refusals:
    """Insert *documents* in order; the refusals of those that stand there already, by place."""
    if not documents:
        return {}
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        return {refusal["index"]: refusal for refusal in refusals(error, DUPLICATE_KEY)}
    return {}
