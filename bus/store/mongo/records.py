"""Records in MongoDB: one document each, changed only from the version that the caller has read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from pymongo.collection import Collection as MongoCollection
from pymongo.errors import DuplicateKeyError

from ...model import Record
from .connection import Connection, Document
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
        """See the contract; one by one, as each has a condition of its own."""
        with self._connection.call() as database:
            return [_keep(database[RECORDS], record) for record in records]


def _keep(collection: MongoCollection[Document], record: Record) -> bool:
    record_id = f"{record.kind}:{record.name}"
    mine = {"_id": record_id, "version": record.version or IS_NO_VERSION}
    if not record.fields:
        return bool(collection.delete_one(mine).deleted_count)
    document = {"version": record.version + 1, "fields": dict(record.fields)}
    if record.version == 0:
        try:
            collection.insert_one({"_id": record_id, **document})
        except DuplicateKeyError:  # another daemon was faster, or somebody has spoiled its version
            return bool(collection.replace_one(mine, document).matched_count)
        return True
    return bool(collection.replace_one(mine, document).matched_count)


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
