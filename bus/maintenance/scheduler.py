"""Stores the ticks of schedules when they come, each once, whatever number of daemons share the store.

A tick is an event whose key is made of the schedule's name and its moment: whoever comes second finds it
there. How far a schedule has come is a record of the store, written after its ticks; a daemon that dies
between the two leaves ticks that the next one finds stored. A schedule that is new, or whose moments were
changed, begins now: nothing fires for the past. The write itself is `PostOffice.fire` of `bus/posting`; a
tick of `overlap = queue` waits in `queued_ticks`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId

from ..apps.registry import Registry
from ..clock import Clock
from ..engine.health import said
from ..engine.loop import Loop
from ..errors import StoreError
from ..model import Record
from ..schedules import KIND, Due, Schedule, due, waiting
from ..store import Store
from ..telemetry import emit
from .queued_ticks import QueuedTicks
from .schedule_progress import (
    LAST_TASKS,
    Fire,
    Key,
    Progress,
    fits,
    seen_in,
    store_ticks,
    stored,
    write_down,
)

LOOK_SECONDS: Final = 5.0
"""The longest sleep: the queue's time may jump ahead after the machine's clock."""
BATCH: Final = 500
"""Ticks that are stored in one call."""
WAITING_IS_FULL: Final = f"{waiting.MOST_WAITING} wait already"
IT_WAS_PAUSED: Final = "it was paused"
IT_WAS_CHANGED: Final = "it was changed while they waited"


class Scheduler:
    """*fire* stores ticks in one call, PostOffice.fire in the daemon.

    One that *is_paused* stores none; when the pause is over, its moments are those that nobody was there for.
    """

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        fire: Fire,
        clock: Clock,
        is_paused: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.loop = Loop("scheduler", self.tick, LOOK_SECONDS, clock)
        self._store = store
        self._registry = registry
        self._fire = fire
        self._clock = clock
        self._is_paused = is_paused
        self._queue = QueuedTicks(store, fire, is_paused)
        self._began = clock.now()
        self._known: Mapping[str, Schedule] | None = None
        self._progress: dict[str, Progress] = {}
        self._coming: list[tuple[datetime, str]] = []
        self._paused: list[Progress] = []
        self._looked = clock.monotonic()

    def tick(self) -> float | None:
        """Store what is due; the seconds until the next moment, or None without schedules."""
        schedules = self._registry().schedules
        if schedules is not self._known:
            self._take_in(schedules)
            self._known = schedules
        self._resume()
        now, waited = self._clock.now(), self._clock.monotonic() - self._looked
        while self._coming and self._coming[0][0] <= now:
            if found := self._pop(now):
                self._advance(found, now, waited)
        self._looked = self._clock.monotonic()
        pauses = [LOOK_SECONDS] if schedules else []
        if (again := self._queue.look(now)) is not None:
            pauses.append(again)
        if self._coming:
            pauses.append(max(0.0, (self._coming[0][0] - self._clock.now()).total_seconds()))
        return min(pauses, default=None)

    # which there are

    def _take_in(self, schedules: Mapping[str, Schedule]) -> None:
        """Begin with *schedules*; those that are new, or come at other moments now, are written down."""
        if not schedules:
            self._progress, self._coming, self._paused = {}, [], []
            self._queue.take_in({})
            return
        found, now = stored(self._store), self._clock.now()
        changed = [
            record
            for name, one in schedules.items()
            if (record := _at_start(one, found.get(name), now)) is not None
        ]
        for start in range(0, len(changed), BATCH):
            self._store.keep_records(changed[start : start + BATCH])  # or another daemon has just done so
        if changed:
            found = stored(self._store)
        self._progress = {
            name: Progress.of(one, found[name])
            for name, one in schedules.items()
            if fits(found.get(name), one)
        }
        if missing := schedules.keys() - self._progress.keys():
            raise StoreError(
                f"schedule {min(missing)}: another daemon has other moments for it; reload or restart it"
            )
        self._paused = []
        self._coming = [(one.next, name) for name, one in self._progress.items() if one.next is not None]
        heapq.heapify(self._coming)
        self._queue.take_in(self._progress)

    # what is due

    def _resume(self) -> None:
        """Let those whose pause is over be due again."""
        waiting, self._paused = self._paused, []
        for one in waiting:
            if self._is_paused(one.schedule.name):
                self._paused.append(one)
            else:
                self._wait(one)

    def _pop(self, now: datetime) -> list[tuple[Progress, Due]]:
        """The schedules that are due, with so many ticks as go into one call, or somewhat more."""
        found: list[tuple[Progress, Due]] = []
        ticks = 0
        while self._coming and self._coming[0][0] <= now and ticks < BATCH:
            _, name = heapq.heappop(self._coming)
            one = self._progress[name]
            if self._is_paused(name):
                one.was_paused = True
                self._paused.append(one)
                continue
            found.append((one, due(one.schedule, one.seen, now)))
            ticks += len(found[-1][1].ticks)
        return found

    def _advance(self, found: list[tuple[Progress, Due]], now: datetime, waited: float) -> None:
        """Store the ticks of *found*, then how far each has come. What fails is due again."""
        try:
            ids = store_ticks(
                self._fire,
                [
                    (one.schedule, moment)
                    for one, what in found
                    for moment in what.ticks
                    if not one.schedule.is_queue
                ],
            )
            self._write(found, ids, now)
        except BaseException:
            for one, _ in found:
                self._wait(one)
            raise
        for one, what in found:
            self._tell(one, what, now, waited)
            one.was_paused = False

    def _write(
        self, found: list[tuple[Progress, Due]], ids: Mapping[Key, list[ObjectId]], now: datetime
    ) -> None:
        """Write down how far each of *found* has come; who was faster has come as far."""
        changed = [(one, what) for one, what in found if what.ticks or what.dropped]
        left_out = [_fields(one, what, ids, now) for one, what in changed]
        versions = [one.record.version for one, _ in changed]
        written = write_down(
            self._store,
            [(one, fields) for (one, _), (fields, _) in zip(changed, left_out, strict=True)],
        )
        undone = set()
        for (one, _), (_, count), is_written, version in zip(
            changed, left_out, written, versions, strict=True
        ):
            if not is_written and one.schedule.is_queue and one.record.version != version:
                undone.add(one.schedule.name)  # who was faster may have begun a tick, and decided nothing
            elif is_written and count:
                emit("schedule.missed", schedule=one.schedule.name, count=count, reason=WAITING_IS_FULL)
        for one, what in found:
            seen = seen_in(one.record)
            one.seen = seen if one.schedule.name in undone else max(what.seen, seen)
            one.next = next(one.schedule.moments.after(one.seen), None)
            self._wait(one)
            self._queue.add(one)

    def _wait(self, one: Progress) -> None:
        if one.next is not None:
            heapq.heappush(self._coming, (one.next, one.schedule.name))

    # what is told

    def _tell(self, one: Progress, what: Due, now: datetime, waited: float) -> None:
        schedule = one.schedule
        if what.late:
            first = what.ticks[0]
            emit(
                "schedule.late",
                schedule=schedule.name,
                count=what.late,
                scheduled_for=first,
                late_seconds=round((now - first).total_seconds(), 1),
                reason=IT_WAS_PAUSED if one.was_paused else self._reason(first, schedule.lateness, waited),
            )
        if what.dropped:
            emit("schedule.missed", schedule=schedule.name, count=what.dropped)

    def _reason(self, moment: datetime, lateness: float, waited: float) -> str:
        """Why a tick comes late, as far as this daemon knows."""
        if moment < self._began:
            return "no daemon was running then, or its clock was behind"
        if waited > lateness:
            return f"this daemon did not look for {waited:.0f} s: it was stopped, or its hub blocked"
        failed = self.loop.health.error
        return f"it could not be stored before: {said(failed)}" if failed else "the machine's clock was set"


def _at_start(schedule: Schedule, record: Record | None, now: datetime) -> Record | None:
    """The record to begin *schedule* with at *now*; None for one that says already how far it has come.

    Of ticks that wait none is left when the schedule comes at other moments now, or lets none wait any more;
    the tasks of its last run are kept, for the next one to wait for.
    """
    fields, count = waiting.without_waiting(record.fields if record is not None else {})
    is_known = fits(record, schedule)
    if record is not None and is_known and (schedule.is_queue or not count):
        return None
    if count:
        emit("schedule.missed", schedule=schedule.name, count=count, reason=IT_WAS_CHANGED)
    if not is_known:
        fields |= {"moments": schedule.moments.text, "seen": now}
        if fields.get("last_tasks", ()) is None:
            fields["last_tasks"] = []  # the tick that had begun is of the past, too
    return replace(record or Record(KIND, schedule.name, {}), fields=fields)


def _fields(
    one: Progress, what: Due, ids: Mapping[Key, list[ObjectId]], now: datetime
) -> tuple[dict[str, Any], int]:
    """What the record is to say, and how many ticks that should wait found no room, or are too old by now."""
    fields: dict[str, Any] = {**one.record.fields, "seen": what.seen}
    if one.schedule.is_queue:
        too_old = 0
        if one.next is not None and one.next < now - timedelta(seconds=one.schedule.missed_within):
            fields, too_old = waiting.without_waiting(fields)  # nobody was there for longer than that
        fields, no_room = waiting.queued(fields, what.ticks)
        return fields, too_old + no_room
    if what.ticks:
        last = what.ticks[-1]
        fields |= {"last": last, "last_tasks": ids.get((one.schedule.name, last), [])[:LAST_TASKS]}
    return fields, 0
