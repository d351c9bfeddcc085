"""Records in MongoDB: one document each, changed only from the version that the caller has read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from bson import ObjectId
from pymongo import ReplaceOne
from pymongo.collection import Collection as MongoCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from ...model import Record
from .connection import DUPLICATE_KEY, Connection, Document, refusals
from .lenient import read
from .schema import RECORDS

IS_NO_VERSION: Final[Document] = {"$not": {"$gte": 1}}
"""Also what is no number, and NaN."""


class Records:
    """Implements contract.Records. A record's ``_id`` is its kind and name, so that no index is needed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def records(self, kind: str) -> list[Record]:
        """See the contract."""
        query = {"_id": {"$gte": f"{kind}:", "$lt": f"{kind};"}}  # ; comes after :
        with self._connection.call() as database:
            found = read(database[RECORDS], lambda sound: sound.find(query).sort("_id", 1))
        return [_record(kind, document) for document in found if isinstance(document["_id"], str)]

    def keep_records(self, records: Sequence[Record]) -> list[bool]:
        """See the contract; what is forgotten one by one, the others in one command."""
        with self._connection.call() as database:
            collection = database[RECORDS]
            kept = [record for record in records if record.fields]
            if len({_id_of(record) for record in kept}) < max(2, len(kept)):
                return [_keep(collection, record) for record in records]
            written = iter(_keep_many(collection, kept))
            return [next(written) if record.fields else _keep(collection, record) for record in records]


def _keep_many(collection: MongoCollection[Document], records: Sequence[Record]) -> list[bool]:
    """Each on its own condition in one command: one by one five hundred take longer than a call may.

    The answer has only numbers, so what is written says by whom, and where one is missing that is read again.
    """
    writer = ObjectId()
    operations = [
        ReplaceOne(_mine(record), {**_document(record), "writer": writer}, upsert=record.version == 0)
        for record in records
    ]
    result: Any
    failed: list[Document] = []
    try:
        result = collection.bulk_write(operations, ordered=False).bulk_api_result
    except BulkWriteError as error:
        result, failed = error.details, refusals(error)
    if result["nMatched"] + result["nUpserted"] == len(records):
        return [True] * len(records)
    for refusal in failed:
        if refusal["code"] != DUPLICATE_KEY:  # that says only that another daemon was faster
            _keep(collection, records[refusal["index"]])  # it raises what is wrong
    query = {"_id": {"$in": [_id_of(record) for record in records]}, "writer": writer}
    ours = {document["_id"] for document in collection.find(query, {"_id": 1})}
    return [_id_of(record) in ours for record in records]


def _keep(collection: MongoCollection[Document], record: Record) -> bool:
    mine = _mine(record)
    if not record.fields:
        return bool(collection.delete_one(mine).deleted_count)
    document = _document(record)
    if record.version == 0:
        try:
            collection.insert_one({"_id": _id_of(record), **document})
        except DuplicateKeyError:  # another daemon was faster, or somebody has spoiled its version
            return bool(collection.replace_one(mine, document).matched_count)
        return True
    return bool(collection.replace_one(mine, document).matched_count)


def _id_of(record: Record) -> str:
    return f"{record.kind}:{record.name}"


def _mine(record: Record) -> Document:
    """The condition that the stored record is still the one that was read."""
    return {"_id": _id_of(record), "version": record.version or IS_NO_VERSION}


def _document(record: Record) -> Document:
    return {"version": record.version + 1, "fields": dict(record.fields)}


def _record(kind: str, document: Document) -> Record:
    fields, version = document.get("fields"), document.get("version")
    return Record(
        kind,
        document["_id"].removeprefix(f"{kind}:"),
        fields if isinstance(fields, dict) else {},
        _version(version),
    )


def _version(value: Any) -> int:
    """As IS_NO_VERSION has it."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return int(value) if is_number and value >= 1 else 0
