"""What the MongoDB store keeps where: collections, indexes, the capped feed.

Indexes that serve only some states are partial, so that ended tasks cost the hot ones nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from pymongo import DESCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from ...errors import StoreError
from ...model import BUSY, READY, RUNNABLE

TASKS: Final = "monq_task"
EVENTS: Final = "monq_event"
WORKERS: Final = "monq_worker"
FEED: Final = "monq_task.feed"

FEED_BYTES: Final = 65_536  # about two thousand hints: one batch
INDEX_SECONDS: Final = 600.0  # the collection may be an old and large one of Allura
OLDEST_SERVER: Final = (6, 0)  # the first whose partial indexes take $in
NAMESPACE_EXISTS: Final = 48

CLAIM: Final = "monqbus_claim"
DUE: Final = "monqbus_due"
STATE: Final = "monqbus_state"
OF_EVENT: Final = "monqbus_of_event"
REPLACED: Final = ((TASKS, "monqbus_event"), (EVENTS, "monqbus_expire"))
"""Indexes of earlier versions, in whose place others are now."""

UNENDED: Final = {"$in": [READY, BUSY]}
MAY_RUN: Final = {"$in": list(RUNNABLE)}

_TASK_INDEXES: Final = (
    # _id at the end makes the claim's query covered: it reads no document
    IndexModel(
        [("state", 1), ("task_name", 1), ("priority", DESCENDING), ("time_queue", 1), ("_id", 1)],
        name=CLAIM,
        partialFilterExpression={"state": READY},
    ),
    IndexModel(
        [("state", 1), ("task_name", 1), ("time_queue", 1)],
        name=DUE,
        partialFilterExpression={"state": READY},
    ),
    IndexModel([("state", 1), ("_id", 1)], name=STATE),
    IndexModel(
        [("key", 1)],
        name="monqbus_key",
        unique=True,
        partialFilterExpression={"key": {"$exists": True}, "state": UNENDED},
    ),
    IndexModel(
        [("event_id", 1)],
        name=OF_EVENT,
        partialFilterExpression={"event_id": {"$exists": True}, "state": MAY_RUN},
    ),
    IndexModel(
        [("expire_at", 1)], name="monqbus_expire", partialFilterExpression={"expire_at": {"$exists": True}}
    ),
)
_EVENT_INDEXES: Final = (
    IndexModel(
        [("key", 1)],
        name="monqbus_key",
        unique=True,
        partialFilterExpression={"key": {"$exists": True}},
    ),
    # _id at the end makes the pruner's look covered: it reads no body
    IndexModel(
        [("expire_at", 1), ("_id", 1)],
        name="monqbus_past",
        partialFilterExpression={"expire_at": {"$exists": True}},
    ),
)


def require_server(database: Database[dict[str, Any]]) -> None:
    """Raise StoreError for a server that is too old."""
    info = database.client.server_info()
    if tuple(info["versionArray"][:2]) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        raise StoreError(f"MongoDB: expected {oldest} or newer, got {info['version']}; update the server")


def create_indexes(database: Database[dict[str, Any]]) -> None:
    """Create the indexes that are missing; blocks while they are built."""
    in_set = "setName" in database.command("hello")
    # by default a build waits for every member, so one that is down would stop the start
    options: dict[str, Any] = {"commitQuorum": "majority"} if in_set else {}
    database[TASKS].create_indexes(list(_TASK_INDEXES), **options)
    database[EVENTS].create_indexes(list(_EVENT_INDEXES), **options)
    for collection, name in REPLACED:
        with suppress(OperationFailure):  # it is gone already, or the right is missing: it only costs room
            database[collection].drop_index(name)


def missing_indexes(database: Database[dict[str, Any]]) -> list[str]:
    """Those that `create_indexes` would build, as ``collection.index``."""
    return [
        f"{collection}.{index.document['name']}"
        for collection, indexes in ((TASKS, _TASK_INDEXES), (EVENTS, _EVENT_INDEXES))
        for index in indexes
        if index.document["name"] not in database[collection].index_information()
    ]


def prepare_feed(database: Database[dict[str, Any]]) -> None:
    """Create the feed, or make it anew when it is not capped any more."""
    found = next(database.list_collections(filter={"name": FEED}), None)
    if found is not None and not found["options"].get("capped"):
        database.drop_collection(FEED)  # an insert into a dropped feed makes one that is not capped
        found = None
    if found is None:
        _create_feed(database)


def seed_feed(database: Database[dict[str, Any]]) -> None:
    """Insert a hint of nobody: the cursor of a feed that counts as empty dies at once (SERVER-13955).

    After a power cut a feed counts as empty until the next insert, although there are hints in it.
    """
    database[FEED].insert_one({})


def _create_feed(database: Database[dict[str, Any]]) -> None:
    try:
        database.create_collection(FEED, capped=True, size=FEED_BYTES)
    except CollectionInvalid:
        return  # another daemon was faster
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise
    seed_feed(database)
