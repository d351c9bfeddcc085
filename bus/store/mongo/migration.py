"""Brings a database of an earlier schema version up to date, while other daemons use it.

One document says which version it is. Whoever changes it holds a lease on that document, by the server's
clock: of several daemons that start at once one does each step, and the others wait for it. A step that
was cut is begun again by whoever comes when its lease has run out, on the machine of a dead holder at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from ...clock import Clock
from ...errors import StoreUnavailable, StoreUnusable
from ...process import identity
from .lenient import identity_of
from .migrations import STEPS

SCHEMA: Final = "monq_schema"
ID: Final = "schema"
FIRST: Final = 1
"""The version of a database without a document about it: what `schema.create_indexes` makes."""
LEASE_MS: Final = 30_000
WAIT_SECONDS: Final = 0.2
SCHEMA_VERSION: Final = STEPS[-1][0]

_IS_FREE: Final = {"$expr": {"$lte": [{"$ifNull": ["$until", "$$NOW"]}, "$$NOW"]}}
_NEXT: Final = {"$add": ["$$NOW", LEASE_MS]}


def version_of(database: Database[dict[str, Any]]) -> int:
    """The schema version of *database*. Raises StoreUnusable when its document holds no version."""
    document = database[SCHEMA].find_one({"_id": ID}, {"version": 1})
    if document is None:
        return FIRST
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < FIRST:
        raise StoreUnusable(
            f"{database.name}.{SCHEMA}: expected a whole number of at least {FIRST} as version, got "
            f"{version!r:.40}; remove that document, and the next start of a daemon finds out again"
        )
    return int(version)


def require_known(database: Database[dict[str, Any]]) -> int:
    """The schema version of *database*. Raises StoreUnusable for one of a newer monqbus; changes nothing."""
    if (version := version_of(database)) > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{database.name}.{SCHEMA}: expected schema version {FIRST} to {SCHEMA_VERSION}, got {version}, "
            "of a newer monqbus; use that one here, too, or restore a dump from before it"
        )
    return version


def migrate(database: Database[dict[str, Any]], clock: Clock, seconds: float) -> None:
    """Do every step that is missing, or wait for the daemon that does. Blocks up to *seconds* for others.

    Raises StoreUnusable, StoreUnavailable when others take longer.
    """
    begin_at_first(database)
    deadline = clock.monotonic() + seconds
    while (version := require_known(database)) < SCHEMA_VERSION:
        step = next(step for step in STEPS if step[0] > version)
        if not _try(database, version, *step):
            if clock.monotonic() >= deadline:
                raise StoreUnavailable(
                    f"{database.name}.{SCHEMA}: expected version {step[0]} within {seconds:g} s, got "
                    f"{version}: another daemon is at it; see its log, and start this one again"
                )
            clock.sleep(WAIT_SECONDS)


def begin_at_first(database: Database[dict[str, Any]]) -> None:
    """Write the first version down where none is."""
    with suppress(DuplicateKeyError):  # another daemon was faster
        database[SCHEMA].update_one({"_id": ID}, {"$setOnInsert": {"version": FIRST}}, upsert=True)


def _of_the_dead(
    schema: Collection[dict[str, Any]], here: identity.ProcessIdentity | None
) -> list[dict[str, Any]]:
    """The condition that the holder is the present one, if that has died where *here* can see it."""
    found = schema.find_one({"_id": ID}, {"holder": 1, "birth": 1}) or {}
    birth = identity_of(found.get("birth"))
    return [{"holder": found.get("holder")}] if birth is not None and identity.is_dead(birth, here) else []


def _try(
    database: Database[dict[str, Any]],
    version: int,
    made: int,
    step: Callable[[Database[dict[str, Any]], Callable[[], None]], None],
) -> bool:
    """Whether this daemon has got the lease and done the *step* that makes *made* of *version*."""
    schema, holder = database[SCHEMA], uuid.uuid4().hex
    mine: Mapping[str, Any] = {"_id": ID, "version": version, "holder": holder}

    def keep() -> None:
        if not schema.update_one(mine, [{"$set": {"until": _NEXT}}]).matched_count:
            raise StoreUnavailable(
                f"{database.name}.{SCHEMA}: expected our lease, got that of another daemon; start again"
            )

    taken: dict[str, Any] = {"holder": holder, "until": _NEXT}
    if (here := identity.of_this_process()) is not None:
        taken["birth"] = {"$literal": here._asdict()}
    free = {"_id": ID, "version": version, "$or": [_IS_FREE, *_of_the_dead(schema, here)]}
    if not schema.update_one(free, [{"$unset": "birth"}, {"$set": taken}]).matched_count:
        return False
    gone = {"holder": "", "until": "", "birth": ""}
    try:
        step(database, keep)
    except Exception:
        with suppress(PyMongoError):  # else it runs out
            schema.update_one(mine, {"$unset": gone})
        raise
    return bool(schema.update_one(mine, {"$set": {"version": made}, "$unset": gone}).matched_count)
