"""Reads for operators, the API and joins: one item, pages, counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ...codec import undo_references
from ...errors import StoreError, StoreUnavailable
from ...model import (
    ACCEPTED,
    DELIVERY,
    FILTERED,
    HANDLED,
    PUBLISHED,
    READY,
    STATES,
    UNHANDLED,
    WILDCARD,
    Event,
    EventFilter,
    Filter,
    MonQTask,
)
from ..contract import PAGE_BYTES, Backlog, CountedBy, Line
from ..documents import NOT_YET, event_from_document, task_from_document
from . import bodies
from .connection import Connection, Document
from .duplicates import WITH_TASKS, WITHOUT_TASKS
from .lenient import id_of, is_, read
from .pages import BRIEF, read_behind, read_ids
from .schema import EVENTS, STATE, TASKS
from .serial import line_of

SEARCH_SECONDS: Final = 3.0
_OUTCOMES: Final[Mapping[str, Document]] = {
    HANDLED: WITH_TASKS,
    UNHANDLED: {**WITHOUT_TASKS, "filtered": {"$ne": True}},
    FILTERED: {"filtered": True},
    ACCEPTED: {"filtered": {"$ne": True}},
}


class Reads:
    """The verbs of contract.Store that change nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """See the contract."""
        query = {"_id": is_("$eq", task_id)}
        with self._connection.call() as database:
            found = read(database[TASKS], lambda sound: sound.find(query).limit(1))
        return task_of(found[0]) if found else None

    def find(self, filter: Filter, limit: int, cursor: ObjectId | None, *, brief: bool) -> list[MonQTask]:
        """See the contract."""
        shown = BRIEF if brief else None
        with self._search(filter) as database:
            page = read_behind(database[TASKS], _query(filter), cursor, limit=limit, shown=shown)
        return [task_of(document) for document in page]

    def ids(self, filter: Filter, limit: int, cursor: ObjectId | None) -> list[ObjectId]:
        """See the contract."""
        with self._search(filter) as database:
            return read_ids(database[TASKS], _query(filter), cursor, limit=limit)

    def line(self, serial: str, limit: int, *, newest: bool) -> Line:
        """See the contract."""
        with self._connection.call() as database:
            return line_of(database[TASKS], serial, limit, newest=newest)

    def count(self, filter: Filter, by: CountedBy) -> dict[str, int]:
        """See the contract; by states alone it reads an index and no document."""
        query = {"state": {"$in": list(STATES)}, **_query(filter)}
        with self._search(filter) as database:
            return _numbers(database, query, "$state" if by == "state" else "$task_name")

    def depth(self, most: int) -> int:
        """See the contract."""
        with self._connection.call() as database:
            return database[TASKS].count_documents({"state": READY}, limit=most, hint=STATE)

    def waiting(self) -> dict[str, Backlog]:
        """See the contract."""
        oldest = {"$min": "$time_queue"}
        with self._connection.call() as database:
            groups = _groups(database, {"state": READY}, "$task_name", oldest=oldest)
        return {name: Backlog(group["count"], _moment(group["oldest"])) for name, group in groups.items()}

    def event(self, event_id: ObjectId) -> Event | None:
        """See the contract."""
        query = {"_id": is_("$eq", event_id)}
        with self._connection.call() as database:
            found = read(database[EVENTS], lambda sound: sound.find(query).limit(1))
            whole = [bodies.join(database, document) for document in found]
        return _event(whole[0]) if whole else None

    def events(self, limit: int, cursor: ObjectId | None, filter: EventFilter) -> list[Event]:
        """See the contract."""
        with self._connection.call() as database:
            page = read_behind(database[EVENTS], _query_of_events(filter), cursor, limit=limit)
            page = bodies.joined_page(database, page, PAGE_BYTES)
        return [_event(document) for document in page]

    @contextmanager
    def _search(self, filter: Filter) -> Iterator[Database[Document]]:
        """The database for one query of an operator. Its time goes along as maxTimeMS: the server ends it.

        A pattern is matched by the server, whose engine is not RE2. Raises StoreError when it took too long.
        """
        try:
            with self._connection.call(SEARCH_SECONDS if filter.error else None) as database:
                yield database
        except StoreUnavailable as error:
            if not (filter.error and _is_overdue(error)):
                raise
            raise StoreError(
                f"{self._connection.name}: the search took longer than {SEARCH_SECONDS:g} s; "
                "narrow it by a state, a name, a topic or a time, or simplify the pattern"
            ) from error


