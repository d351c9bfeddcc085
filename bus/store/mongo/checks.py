"""What `doctor` finds out about a MongoDB deployment. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from pymongo.database import Database

from ...clock import Clock
from ...diagnosis import Diagnosis
from ...errors import StoreUnusable
from ...model import ERROR
from ..fields import ASIDE
from ..salvage import READING
from .connection import Connection
from .migration import SCHEMA_VERSION, require_known
from .schema import (
    FEED,
    OLDEST_SERVER,
    TASKS,
    There,
    altered_indexes,
    collections,
    foreign_indexes,
    indexes,
    missing_indexes,
    unfit,
)

SKEW_SECONDS: Final = 2.0
_AT_START: Final = "a daemon makes it when it starts"


def diagnose(address: str, clock: Clock) -> tuple[list[Diagnosis], int]:
    """The server, its kind, its clock, the indexes and the feed; how many tasks were set aside.

    Raises StoreError when none answers.
    """
    connection = Connection(address)
    connection.open()
    try:
        with connection.call() as database:
            aside = database[TASKS].count_documents({"state": ERROR, "result": {"$regex": ASIDE}})
            found = [*_server(database, connection.name), _clock(database, clock), *_contents(database)]
            return found, aside
    finally:
        connection.close()


def _server(database: Database[dict[str, Any]], name: str) -> Iterator[Diagnosis]:
    info = database.client.server_info()
    version = f"{name}, MongoDB {info['version']}"
    if tuple(info["versionArray"][:2]) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        yield Diagnosis("store", version, "problem", f"update the server to {oldest} or newer")
    else:
        yield Diagnosis("store", version)
    hello = database.command("hello")
    if "setName" in hello:
        yield Diagnosis("members", f"{len(hello['hosts'])} in the replica set {hello['setName']}")
    else:
        remedy = "make it a replica set, even of one member: then a second copy can be added"
        yield Diagnosis("members", "a single server, no replica set", "warning", remedy)


def _clock(database: Database[dict[str, Any]], clock: Clock) -> Diagnosis:
    before = clock.now()
    theirs = database.command("hello", codec_options=READING)["localTime"]
    after = clock.now()
    ahead = (theirs - (before + (after - before) / 2)) / timedelta(seconds=1)
    value = f"the store's is {abs(ahead):.3f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) - (after - before) / timedelta(seconds=1) <= SKEW_SECONDS:
        return Diagnosis("clock", value)
    remedy = "let chrony or systemd-timesyncd set both: delays and ages are reckoned by this machine's"
    return Diagnosis("clock", value, "warning", remedy)


def _indexes(there: There) -> Iterator[Diagnosis]:
    if altered := altered_indexes(there):
        what = f"not what monqbus makes: {', '.join(altered)}"
        yield Diagnosis("indexes", what, "problem", "drop them, a daemon makes its own")
    elif missing := missing_indexes(there):
        yield Diagnosis("indexes", f"missing indexes: {', '.join(missing)}", "warning", _AT_START)
    else:
        yield Diagnosis("indexes", "all are there")
    for warning in foreign_indexes(there):
        what, _, remedy = warning.partition("; ")
        yield Diagnosis("index", what, "warning", remedy)


def _version(database: Database[dict[str, Any]]) -> Diagnosis:
    try:
        version = require_known(database)
    except StoreUnusable as error:
        what, _, remedy = str(error).partition("; ")
        return Diagnosis("schema", what, "problem", remedy)
    due = "" if version == SCHEMA_VERSION else f"; the next start of a daemon upgrades it to {SCHEMA_VERSION}"
    return Diagnosis("schema", f"version {version}{due}")


def _contents(database: Database[dict[str, Any]]) -> Iterator[Diagnosis]:
    found = collections(database)
    options = {name: one["options"] for name, one in found.items()}
    if problem := unfit(database.name, found):
        what, _, remedy = problem.partition("; ")
        yield Diagnosis("schema", what, "problem", remedy)
    elif TASKS not in options:
        yield Diagnosis("schema", "nothing is stored yet", note=_AT_START)
    else:
        yield from _indexes(indexes(database))
        yield _version(database)
    if FEED not in options:
        yield Diagnosis("feed", "not there yet", note=_AT_START)
    elif not options[FEED].get("capped"):
        yield Diagnosis("feed", f"{FEED} is not capped", "warning", f"{_AT_START}: restart one")
    else:
        yield Diagnosis("feed", f"{FEED}, capped at {options[FEED]['size']} bytes")
