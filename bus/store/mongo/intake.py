"""Stores postings without transactions, which a standalone server does not have.

The order makes it whole: the event with the ids of its tasks, then the tasks, then a mark on the
event. Who finds an event without the mark finishes what was begun, under the same ids.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

from bson import ObjectId
from pymongo import UpdateMany, UpdateOne, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from ...errors import StoreUnavailable
from ...model import Event, MonQTask, Posting, Receipt
from ..documents import event_to_document, later, require_own, task_to_document, unclaimed
from . import bodies
from .connection import (
    GUARD_INDEX,
    ID_INDEX,
    KEY_INDEX,
    Connection,
    Document,
    not_accepted,
    refusals,
    stands_in,
)
from .duplicates import WITHOUT_TASKS, Duplicate, first_now, firsts
from .lenient import id_of, is_, one_of, read, texts_of
from .schema import EVENTS, TASKS, UNENDED

ROUNDS: Final = 3
UNACKNOWLEDGED: Final = WriteConcern(w=0)
PRUNED: Final = "event: the first delivery was pruned at this moment; send it again"

RECOGNISED: Final = (ID_INDEX, KEY_INDEX, GUARD_INDEX)
"""An event that stands in one of them has come before."""

Refusals = dict[int, Document]
Marks = list[UpdateMany | UpdateOne]


class Try:
    """One try of a call: what it stores, and what earlier tries of the same call have *begun*.

    What stands there because of an earlier try is no repetition.
    """

    def __init__(self, begun: set[ObjectId]) -> None:
        self.stored: set[ObjectId] = set()
        self.found: set[ObjectId] = set()
        self._begun = begun

    def has_begun(self, item_id: Any) -> bool:
        """Whether an earlier try has stored *item_id*; the same id a second time in the call is not that."""
        is_begun = item_id in self._begun and item_id not in self.found
        self.found.add(item_id)
        return is_begun


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
        this = Try(begun)
        try:
            with self._connection.call() as database:
                answers = _store(database, postings, this)
            begun -= this.found
            return answers
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the one that cannot be stored
            if len(postings) == 1:
                return [error]
        # asking again is safe, the ids are chosen; by halves, so that one of a thousand costs twenty calls
        begun |= this.stored
        half = len(postings) // 2
        return self.store(postings[:half], begun) + self.store(postings[half:], begun)

    def adopt(self, tasks: Sequence[MonQTask], events: Sequence[Event]) -> None:
        """Insert *tasks* and *events* as they are; see contract.adopt."""
        documents = [{**event_to_document(event), "fanned_out": True} for event in events]
        with self._connection.call() as database:
            documents = bodies.insert(database, documents)
            refused = _insert(database[EVENTS], documents)
            bodies.forget(database, [documents[place] for place in refused])
            for place, refusal in refused.items():
                _require_own("event", events[place], refusal)
            tasks_there = _insert(database[TASKS], [task_to_document(task) for task in tasks])
            for place, refusal in tasks_there.items():
                _require_own("task", tasks[place], refusal)


def _require_own(kind: str, item: MonQTask | Event, refusal: Document) -> None:
    if not any(stands_in(index, refusal) for index in RECOGNISED):
        raise not_accepted(refusal)
    require_own(kind, item, stands_in(ID_INDEX, refusal))


def _store(database: Database[Document], postings: Sequence[Posting], this: Try) -> list[Receipt | Exception]:
    events = database[EVENTS]
    earlier, refused = _insert_events(events, postings, this)
    replayed = _replay(events, postings, earlier, refused)
    repeated = {i for i, first in earlier.items() if _is_repeated(first, postings[i], this)} - replayed
    waits = repeated | replayed
    wanted = [
        [] if i in refused else _wanted(posting, earlier.get(i), waits=i in waits)
        for i, posting in enumerate(postings)
    ]
    stored = _insert_tasks(database[TASKS], [task for tasks in wanted for task in tasks], this)
    answers: list[Receipt | Exception] = []
    marks = _Marks()
    end = 0
    for i, (posting, tasks) in enumerate(zip(postings, wanted, strict=True)):
        begin, end = end, end + len(tasks)
        refusal = refused.get(i) or stored.error(begin, end)
        if refusal is not None:  # without a mark its event stays begun: the repetition finishes it
            answers.append(refusal)
            continue
        ids, first = stored.ids[begin:end], earlier.get(i)
        # whoever brings the same event finishes what was begun under these ids, also between two steps of
        # this call: they wait then, and others may have begun them
        is_own = first is None or first.is_own(posting)
        is_repeated = i in repeated or (is_own and stored.has_known(begin, end))
        receipt = _receipt(posting, ids, first, marks, is_replayed=i in replayed)
        answers.append(receipt._replace(repeated=is_repeated) if is_repeated else receipt)
    marks.write(events)
    return answers


def _receipt(
    posting: Posting, ids: list[Any], first: Duplicate | None, marks: _Marks, *, is_replayed: bool
) -> Receipt:
    """What *posting* has become, whose tasks are stored under *ids* as far as they were not before."""
    if first is None or (first.is_own(posting) and not first.fanned_out and not is_replayed):
        named = [task.id for task in posting.tasks]
        if posting.event is not None and named:
            marks.add(posting.event.id, ids, named)
        return Receipt(ids, posting.event.id if posting.event else None, duplicate=ids != named)
    if first.fanned_out or not posting.tasks:  # nobody takes it now: what was begun stays to be finished
        ids = first.task_ids  # they may have ended, and be forgotten, since
    else:
        marks.add(first.id, ids, first.task_ids)
    is_replayed = is_replayed or _is_asked_again(first, posting)
    return Receipt(ids, first.id, not is_replayed and not first.is_own(posting), replayed=is_replayed)


def _is_asked_again(first: Duplicate, posting: Posting) -> bool:
    """Whether *first* has got the tasks of *posting* by an earlier call, whose answer was lost."""
    return bool(posting.tasks) and first.names(posting) and not first.has_id_of(posting)


def _replay(
    events: Collection[Document],
    postings: Sequence[Posting],
    earlier: dict[int, Duplicate],
    refused: dict[int, Exception],
) -> set[int]:
    """Write the tasks of *postings* on events in *earlier* that have none; the places of those that did.

    One update decides who does. Tasks that are written on an event and not stored yet are stored by
    whoever brings it next, so what happens to this caller now does not matter.
    """
    replayed: set[int] = set()
    for i, first in list(earlier.items()):
        if not postings[i].tasks or first.task_ids or not isinstance(first.id, ObjectId):
            continue
        change = {"$set": _replaying(first, postings[i]), "$unset": {"fanned_out": "", "filtered": ""}}
        if events.update_one({"_id": first.id, **WITHOUT_TASKS}, change).matched_count:
            replayed.add(i)
        # else others have brought the same delivery, perhaps in this call
        if (now := first_now(events, first.id)) is None:
            refused[i] = StoreUnavailable(PRUNED)
            del earlier[i]
        else:
            earlier[i] = now
    return replayed


def _replaying(first: Duplicate, posting: Posting) -> Document:
    """What an event without tasks is changed to by a *posting* that has some."""
    written = event_document(posting)
    until = written["expire_at"]
    if first.expire_at is None or isinstance(first.expire_at, datetime):
        until = later(first.expire_at, until)
    return {
        "topic": written["topic"],
        "task_ids": written["task_ids"],
        "handlers": written["handlers"],
        "expire_at": until,
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
            self._operations.append(UpdateOne({"_id": is_("$eq", event_id)}, change))

    def write(self, events: Collection[Document]) -> None:
        """Unacknowledged: a lost mark costs the next repetition a look, and the posting is stored anyway."""
        if self._plain:
            change = {"$set": {"fanned_out": True}}
            self._operations.append(UpdateMany(one_of(self._plain), change))
        if self._operations:
            with suppress(PyMongoError):
                hasty = events.with_options(write_concern=UNACKNOWLEDGED)
                hasty.bulk_write(self._operations, ordered=False)


def _insert_events(
    events: Collection[Document], postings: Sequence[Posting], this: Try
) -> tuple[dict[int, Duplicate], dict[int, Exception]]:
    """Insert the events; what is returned is, by posting, what stood there, and why one was refused."""
    posted = [(i, posting.event) for i, posting in enumerate(postings) if posting.event is not None]
    documents = bodies.insert(events.database, [event_document(postings[i]) for i, _ in posted])
    refusals_ = _insert(events, documents, this)
    bodies.forget(events.database, [documents[place] for place in refusals_])
    there, refused = [], dict[int, Exception]()
    for place, refusal in refusals_.items():
        if any(stands_in(index, refusal) for index in RECOGNISED):
            there.append(posted[place])
        else:
            refused[posted[place][0]] = not_accepted(refusal)
    if not there:
        return {}, refused
    found = firsts(events, [event for _, event in there])
    by_id = {first.id: first for first in found}
    by_key = {key: first for first in found for key in first.keys}
    by_guard = {first.guard: first for first in found if first.guard}
    earlier = {}
    for i, event in there:
        first = by_id.get(event.id) or by_key.get(event.unique_key or "")
        first = first or by_guard.get(event.guard or "")
        if first is None:
            refused[i] = StoreUnavailable(PRUNED)
        else:
            earlier[i] = first
    return earlier, refused


def _is_repeated(first: Duplicate, posting: Posting, this: Try) -> bool:
    """Whether *first* has the id of *posting*'s event, and not from an earlier try of the same call."""
    return first.has_id_of(posting) and not this.has_begun(first.id)


