"""The delivery log in MongoDB: two rings in one collection, one of what strangers cause, one of the others.

Not a capped collection: its oldest would go whichever ring they are of, and none for its age.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Final

from bson import ObjectId
from pymongo import DESCENDING
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from ...delivery_record import Delivery, DeliveryFilter, Keep
from ..delivery_documents import record_from_document, record_to_document
from .connection import DUPLICATE_KEY, Connection, Document, not_accepted, refusals
from .lenient import id_of, is_, read
from .pages import read_behind
from .schema import DELIVERIES, RING

_ORDER: Final = [("by_stranger", DESCENDING), ("_id", DESCENDING)]


class DeliveryRing:
    """Writes records, lets old ones go, and reads them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, records: Sequence[Delivery], keep: Keep | None) -> int:
        """See contract.log_deliveries."""
        with self._connection.call() as database:
            deliveries = database[DELIVERIES]
            if records:
                _insert(deliveries, [record_to_document(one) for one in records])
            return 0 if keep is None else sum(_trim(deliveries, ring, keep) for ring in (False, True))

    def find(self, filter: DeliveryFilter, limit: int, cursor: ObjectId | None) -> list[Delivery]:
        """See contract.deliveries."""
        query: Document = {
            name: value
            for name in ("hook", "delivery", "outcome", "status")
            if (value := getattr(filter, name))
        }
        moments = {"$lt": filter.older, "$gt": filter.newer}
        if given := {sign: moment for sign, moment in moments.items() if moment is not None}:
            query["received"] = given
        with self._connection.call() as database:
            page = read_behind(database[DELIVERIES], query, cursor, limit=limit)
        return [_record(document) for document in page]

    def get(self, record_id: ObjectId) -> Delivery | None:
        """See contract.delivery."""
        query = {"_id": is_("$eq", record_id)}
        with self._connection.call() as database:
            found = read(database[DELIVERIES], lambda sound: sound.find(query).limit(1))
        return _record(found[0]) if found else None


def _record(document: Document) -> Delivery:
    return record_from_document({**document, "_id": id_of(document)})


def _insert(deliveries: Collection[Document], documents: list[Document]) -> None:
    """Insert *documents*; those of an earlier try are there already."""
    try:
        deliveries.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        for refusal in refusals(error):
            if refusal["code"] != DUPLICATE_KEY:
                raise not_accepted(refusal) from error


def _trim(deliveries: Collection[Document], ring: bool, keep: Keep) -> int:
    """Delete what is too old in one ring, and the oldest of what is too much, by the index alone."""
    of_ring: Document = {"by_stranger": ring, "_id": {"$type": "objectId"}}
    gone = deliveries.delete_many({"by_stranger": ring, "received": {"$lt": keep.before}}).deleted_count
    find = partial(_newest_first, of_ring)
    found = read(deliveries, find)
    rooms = accumulate(_room(document) for document in found)
    fitting = sum(1 for number, room in enumerate(rooms) if number < keep.most and room <= keep.size)
    if fitting < len(found):
        past = {"by_stranger": ring, "_id": {"$lte": found[fitting]["_id"], "$type": "objectId"}}
        gone += deliveries.delete_many(past).deleted_count
    return gone


def _newest_first(query: Document, deliveries: Collection[Any]) -> Any:
    return deliveries.find(query, {"_id": 1, "room": 1}, hint=RING).sort(_ORDER)


def _room(document: Document) -> int:
    room = document.get("room")
    return room if type(room) is int else 0
