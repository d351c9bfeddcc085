"""Keeps large bodies in parts beside their event: a document of MongoDB has 16 MiB at most.

The parts are written first, under an id of their own for each try, and are durable before the event is, which
names that id. So an event that can be seen has its body, a try that was cut short has left parts that nobody
sees, and a later try never relies on them. What is left behind is deleted when it was found twice, far apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from bson import ObjectId
from pymongo import DeleteMany
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ...clock import Clock
from ..salvage import Unreadable
from .connection import Document
from .schema import BODIES, EVENTS

INLINE_BYTES: Final = 8 * 1024 * 1024
"""A body up to this size stands in its event."""
PART_BYTES: Final = 8 * 1024 * 1024
PARTS_ID: Final = "body_parts"
SIZE: Final = "body_bytes"
LEFT_SECONDS: Final = timedelta(hours=1).total_seconds()
"""How long parts without an event are left alone: they may belong to a call that is under way."""
SWEEP_PAGE: Final = 200
_LAST: Final = b"\xff\xff"
_ID_BYTES: Final = 12


def divided(document: Document) -> tuple[Document, list[Document]]:
    """The *document* of an event without its body, if that is large, and the parts of that."""
    body = document.get("body", b"")
    if len(body) <= INLINE_BYTES:
        return document, []
    parts_id = ObjectId()
    prefix = document["_id"].binary + parts_id.binary
    rest = {name: value for name, value in document.items() if name != "body"}
    return {**rest, PARTS_ID: parts_id, SIZE: len(body)}, [
        {"_id": prefix + number.to_bytes(2, "big"), "data": body[start : start + PART_BYTES]}
        for number, start in enumerate(range(0, len(body), PART_BYTES))
    ]


def insert(database: Database[Document], documents: Sequence[Document]) -> list[Document]:
    """*documents* of events as they are to be inserted, after the parts of large bodies are durable."""
    whole = []
    for document in documents:
        rest, parts = divided(document)
        for part in parts:
            database[BODIES].insert_one(part)
        whole.append(rest)
    return whole


def forget(database: Database[Document], documents: Iterable[Document]) -> None:
    """Delete the parts of *documents*, which `insert` gave and which were not inserted. Never raises."""
    prefixes = [one["_id"].binary + one[PARTS_ID].binary for one in documents if PARTS_ID in one]
    if prefixes:
        with suppress(PyMongoError):
            database[BODIES].bulk_write([DeleteMany(_behind(prefix)) for prefix in prefixes], ordered=False)


def join(database: Database[Document], document: Document) -> Document:
    """The *document* of an event with its body, wherever that stands; Unreadable if parts of it are gone."""
    parts_id, event_id = document.get(PARTS_ID), document.get("_id")
    if not (isinstance(parts_id, ObjectId) and isinstance(event_id, ObjectId)):
        return document
    found = database[BODIES].find(_behind(event_id.binary + parts_id.binary)).sort("_id", 1)
    body = b"".join(data for part in found if isinstance(data := part.get("data"), bytes))
    size = document.get(SIZE)
    rest = {name: value for name, value in document.items() if name not in (PARTS_ID, SIZE)}
    if len(body) != size:
        return {**rest, "body": Unreadable(f"{len(body)} of {size} bytes are in {BODIES}")}
    return {**rest, "body": body}


def joined_page(database: Database[Document], page: Sequence[Document], most: int) -> list[Document]:
    """*page* with all bodies, up to about *most* bytes of those that stand in parts; one at least."""
    joined: list[Document] = []
    size = 0
    for document in page:
        size += document[SIZE] if isinstance(document.get(SIZE), int) else 0
        if joined and size > most:
            break
        joined.append(join(database, document))
    return joined


class Sweeper:
    """Deletes parts of which no event is there: of those pruned, and of calls that were cut short."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._behind = b""
        self._left: dict[bytes, float] = {}  # parts without an event, and when they were first found

    def gone(self, database: Database[Document], ids: Sequence[Any]) -> None:
        """Delete the parts of those events of *ids* that are no longer there."""
        bodies = database[BODIES]
        plain = [one for one in ids if isinstance(one, ObjectId)]
        if not plain or not bodies.estimated_document_count():
            return
        still = {found["_id"] for found in database[EVENTS].find({"_id": {"$in": plain}}, {"_id": 1})}
        deletes = [DeleteMany(_behind(one.binary)) for one in plain if one not in still]
        if deletes:
            bodies.bulk_write(deletes, ordered=False)

    def sweep(self, database: Database[Document]) -> None:
        """Look at some of the parts, and delete those that have had no event for LEFT_SECONDS."""
        bodies = database[BODIES]
        query = {"_id": {"$gt": self._behind}} if self._behind else {}
        page = [found["_id"] for found in bodies.find(query, {"_id": 1}).sort("_id", 1).limit(SWEEP_PAGE)]
        self._behind = bytes(page[-1]) if len(page) == SWEEP_PAGE else b""
        if not page:
            return
        prefixes = {bytes(one[: 2 * _ID_BYTES]) for one in page if isinstance(one, bytes)}
        orphans = prefixes - _named(database, prefixes)
        now = self._clock.monotonic()
        due = [one for one in orphans if now - self._left.setdefault(one, now) >= LEFT_SECONDS]
        if due:
            bodies.bulk_write([DeleteMany(_behind(one)) for one in due], ordered=False)
        for prefix in (*(prefixes - orphans), *due):
            self._left.pop(prefix, None)


def _named(database: Database[Document], prefixes: set[bytes]) -> set[bytes]:
    """Those of *prefixes* whose event is there and names them."""
    ids = [ObjectId(prefix[:_ID_BYTES]) for prefix in prefixes if len(prefix) == 2 * _ID_BYTES]
    found = database[EVENTS].find({"_id": {"$in": ids}}, {PARTS_ID: 1})
    return {
        one["_id"].binary + parts_id.binary
        for one in found
        if isinstance(parts_id := one.get(PARTS_ID), ObjectId)
    }


def _behind(prefix: bytes) -> Document:
    """The condition of all ids that begin with *prefix*; ids of one length are compared byte by byte."""
    missing = 2 * _ID_BYTES + len(_LAST) - len(prefix)
    return {"_id": {"$gte": prefix + bytes(missing), "$lte": prefix + b"\xff" * missing}}
