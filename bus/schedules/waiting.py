"""The ticks of an `overlap = queue` schedule that wait for the run before them. Pure.

They are kept in the schedule's record. `waiting` has their moments, oldest first. `last` is the tick that has
begun: None as its `last_tasks` says that it may not be stored yet, a list that these are its tasks. `also`
has the tasks of a run that an operator has asked for at `also_at`, chosen before they were stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId

MOST_WAITING: Final = 100
"""Of one schedule: so many ticks wait, and those that come meanwhile are left out."""
STORED_WITHIN: Final = timedelta(seconds=10)
"""A run that was asked for is stored so soon, or never: twice what a call to the store may take."""

Fields = Mapping[str, Any]


def waiting_of(fields: Fields) -> list[datetime]:
    """The moments of the ticks that wait."""
    return [moment for moment in _list(fields, "waiting") if isinstance(moment, datetime)]


def queued(fields: Fields, ticks: Sequence[datetime]) -> tuple[dict[str, Any], int]:
    """*fields* with *ticks* behind those that wait, and how many of them found no room."""
    found = [*waiting_of(fields), *ticks]
    return {**fields, "waiting": found[:MOST_WAITING]}, max(0, len(found) - MOST_WAITING)


def without_waiting(fields: Fields) -> tuple[dict[str, Any], int]:
    """*fields* without the ticks that wait, and how many those were."""
    return {name: value for name, value in fields.items() if name != "waiting"}, len(waiting_of(fields))


def is_begun(fields: Fields) -> bool:
    """Whether a tick has begun that may not be stored yet."""
    return (
        isinstance(fields.get("last"), datetime) and "last_tasks" in fields and fields["last_tasks"] is None
    )


def begun(fields: Fields) -> dict[str, Any]:
    """*fields* when the first of the ticks that wait has begun."""
    first, *others = waiting_of(fields)
    kept = {name: value for name, value in fields.items() if name not in ("also", "also_at")}
    return {**kept, "last": first, "last_tasks": None, "waiting": others}


def run_now(fields: Fields, ids: Sequence[ObjectId], now: datetime) -> dict[str, Any]:
    """*fields* when an operator's run, whose tasks are *ids*, is about to be stored."""
    return {**fields, "also": list(ids), "also_at": now}


def tasks_of(fields: Fields) -> list[ObjectId]:
    """The tasks of what ran last: the next tick waits until all of them have ended."""
    found = [*_list(fields, "last_tasks"), *_list(fields, "also")]
    return [one for one in found if isinstance(one, ObjectId)]


def may_be_stored_yet(fields: Fields, now: datetime) -> bool:
    """Whether an operator's run may have begun whose tasks nobody finds yet."""
    asked = fields.get("also_at")
    return isinstance(asked, datetime) and asked <= now < asked + STORED_WITHIN


def _list(fields: Fields, name: str) -> list[Any]:
    found = fields.get(name)
    return found if isinstance(found, list) else []
