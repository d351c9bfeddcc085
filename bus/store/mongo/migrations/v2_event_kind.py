"""Version 2: every event says its kind, which was derived from its hook where it did not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS: Final = "monq_event"
BATCH: Final = 1000
REFUSED: Final = frozenset({121, 10334, 17419, 17420})
"""A validator of others, or 16 MiB."""


def migrate(database: Database[dict[str, Any]], keep: Callable[[], None]) -> None:
    """Fill the kind of events without one, as `model.kind_and_key` has it.

    An event that a rule of somebody else refuses stays without, as do those that daemons of version 1 still
    store: both are read, and found by their kind, as before.
    """
    events = database[EVENTS]
    last = None
    while ids := _without_kind(events, last):
        _fill(events, {"_id": {"$in": ids}})
        keep()
        last = ids[-1]
    _fill(events, {"_id": {"$not": {"$type": "objectId"}}})  # somebody else's, few, and not to be read here


def _without_kind(events: Collection[dict[str, Any]], last: Any) -> list[Any]:
    behind = {"$type": "objectId"} if last is None else {"$gt": last}
    found = events.find({"_id": behind, "kind": None}, {"_id": 1}).sort("_id", ASCENDING).limit(BATCH)
    return [document["_id"] for document in found]


def _fill(events: Collection[dict[str, Any]], these: dict[str, Any]) -> None:
    with _whatever_is_refused():
        events.update_many({**these, "kind": None, "hook": None}, {"$set": {"kind": "published"}})
    with _whatever_is_refused():
        events.update_many({**these, "kind": None, "hook": {"$ne": None}}, {"$set": {"kind": "delivery"}})


@contextmanager
def _whatever_is_refused() -> Iterator[None]:
    try:
        yield
    except WriteError as error:
        if error.code not in REFUSED:
            raise
