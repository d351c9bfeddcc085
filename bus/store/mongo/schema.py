"""Collections, indexes and the capped feed of the MongoDB store.

Indexes that serve only some states are partial, so that ended tasks cost the hot ones nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from pymongo import DESCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from ...errors import StoreError
from ...model import BUSY, READY, RUNNABLE
from .connection import GUARD_INDEX, KEY_INDEX

TASKS: Final = "monq_task"
EVENTS: Final = "monq_event"
BODIES: Final = "monq_body"
DELIVERIES: Final = "monq_delivery"
WORKERS: Final = "monq_worker"
RECORDS: Final = "monq_record"
FEED: Final = "monq_task.feed"

FEED_BYTES: Final = 65_536  # about two thousand hints: one batch
INDEX_SECONDS: Final = 600.0  # the collection may be an old and large one of Allura
OLDEST_SERVER: Final = (6, 0)  # the first whose partial indexes take $in
NAMESPACE_EXISTS: Final = 48

CLAIM: Final = "monqbus_claim"
DUE: Final = "monqbus_due"
STATE: Final = "monqbus_state"
OF_EVENT: Final = "monqbus_of_event"
BEHIND: Final = "monqbus_behind"
RING: Final = "monqbus_ring"
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
        name=KEY_INDEX,
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
    # one unfinished task holds a serial key
    IndexModel(
        [("holds", 1)],
        name="monqbus_holder",
        unique=True,
        partialFilterExpression={"holds": {"$exists": True}, "state": UNENDED},
    ),
    IndexModel(
        [("state", 1), ("holds", 1)],
        name="monqbus_held",
        partialFilterExpression={"holds": {"$exists": True}},
    ),
    IndexModel(
        [("serial", 1), ("turn", 1)],
        name=BEHIND,
        partialFilterExpression={"due": {"$exists": True}, "state": READY},
    ),
    # one running task has a seat of a limited name
    IndexModel(
        [("seat", 1)],
        name="monqbus_seat",
        unique=True,
        partialFilterExpression={"seat": {"$exists": True}, "state": BUSY},
    ),
    IndexModel(
        [("placing", 1)], name="monqbus_placing", partialFilterExpression={"placing": {"$exists": True}}
    ),
)
_EVENT_INDEXES: Final = (
    IndexModel(
        [("key", 1)],
        name=KEY_INDEX,
        unique=True,
        partialFilterExpression={"key": {"$exists": True}},
    ),
    IndexModel(
        [("guard", 1)],
        name=GUARD_INDEX,
        unique=True,
        partialFilterExpression={"guard": {"$exists": True}},
    ),
    # _id at the end makes the pruner's look covered: it reads no body
    IndexModel(
        [("expire_at", 1), ("_id", 1)],
        name="monqbus_past",
        partialFilterExpression={"expire_at": {"$exists": True}},
    ),
)
# all that is asked to let old ones go stands in it
_DELIVERY_INDEXES: Final = (IndexModel([("by_stranger", 1), ("_id", 1), ("room", 1)], name=RING),)
_INDEXES: Final = (
    (TASKS, _TASK_INDEXES),
    (EVENTS, _EVENT_INDEXES),
    (DELIVERIES, _DELIVERY_INDEXES),
)

Found = Mapping[str, Mapping[str, Any]]
"""Our collections that are there, by name, as listCollections describes them."""
There = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""The indexes that are there, by collection and name, as listIndexes describes them."""


def collections(database: Database[dict[str, Any]]) -> Found:
    """What stands under our names."""
    names = {"name": {"$in": [TASKS, EVENTS, BODIES, DELIVERIES, WORKERS, RECORDS, FEED]}}
    return {found["name"]: found for found in database.list_collections(filter=names)}


def unfit(database: str, found: Found) -> str:
    """Why nothing can be kept in what was *found*, with the remedy; "" when it can."""
    for name, one in found.items():
        if kind := _wrong_kind(one["type"], one["options"], is_feed=name == FEED):
            return (
                f"{database}.{name}: expected an ordinary collection, got {kind}; "
                "copy what it holds into an ordinary one and rename that, or name another database"
            )
    return ""


def _wrong_kind(kind: str, options: Mapping[str, Any], *, is_feed: bool) -> str:
    if kind != "collection":
        return "a view" if kind == "view" else f"one of the type {kind}"
    if options.get("capped") and not is_feed:
        return "a capped one, which deletes its oldest documents"
    collation = options.get("collation", {}).get("locale", "simple")
    return "" if collation == "simple" else f"one with the collation {collation}: keys that differ are equal"


def require_fit(database: Database[dict[str, Any]]) -> None:
    """Raise StoreError when something stands under our names that cannot keep anything."""
    if problem := unfit(database.name, collections(database)):
        raise StoreError(problem)


def require_server(database: Database[dict[str, Any]]) -> None:
    """Raise StoreError for a server that is too old."""
    info = database.client.server_info()
    if tuple(info["versionArray"][:2]) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        raise StoreError(f"MongoDB: expected {oldest} or newer, got {info['version']}; update the server")


def create_indexes(database: Database[dict[str, Any]]) -> None:
    """Create the indexes that are missing; blocks while they are built. Raises StoreError.

    Where none is, nothing is asked of the server that waits for the transactions of applications to end, and
    lets everybody else wait behind it: those of a dead one last a minute.
    """
    in_set = "setName" in database.command("hello")
    # by default a build waits for every member, so one that is down would stop the start
    options: dict[str, Any] = {"commitQuorum": "majority"} if in_set else {}
    for collection, own in _INDEXES:
        database[collection].create_indexes(list(own), **options)
    there = indexes(database)
    for collection, name in REPLACED:
        if name in there[collection]:
            with suppress(OperationFailure):  # the right is missing: it only costs room
                database[collection].drop_index(name)


def indexes(database: Database[dict[str, Any]]) -> There:
    """The indexes that are there."""
    return {name: database[name].index_information() for name, _ in _INDEXES}


def missing_indexes(there: There) -> list[str]:
    """Those that `create_indexes` would build, as ``collection.index``."""
    return [name for name, _, found in _ours(there) if found is None]


def altered_indexes(there: There) -> list[str]:
    """Those that somebody has made in another way, or hidden, as ``collection.index``."""
    return [
        name
        for name, ours, found in _ours(there)
        if found is not None and (_essence(ours) != _essence(found) or found.get("hidden"))
    ]


def foreign_indexes(there: There) -> list[str]:
    """A sentence for each index of somebody else that refuses or deletes documents."""
    own = {name for name, _, _ in _ours(there)}
    return [
        f"{collection}.{name}: not an index of monqbus, and it {harm}; drop it if that is not meant"
        for collection, found in there.items()
        for name, index in found.items()
        if f"{collection}.{name}" not in own and (harm := _harm(index))
    ]


def _ours(there: There) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]]:
    """Each of our indexes: its name with its collection's, as it should be, as it is or None."""
    for collection, own in _INDEXES:
        for index in own:
            ours = index.document
            yield f"{collection}.{ours['name']}", ours, there[collection].get(ours["name"])


def _essence(index: Mapping[str, Any]) -> tuple[Any, ...]:
    """What an index does; how its filter is written down may differ from server to server."""
    return (
        list(dict(index["key"]).items()),
        bool(index.get("unique")),
        "partialFilterExpression" in index,
        index.get("expireAfterSeconds"),
    )


def _harm(index: Mapping[str, Any]) -> str:
    if "expireAfterSeconds" in index:
        return "deletes documents by their age"
    return "is unique, so it may refuse what is to be stored" if index.get("unique") else ""


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
