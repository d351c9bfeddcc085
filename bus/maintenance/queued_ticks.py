"""Stores the ticks of `overlap = queue` schedules one after the other, each when the run before it has ended.

Three writes make a tick: the record says that it waits, then that it has begun, then which tasks it has. Only
one daemon can write that a tick has begun, and whoever finds one begun without tasks stores it: under its
key it is stored once. So a daemon that dies between any two of them leaves nothing out and nothing doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from bson import ObjectId

from ..model import UNFINISHED, Filter
from ..schedules import waiting
from ..store import Store
from ..telemetry import emit
from .schedule_progress import Fire, Progress, store_ticks, write_down

LOOK_SECONDS: Final = 1.0
"""While ticks wait, so often it is looked whether they may begin."""
BATCH: Final = 500
"""So many schedules are looked at in one look."""
IN_TURN: Final = "it waited for the run before it"
IDS: Final = 1000
"""So many tasks are asked for in one call."""


class QueuedTicks:
    """*fire* stores ticks in one call. One that *is_paused* begins nothing."""

    def __init__(self, store: Store, fire: Fire, is_paused: Callable[[str], bool]) -> None:
        self._store = store
        self._fire = fire
        self._is_paused = is_paused
        self._waiting: dict[str, Progress] = {}

    def take_in(self, progress: Mapping[str, Progress]) -> None:
        """Begin with what the records of these schedules say."""
        self._waiting = {}
        for one in progress.values():
            self.add(one)

    def add(self, one: Progress) -> None:
        """Its record has changed: perhaps ticks of it wait now."""
        if one.schedule.is_queue and _has_work(one.record.fields):
            self._waiting[one.schedule.name] = one

    def look(self, now: datetime) -> float | None:
        """Store what may begin; the seconds until the next look, None when nothing waits. Blocks."""
        ones = [self._waiting.pop(name) for name in list(islice(self._waiting, BATCH))]
        self._waiting |= {one.schedule.name: one for one in ones}  # the others have their turn first
        ones = [one for one in ones if not self._is_paused(one.schedule.name)]
        self._begin(ones, now)
        self._store_begun(ones, now)
        for one in ones:
            if not _has_work(one.record.fields):
                del self._waiting[one.schedule.name]
        return LOOK_SECONDS if self._waiting else None

    def _begin(self, ones: Sequence[Progress], now: datetime) -> None:
        """Let the first tick of each begin whose run before has ended."""
        able = [one for one in ones if not waiting.is_begun(one.record.fields)]
        able = [one for one in able if waiting.waiting_of(one.record.fields)]
        unfinished = self._unfinished(able)
        changes = []
        for one in able:
            fields = one.record.fields
            has_ended = unfinished.isdisjoint(waiting.tasks_of(fields))
            if has_ended and not waiting.may_be_stored_yet(fields, now):
                changes.append((one, waiting.begun(fields)))
        write_down(self._store, changes)

    def _unfinished(self, ones: Sequence[Progress]) -> set[ObjectId]:
        ids = [task_id for one in ones for task_id in waiting.tasks_of(one.record.fields)]
        found: set[ObjectId] = set()
        for start in range(0, len(ids), IDS):
            some = tuple(ids[start : start + IDS])
            found.update(self._store.ids(Filter(ids=some, states=UNFINISHED), len(some)))
        return found

    def _store_begun(self, ones: Sequence[Progress], now: datetime) -> None:
        begun = [one for one in ones if waiting.is_begun(one.record.fields)]
        moments: list[datetime] = [one.record.fields["last"] for one in begun]
        ticks = [(one.schedule, moment) for one, moment in zip(begun, moments, strict=True)]
        stored = store_ticks(self._fire, ticks)
        changes: list[tuple[Progress, Mapping[str, Any]]] = [
            (one, {**one.record.fields, "last_tasks": stored.get((one.schedule.name, moment), [])})
            for one, moment in zip(begun, moments, strict=True)
        ]
        for (one, _), moment, is_written in zip(
            changes, moments, write_down(self._store, changes), strict=True
        ):
            late = (now - moment).total_seconds()
            if is_written and late > one.schedule.lateness:
                emit(
                    "schedule.late",
                    schedule=one.schedule.name,
                    count=1,
                    scheduled_for=moment,
                    late_seconds=round(late, 1),
                    reason=IN_TURN,
                )


def _has_work(fields: Mapping[str, Any]) -> bool:
    return bool(waiting.waiting_of(fields)) or waiting.is_begun(fields)
