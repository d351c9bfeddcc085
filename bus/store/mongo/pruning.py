"""Forgets what is past its time in MongoDB, a bounded number of documents looked at in each call."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.database import Database

from ...model import ENDED
from .connection import READING, Document
from .schema import EVENTS, MAY_RUN, TASKS

PAGE: Final = 500
MOST_LOOKED_AT: Final = 20 * PAGE


class Pruning:
    """Ended tasks first, then events that no task may need any more; it goes on where it stopped.

    What is past its time is so by the server's clock, too: one daemon whose clock is wrong must not
    forget what all others need.
    """

    def __init__(self) -> None:
        self._from: datetime | None = None  # `expire_at` of the event at which the next page begins
        self._seen: set[Any] = set()  # those of that moment that were looked at

    def prune(self, database: Database[Document], now: datetime, limit: int) -> int:
        """See contract.prune."""
        now = min(now, database.command("hello", codec_options=READING)["localTime"])
        tasks = database[TASKS]
        query = {"expire_at": {"$lte": now}, "state": {"$in": list(ENDED)}}
        gone = [document["_id"] for document in tasks.find(query, {"_id": 1}).limit(limit)]
        pruned = tasks.delete_many({**query, "_id": {"$in": gone}}).deleted_count
        return pruned + self._events(database, now, limit)

    def _events(self, database: Database[Document], now: datetime, limit: int) -> int:
        pruned = looked_at = 0
        while pruned < limit and looked_at < MOST_LOOKED_AT:
            page = _page(database, self._from, now, self._seen)
            if not page:
                self._go_on_at(None, set())
                break
            ids = [document["_id"] for document in page]
            gone = _without_needed(database, ids)[: limit - pruned]
            # a replay may have given one of them tasks at this moment: it has a later `expire_at` then
            past = {"_id": {"$in": gone}, "expire_at": {"$lte": now}}
            pruned += database[EVENTS].delete_many(past).deleted_count
            looked_at += len(page)
            if pruned < limit:
                last = page[-1]["expire_at"]
                self._go_on_at(last, {document["_id"] for document in page if document["expire_at"] == last})
        return pruned

    def _go_on_at(self, moment: datetime | None, seen: set[Any]) -> None:
        self._seen = self._seen | seen if moment == self._from else seen
        self._from = moment


def _page(
    database: Database[Document], since: datetime | None, now: datetime, without: set[Any]
) -> list[Document]:
    past: Document = {"$lte": now} if since is None else {"$gte": since, "$lte": now}
    query: Document = {"expire_at": past, "_id": {"$nin": list(without)}} if without else {"expire_at": past}
    found = database[EVENTS].find(query, {"expire_at": 1})
    return list(found.sort([("expire_at", ASCENDING), ("_id", ASCENDING)]).limit(PAGE))


def _without_needed(database: Database[Document], ids: list[Any]) -> list[Any]:
    """Those of *ids* to which no task refers that may run."""
    query = {"event_id": {"$in": ids}, "state": MAY_RUN}
    needed = set(database[TASKS].distinct("event_id", query))
    return [event_id for event_id in ids if event_id not in needed]
