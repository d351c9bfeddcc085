"""Reads pages of documents, bounded in bytes.

Each document is decoded for itself, so that one that cannot be is one of the page and does not end it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pymongo import DESCENDING
from pymongo.collection import Collection

from ..contract import PAGE_BYTES
from .connection import Document
from .lenient import id_of, is_, lower_types, read, taken_apart

BRIEF: Final = dict.fromkeys(("args", "kwargs", "context", "max_attempts", "timeout", "output"), False)
"""The projection of a task without what may be large and is not listed."""
_FIRST_BATCH: Final = 100
_LENGTH_BYTES: Final = 4


def read_page(
    collection: Collection[Document],
    query: Document,
    *,
    order: int,
    limit: int,
    shown: Mapping[str, Any] | None = None,
) -> list[Document]:
    """Up to *limit* documents in the *order* of their ids, or fewer, when they have more than PAGE_BYTES.

    At least one of those there are. What the server sends in one go, 16 MiB at most, is in memory, and
    only what belongs to the page is decoded, as `reading.taken_apart` does.
    """
    found = collection.find_raw_batches(query, shown, limit=limit, batch_size=_FIRST_BATCH).sort("_id", order)
    with found:
        documents: list[Document] = []
        size = 0
        for raw in _each(found):
            size += len(raw)
            if documents and size > PAGE_BYTES:
                break
            documents.append(taken_apart(bytes(raw)))
        return documents


def read_behind(
    collection: Collection[Document],
    query: Document,
    before: Any,
    *,
    limit: int,
    shown: Mapping[str, Any] | None = None,
) -> list[Document]:
    """As `read_page`, newest first, of whatever types the ids are; *before* is where the last page ended."""
    for part in _behind(query, before) if limit > 0 else ():
        if page := read_page(collection, part, order=DESCENDING, limit=limit, shown=shown):
            return page
    return []


def read_ids(collection: Collection[Document], query: Document, before: Any, *, limit: int) -> list[Any]:
    """The ids of what `read_behind` finds, sealed where they are no plain values; only *limit* ends them."""
    ids: list[Any] = []
    for part in _behind(query, before):
        if (missing := limit - len(ids)) <= 0:
            break
        ids += [id_of(document) for document in _ids_of(collection, part, missing)]
    return ids


def _ids_of(collection: Collection[Document], query: Document, limit: int) -> list[Document]:
    return read(collection, lambda sound: sound.find(query, {"_id": 1}).sort("_id", DESCENDING).limit(limit))


def _behind(query: Document, before: Any) -> Iterator[Document]:
    """The queries that find, one after the other, what comes behind *before*."""
    if before is None:
        yield query
        return
    yield {"$and": [query, {"_id": is_("$lt", before)}]}
    if types := lower_types(before):  # $lt compares within a type
        yield {"$and": [query, {"_id": {"$type": types}}]}


def _each(batches: Iterator[bytes]) -> Iterator[memoryview]:
    """The documents of *batches*, one by one: each begins with its length."""
    for batch in batches:
        rest = memoryview(batch)
        while rest:
            length = int.from_bytes(rest[:_LENGTH_BYTES], "little")
            yield rest[:length]
            rest = rest[length:]
