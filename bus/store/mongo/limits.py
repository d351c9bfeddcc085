"""Limits of a task name in MongoDB: seats, which a unique index grants, and starts, which one record counts.

A running task has its seat in its own document: whatever ends or releases it frees the seat in that write.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ...limits import KIND, UNTIL, Limit
from ...model import BUSY
from ..documents import EPOCH
from .connection import Document
from .lenient import read
from .schema import RECORDS, STATE

ROUNDS: Final = 5
AGAIN: Final = timedelta(milliseconds=50)
"""When others keep changing the record of a rate: how soon to look again."""


def free_seats(tasks: Collection[Document], name: str, bound: Limit) -> list[str] | None:
    """Seats of *name* that nobody has, as many as tasks of it may run beside those that do; None: no limit.

    What was begun without a seat, before there was a limit, takes a place too.
    """
    if bound.most is None:
        return None
    query = {"state": BUSY, "task_name": name}
    running = read(tasks, lambda sound: sound.find(query, {"seat": 1}).hint(STATE))
    taken = {document.get("seat") for document in running if isinstance(document.get("seat"), str)}
    seats = [seat for number in range(bound.most) if (seat := f"{name} {number}") not in taken]
    return seats[: max(0, bound.most - len(running))]


def reserve(
    database: Database[Document], name: str, bound: Limit, now: datetime, wanted: int
) -> tuple[int, datetime | None]:
    """How many of *wanted* may begin at *now*, which counts as begun; when the next one may, if fewer."""
    if bound.every is None or not wanted:
        return wanted, None
    second = (now - EPOCH).total_seconds()
    for _ in range(ROUNDS):
        found = database[RECORDS].find_one({"_id": _id(name)})
        fields = (found or {}).get("fields")
        until = bound.seen(fields.get(UNTIL) if isinstance(fields, dict) else None, second)
        given = min(wanted, bound.starts(until, second))
        after = bound.after(until, given)
        if not given or _write(database, name, found, after):
            return given, None if given == wanted else EPOCH + timedelta(milliseconds=bound.opens(after))
    return 0, now + AGAIN


def give_back(database: Database[Document], name: str, bound: Limit, starts: int) -> None:
    """Take back so many *starts* that were reserved and not made; a process that dies before loses them."""
    change = {"$inc": {f"fields.{UNTIL}": -starts * (bound.every or 0.0), "version": 1}}
    if bound.every is not None:
        database[RECORDS].update_one({"_id": _id(name), f"fields.{UNTIL}": {"$type": "number"}}, change)


def _write(database: Database[Document], name: str, found: Document | None, until: float) -> bool:
    """Whether the record is what it was when it was *found*, and says *until* now."""
    document: dict[str, Any] = {"version": 1, "fields": {UNTIL: until}}
    if found is None:
        try:
            database[RECORDS].insert_one({"_id": _id(name), **document})
        except DuplicateKeyError:  # another daemon was faster
            return False
        return True
    version = found.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version < 2**53:
        document["version"] = version + 1
    same = {"_id": _id(name), "version": version, "fields": found.get("fields")}
    return bool(database[RECORDS].replace_one(same, document).matched_count)


def _id(name: str) -> str:
    return f"{KIND}:{name}"
