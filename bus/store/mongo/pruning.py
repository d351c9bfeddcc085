"""Forgets what is past its time in MongoDB."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database

from ...model import ENDED
from .connection import Document
from .reading import id_of, is_, one_of, read
from .schema import EVENTS, TASKS, UNENDED

PAGE: Final = 500


def prune(database: Database[Document], now: datetime, limit: int) -> int:
    """See contract.prune."""
    tasks = database[TASKS]
    query = {"expire_at": {"$lte": now}, "state": {"$in": list(ENDED)}}
    found = read(tasks, lambda sound: sound.find(query, {"_id": 1}).limit(limit))
    gone = one_of([id_of(document) for document in found])
    pruned = tasks.delete_many({"$and": [query, gone]}).deleted_count
    return pruned + _prune_events(database, now, limit)


def _prune_events(database: Database[Document], now: datetime, limit: int) -> int:
    """Delete expired events page by page, passing over those with tasks that have not ended."""
    events, pruned, last = database[EVENTS], 0, None
    while pruned < limit:
        query: Document = {"expire_at": {"$lte": now}}
        if last is not None:
            query = {"$and": [query, {"_id": is_("$gt", last)}]}
        page = [id_of(document) for document in _ids(events, query)]
        if not page:
            break
        last = page[-1]
        held = _held_events(
            database[TASKS], [event_id for event_id in page if isinstance(event_id, ObjectId)]
        )
        gone = [event_id for event_id in page if event_id not in held][: limit - pruned]
        pruned += events.delete_many(one_of(gone)).deleted_count
    return pruned


def _ids(events: Collection[Document], query: Document) -> list[Document]:
    return read(events, lambda sound: sound.find(query, {"_id": 1}).sort("_id").limit(PAGE))


def _held_events(tasks: Collection[Document], event_ids: list[ObjectId]) -> set[ObjectId]:
    """Those of *event_ids* that tasks refer to which have not ended."""
    query = {"event_id": {"$in": event_ids}, "state": UNENDED}
    return {event_id for event_id in tasks.distinct("event_id", query) if isinstance(event_id, ObjectId)}
