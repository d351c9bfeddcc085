"""Deletes what is past its retention, a bounded number of documents a call."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING
from pymongo.database import Database

from ...clock import Clock
from ...model import ENDED
from ..salvage import READING, opened
from .bodies import Sweeper
from .connection import Document
from .lenient import id_of, is_, one_of, read
from .schema import EVENTS, MAY_RUN, TASKS

PAGE: Final = 500
MOST_LOOKED_AT: Final = 20 * PAGE


class Pruning:
    """Ended tasks first, then events that no task may need any more; it goes on where it stopped.

    What is past its time is so by the server's clock, too: one daemon whose clock is wrong must not
    forget what all others need.
    """

    def __init__(self, clock: Clock) -> None:
        self._sweeper = Sweeper(clock)
        self._from: datetime | DatetimeMS | None = None  # `expire_at` at which the next page begins
        self._seen: set[Any] = set()  # those of that moment that were looked at

    def prune(self, database: Database[Document], now: datetime, limit: int) -> int:
        """See contract.prune."""
        now = min(now, database.command("hello", codec_options=READING)["localTime"])
        tasks = database[TASKS]
        query = {"expire_at": {"$lte": now}, "state": {"$in": list(ENDED)}}
        found = read(tasks, lambda sound: sound.find(query, {"_id": 1}).limit(limit))
        gone = one_of([id_of(document) for document in found])
        pruned = tasks.delete_many({"$and": [query, gone]}).deleted_count
        pruned += self._events(database, now, limit)
        self._sweeper.sweep(database)
        return pruned

    def _events(self, database: Database[Document], now: datetime, limit: int) -> int:
        pruned = looked_at = 0
        while pruned < limit and looked_at < MOST_LOOKED_AT:
            page = _page(database, self._from, now, self._seen)
            if not page:
                self._go_on_at(None, set())
                break
            gone = _without_needed(database, [id_of(document) for document in page])[: limit - pruned]
            # a replay may have given one of them tasks at this moment: it has a later `expire_at` then
            past = {"$and": [one_of(gone), {"expire_at": {"$lte": now}}]}
            pruned += database[EVENTS].delete_many(past).deleted_count
            self._sweeper.gone(database, gone)
            looked_at += len(page)
            if pruned < limit:
                self._go_on_behind(page)
        return pruned

    def _go_on_behind(self, page: list[Document]) -> None:
        """Several moments in one field, which another program may have written, are none to go on at."""
        moments = [(_moment(document), id_of(document)) for document in page]
        last = next((moment for moment, _ in reversed(moments) if moment is not None), self._from)
        self._go_on_at(last, {event_id for moment, event_id in moments if moment in (last, None)})

    def _go_on_at(self, moment: datetime | DatetimeMS | None, seen: set[Any]) -> None:
        self._seen = self._seen | seen if moment == self._from else seen
        self._from = moment


def _moment(event: Document) -> datetime | DatetimeMS | None:
    moment = event["expire_at"]
    return moment if isinstance(moment, (datetime, DatetimeMS)) else None


def _page(
    database: Database[Document], since: datetime | DatetimeMS | None, now: datetime, without: set[Any]
) -> list[Document]:
    query: Document = {"expire_at": {"$lte": now} if since is None else {"$gte": since, "$lte": now}}
    if plain := [event_id for event_id in without if opened(event_id) is None]:
        query["_id"] = {"$nin": plain}
    if sealed := [{"_id": is_("$eq", event_id)} for event_id in without if opened(event_id) is not None]:
        query["$nor"] = sealed
    order = [("expire_at", ASCENDING), ("_id", ASCENDING)]
    return read(database[EVENTS], lambda sound: sound.find(query, {"expire_at": 1}).sort(order).limit(PAGE))


def _without_needed(database: Database[Document], ids: list[Any]) -> list[Any]:
    """Those of *ids* to which no task refers that may run."""
    named = [event_id for event_id in ids if isinstance(event_id, ObjectId)]
    found = database[TASKS].distinct("event_id", {"event_id": {"$in": named}, "state": MAY_RUN})
    needed = {event_id for event_id in found if isinstance(event_id, ObjectId)}
    return [event_id for event_id in ids if event_id not in needed]
