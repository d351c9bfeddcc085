"""How a database answers what a store asks it: each statement with its plan, and how much it looked at.

SQLite explains each statement that it has run, MongoDB's profiler notes the plan by which each was run. What
is looked at is counted: instructions of SQLite's machine, keys and documents of MongoDB. Neither depends on
how fast or how busy the machine is.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pymongo.database import Database

from bus.store.contract import Store
from bus.store.mongo import MongoStore
from bus.store.mongo.schema import FEED
from bus.store.sqlite.store import SqliteStore

EXPLAINED = ("SELECT", "INSERT", "UPDATE", "DELETE")
INSTRUCTIONS = 20
"""SQLite is asked after so many: each asking is a call of Python."""
SINGLE = frozenset({"beat", "sqlite_master"})
"""Tables of one row, or of a few that no use of the queue adds to."""


class Asked(NamedTuple):
    """One statement: in which *words*, by which *plan*, how much was looked at, and how many it answered."""

    words: str
    plan: tuple[str, ...]
    examined: int = 0

    @property
    def reads_all(self) -> bool:
        """Whether the plan reads a whole table or collection, and no index."""
        return any(map(_is_without_index, self.plan))


@contextmanager
def asked(store: Store) -> Iterator[list[Asked]]:
    """What *store* asks its database inside of the block; filled when that ends."""
    found: list[Asked] = []
    watch = _of_sqlite if isinstance(store, SqliteStore) else _of_mongo
    with watch(store, found):
        yield found


def work(store: Store, call: Callable[[], Any]) -> int:
    """How much the database of *store* looks at for *call*; see this module for what is counted."""
    if isinstance(store, SqliteStore):
        return _instructions(store._connection.sql, call)
    with asked(store) as statements:
        call()
    return sum(statement.examined for statement in statements)


def _is_without_index(step: str) -> bool:
    if step.startswith("SCAN "):  # SQLite
        return "USING" not in step and step.split()[1] not in SINGLE
    return "COLLSCAN" in step


# SQLite


@contextmanager
def _of_sqlite(store: SqliteStore, found: list[Asked]) -> Iterator[None]:
    sql, statements = store._connection.sql, list[str]()
    sql.set_trace_callback(statements.append)
    try:
        yield
    finally:
        sql.set_trace_callback(None)
    for words in dict.fromkeys(statements):
        if words.lstrip().startswith(EXPLAINED):
            # the driver writes an infinite value as a word that SQL does not know
            rows = sql.execute("EXPLAIN QUERY PLAN " + re.sub(r"\bInf\b", "9e999", words)).fetchall()
            found.append(Asked(_one_line(words), tuple(row[3] for row in rows if _names_a_table(row[3]))))


def _names_a_table(step: str) -> bool:
    """A list of the caller's is no table, and neither is what a statement has found itself."""
    return not re.match(r"SCAN (json_each|\(subquery|CONSTANT)", step)


def _instructions(sql: sqlite3.Connection, call: Callable[[], Any]) -> int:
    count = 0

    def step() -> None:
        nonlocal count
        count += INSTRUCTIONS

    sql.set_progress_handler(step, INSTRUCTIONS)
    try:
        call()
    finally:
        sql.set_progress_handler(None, 0)
    return count


# MongoDB


@contextmanager
def _of_mongo(store: MongoStore, found: list[Asked]) -> Iterator[None]:
    database: Database[dict[str, Any]] = store._connection.database
    database.command("profile", 0)
    database.drop_collection("system.profile")
    database.create_collection("system.profile", capped=True, size=64 * 1024 * 1024)
    database.command("profile", 2)
    try:
        yield
    finally:
        database.command("profile", 0)
    ours = {"ns": {"$nin": [f"{database.name}.system.profile", f"{database.name}.{FEED}"]}}
    for entry in database["system.profile"].find(ours):
        if plan := entry.get("planSummary"):
            command = {name: value for name, value in entry["command"].items() if not name.startswith("$")}
            examined = entry.get("keysExamined", 0) + entry.get("docsExamined", 0)
            found.append(Asked(f"{entry['ns']} {entry['op']} {command}"[:400], (plan,), examined))


def _one_line(words: str) -> str:
    return " ".join(words.split())[:400]
