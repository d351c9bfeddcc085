"""Pages of documents, counted in bytes too: a thousand tasks of a megabyte are not one answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import bson
from pymongo.collection import Collection

from ..contract import PAGE_BYTES
from .connection import Document

BRIEF: Final = dict.fromkeys(
    ("args", "kwargs", "context", "max_attempts", "timeout", "progress", "output"), False
)
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
    only what belongs to the page is decoded.
    """
    options = collection.codec_options
    found = collection.find_raw_batches(query, shown, limit=limit, batch_size=_FIRST_BATCH).sort("_id", order)
    with found:
        documents: list[Document] = []
        size = 0
        for raw in _each(found):
            size += len(raw)
            if documents and size > PAGE_BYTES:
                break
            documents.append(bson.decode(raw, options))
        return documents


def _each(batches: Iterator[bytes]) -> Iterator[memoryview]:
    """The documents of *batches*, one by one: each begins with its length."""
    for batch in batches:
        rest = memoryview(batch)
        while rest:
            length = int.from_bytes(rest[:_LENGTH_BYTES], "little")
            yield rest[:length]
            rest = rest[length:]
