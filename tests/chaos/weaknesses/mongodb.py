"""Weaknesses of the MongoDB store: fences taken away, hints taken for more than hints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymongo import UpdateMany
from pymongo.collection import Collection
from pymongo.database import Database

from bus.engine import claimer
from bus.model import READY, Report
from bus.store.mongo import claims, reports
from bus.store.mongo.claims import Claims

from ..weaknesses import leases

NEVER_SECONDS = 3600.0


def short_leases_without_fence() -> None:
    """An end is recorded whoever holds the task by then; leases as in leases.short."""
    leases.short()

    def unfenced(group: list[Report]) -> UpdateMany:
        ids = [report.claim.id for report in group]
        return UpdateMany({"_id": {"$in": ids}}, reports.change(group[0].fields))

    reports._operation = unfenced


def claim_what_is_claimed() -> None:
    """A claim takes what it has found, whether it is still ready or not."""
    take: Callable[..., Any] = Claims._take

    def grab(self: Claims, database: Database[Any], *words: Any) -> Any:
        return take(self, _Unguarded(database), *words)

    Claims._take = grab


class _Unguarded:
    """A database whose tasks are changed without a look at their state."""

    def __init__(self, database: Database[Any]) -> None:
        self._database = database

    def __getitem__(self, name: str) -> Any:
        collection = self._database[name]
        return _Grabbing(collection) if name == claims.TASKS else collection


class _Grabbing:
    def __init__(self, tasks: Collection[Any]) -> None:
        self._tasks = tasks
        self.find = tasks.find

    def update_many(self, query: dict[str, Any], change: dict[str, Any]) -> object:
        return self._tasks.update_many(_without_state(query), change)


def _without_state(query: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in query.items() if value != READY and name not in ("generation", "$or")
    }


def no_poll() -> None:
    """Only hints wake a daemon."""
    claimer.POLL_SECONDS = NEVER_SECONDS