def event_document(posting: Posting) -> Document:
    """The event with what is needed to finish its fan-out: the name of each task beside its id."""
    event, tasks = posting.event, posting.tasks
    document = event_to_document(event) if event is not None else {}
    document["task_ids"] = [task.id for task in tasks]
    document["handlers"] = [task.task_name for task in tasks]
    if not tasks:
        document["fanned_out"] = True
    return document


def _wanted(posting: Posting, first: Duplicate | None, *, waits: bool) -> list[MonQTask]:
    """The tasks that have to be stored for *posting*, given the event that came earlier.

    They are as they were posted only where the poster is told that they are new: else nobody begins them.
    """
    if first is not None and first.fanned_out:
        return []
    if first is None or (first.is_own(posting) and not waits):
        return posting.tasks
    ids = defaultdict(list)
    for name, task_id in first.handlers:
        ids[name].append(task_id)
    return [_healed(task, first.id, ids[task.task_name]) for task in posting.tasks]


def _healed(task: MonQTask, event_id: ObjectId, ids: list[ObjectId]) -> MonQTask:
    """*task* as the first attempt would have stored it, and waiting: its poster is told "duplicate"."""
    return unclaimed(dataclasses.replace(task, id=ids.pop(0) if ids else task.id), event_id)


class Stored(NamedTuple):
    """The *ids* under which tasks are stored, their own or those of their keys' holders.

    By place, those that stood there under their own id before this call, and the *errors* of others.
    """

    ids: list[Any]
    known: set[int]
    errors: dict[int, Exception]

    def error(self, begin: int, end: int) -> Exception | None:
        """The first error among those places."""
        return next((self.errors[i] for i in range(begin, end) if i in self.errors), None)

    def has_known(self, begin: int, end: int) -> bool:
        """Whether one of those places stood there before."""
        return not self.known.isdisjoint(range(begin, end))