def task_of(document: Document) -> MonQTask:
    """The task of *document*, whatever that holds."""
    task = task_from_document({**document, "_id": id_of(document)})
    task.result = undo_references(task.result)
    return task


def _event(document: Document) -> Event:
    return event_from_document({**document, "_id": id_of(document)})


def _numbers(database: Database[Document], query: Document, by: str) -> dict[str, int]:
    return {name: group["count"] for name, group in _groups(database, query, by).items()}


def _groups(
    database: Database[Document], query: Document, by: str, **further: Document
) -> dict[str, Document]:
    """The tasks of *query* by a field that is text: the `count` of each group, and what else is asked."""
    stages = [{"$match": query}, {"$group": {"_id": by, "count": {"$sum": 1}, **further}}]
    groups = read(database[TASKS], lambda sound: sound.aggregate(stages))
    return {group["_id"]: group for group in groups if type(group["_id"]) is str}


def _is_overdue(error: StoreUnavailable) -> bool:
    """Whether the server, or the driver before it, ended a call that took too long."""
    cause = error.__cause__
    return isinstance(cause, PyMongoError) and cause.timeout


def _query(filter: Filter) -> Document:
    query: Document = {}
    if filter.ids:
        query["_id"] = {"$in": list(filter.ids)}
    if filter.states:
        query["state"] = {"$in": list(filter.states)}
    if filter.name:
        query["task_name"] = _named(filter.name)
    if filter.names:
        query.setdefault("task_name", {})["$in"] = list(filter.names)
    if filter.topic:
        query["topic"] = filter.topic
    if filter.error:
        # of an array the texts would be searched
        query["result"] = {"$regex": filter.error, "$not": {"$type": "array"}}
    moments = {"$lt": filter.older, "$gt": filter.newer}
    if given := {name: moment for name, moment in moments.items() if moment is not None}:
        # that of a task which waits behind another one stands in `due`
        own = {"time_queue": {"$lt": NOT_YET, **given}}
        query["$and"] = [{"$or": [own, {"due": given}]}]
    ends = {"$lt": filter.ended_older, "$gt": filter.ended_newer}
    if given := {name: moment for name, moment in ends.items() if moment is not None}:
        query["time_stop"] = given
    return query


def _query_of_events(filter: EventFilter) -> Document:
    query: Document = {
        name: text for name in ("topic", "hook", "delivery") if (text := getattr(filter, name))
    }
    moments = {"$lt": filter.older, "$gt": filter.newer}
    if given := {name: moment for name, moment in moments.items() if moment is not None}:
        query["received"] = given
    query.update(_OUTCOMES.get(filter.outcome, {}))
    if filter.kind:
        kinds: list[Document] = [{"kind": filter.kind}]
        if filter.kind in {DELIVERY, PUBLISHED}:  # an event that an earlier version wrote has no kind
            is_hooks = {"$ne": None} if filter.kind == DELIVERY else None
            kinds.append({"kind": None, "$and": [{"hook": is_hooks}]})
        query["$or"] = kinds
    return query


def _moment(oldest: Any) -> datetime | None:
    return oldest if isinstance(oldest, datetime) and oldest < NOT_YET else None


def _named(name: str) -> Document:
    """The condition that the task's name is *name*, in which only the wildcard means anything else.

    The first place of each part between two wildcards is as good as any other, so that none is tried
    again: the server's engine would try them all.
    """
    head, *parts = map(re.escape, name.split(WILDCARD))
    if not parts:
        return {"$eq": name}
    *middle, tail = parts
    pattern = f"^{head}" + "".join(f"(?>.*?{part})" for part in middle if part)
    return {"$regex": f"{pattern}.*{tail}\\z" if tail else pattern, "$options": "s"}