def _insert_tasks(tasks: Collection[Document], wanted: list[MonQTask], this: Try) -> Stored:
    stored = Stored([task.id for task in wanted], set(), {})
    pending = list(range(len(wanted)))
    for _ in range(ROUNDS):
        held = []
        refusals_ = _insert(tasks, [task_to_document(wanted[i]) for i in pending], this)
        for i, refusal in [(pending[place], refusal) for place, refusal in refusals_.items()]:
            if stands_in(KEY_INDEX, refusal):
                held.append(i)
            elif not stands_in(ID_INDEX, refusal):
                stored.errors[i] = not_accepted(refusal)
            elif not this.has_begun(wanted[i].id):
                stored.known.add(i)
        if not held:
            return stored
        holders = holders_of(tasks, [wanted[i].key for i in held])
        for i in held:
            stored.ids[i] = holders.get(wanted[i].key, stored.ids[i])
        pending = [i for i in held if wanted[i].key not in holders]  # the holder has just ended
        if not pending:
            return stored
    for i in pending:
        stored.errors[i] = StoreUnavailable(
            "key: its holders end faster than this task can be stored; post it again"
        )
    return stored


def holders_of(
    tasks: Collection[Document], keys: Sequence[str | None], session: ClientSession | None = None
) -> dict[str | None, Any]:
    """The ids of the unfinished tasks that hold *keys*, by key, as *session* sees them."""
    query = {"key": {"$in": keys}, "state": UNENDED}
    found = read(tasks, lambda sound: sound.find(query, {"key": 1}, session=session))
    return {key: id_of(document) for document in found for key in texts_of(document.get("key"))}


def _insert(collection: Collection[Document], documents: list[Document], this: Try | None = None) -> Refusals:
    """Insert *documents* in order; the refusals of those that were not inserted, by place.

    *this* try gets the ids of the others.
    """
    refused: Refusals = {}
    if not documents:
        return refused
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        refused = {refusal["index"]: refusal for refusal in refusals(error)}
    if this is not None:
        this.stored.update(document["_id"] for i, document in enumerate(documents) if i not in refused)
    return refused
