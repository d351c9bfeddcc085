"""Stores the ticks of schedules when they come, each once, whatever number of daemons share the store.

A tick is an event whose key is made of the schedule's name and its moment: whoever comes second finds it
there. How far a schedule has come is a record of the store, written after its ticks; a daemon that dies
between the two leaves ticks that the next one finds stored. A schedule that is new, or whose moments were
changed, begins now: nothing fires for the past.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from ..apps.registry import Registry
from ..clock import UTC, Clock
from ..engine.health import said
from ..engine.loop import Loop
from ..errors import MonqbusError, NotAccepted, StoreError
from ..model import Receipt, Record
from ..posting import Tick
from ..schedules import KIND, Due, Schedule, due
from ..store import Store
from ..telemetry import emit

LOOK_SECONDS: Final = 5.0
"""The longest sleep: the queue's time may jump ahead after the machine's clock."""
BATCH: Final = 500
"""Ticks that are stored in one call."""
LAST_TASKS: Final = 10
"""Of the last tick's tasks so many ids are kept in the record."""


@dataclass
class Progress:
    """How far one schedule has come: everything up to *seen* is decided, its next moment is *next*.

    *was_paused* says that moments since *seen* came while it was.
    """

    schedule: Schedule
    record: Record
    seen: datetime
    next: datetime | None
    was_paused: bool = False

    @classmethod
    def of(cls, schedule: Schedule, record: Record) -> Progress:
        """That of a *record* which describes the same moments."""
        seen = record.fields["seen"].astimezone(UTC)
        return cls(schedule, record, seen, next(schedule.moments.after(seen), None))


class Scheduler:
    """*fire* stores ticks in one call, PostOffice.fire in the daemon.

    One that *is_paused* stores none; when the pause is over, its moments are those that nobody was there for.
    """

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        fire: Callable[[Sequence[Tick]], list[Receipt]],
        clock: Clock,
        is_paused: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.loop = Loop("scheduler", self.tick, LOOK_SECONDS, clock)
        self._store = store
        self._registry = registry
        self._fire = fire
        self._clock = clock
        self._is_paused = is_paused
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
        if not self._coming:
            return LOOK_SECONDS if schedules else None
        return min(LOOK_SECONDS, max(0.0, (self._coming[0][0] - self._clock.now()).total_seconds()))

    # which there are

    def _take_in(self, schedules: Mapping[str, Schedule]) -> None:
        """Begin with *schedules*; those that are new, or come at other moments now, are written down."""
        if not schedules:
            self._progress, self._coming, self._paused = {}, [], []
            return
        stored, now = self._stored(), self._clock.now()
        fresh = [
            replace(
                stored.get(name, Record(KIND, name, {})), fields={"moments": one.moments.text, "seen": now}
            )
            for name, one in schedules.items()
            if not _fits(stored.get(name), one)
        ]
        if fresh:
            self._store.keep_records(fresh)  # or another daemon has just done so
            stored = self._stored()
        self._progress = {
            name: Progress.of(one, stored[name])
            for name, one in schedules.items()
            if _fits(stored.get(name), one)
        }
        if missing := schedules.keys() - self._progress.keys():
            raise StoreError(
                f"schedule {min(missing)}: another daemon has other moments for it; reload or restart it"
            )
        self._paused = []
        self._coming = [(one.next, name) for name, one in self._progress.items() if one.next is not None]
        heapq.heapify(self._coming)

    def _stored(self) -> dict[str, Record]:
        return {record.name: record for record in self._store.records(KIND)}

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
            stored = self._store_ticks(found)
            self._write(found, stored)
        except BaseException:
            for one, _ in found:
                self._wait(one)
            raise
        for one, what in found:
            self._tell(one, what, now, waited)
            one.was_paused = False

    def _store_ticks(self, found: list[tuple[Progress, Due]]) -> dict[str, list[Any]]:
        """The ids of the last tick's tasks, by schedule; one that is refused is left out, and told of."""
        ids: dict[str, list[Any]] = {}
        ticks = [(one.schedule, moment) for one, what in found for moment in what.ticks]
        try:
            receipts = self._fire(ticks) if ticks else []
        except MonqbusError as error:
            if _is_of_the_store(error):
                raise
            return self._store_one_by_one(found)  # one of them is refused
        for (schedule, moment), receipt in zip(ticks, receipts, strict=True):
            ids[schedule.name] = receipt.task_ids[:LAST_TASKS]
            _tell_of_receipt(schedule, moment, receipt)
        return ids

    def _store_one_by_one(self, found: list[tuple[Progress, Due]]) -> dict[str, list[Any]]:
        ids: dict[str, list[Any]] = {}
        for one, what in found:
            try:
                receipts = self._fire([(one.schedule, moment) for moment in what.ticks])
            except MonqbusError as error:
                if _is_of_the_store(error):
                    raise
                emit("schedule.refused", schedule=one.schedule.name, where=one.schedule.where, error=error)
                continue
            for moment, receipt in zip(what.ticks, receipts, strict=True):
                ids[one.schedule.name] = receipt.task_ids[:LAST_TASKS]
                _tell_of_receipt(one.schedule, moment, receipt)
        return ids

    def _write(self, found: list[tuple[Progress, Due]], ids: Mapping[str, list[Any]]) -> None:
        """Write down how far each of *found* has come; who was faster has come as far."""
        changed = [(one, what) for one, what in found if what.ticks or what.dropped]
        records = [
            replace(one.record, fields=_fields(one, what, ids.get(one.schedule.name, [])))
            for one, what in changed
        ]
        written = self._store.keep_records(records) if records else []
        again: dict[str, Record] = {} if all(written) else self._stored()
        for (one, _), record, is_written in zip(changed, records, written, strict=True):
            if is_written:
                one.record = replace(record, version=record.version + 1)
            elif _fits(found_again := again.get(one.schedule.name), one.schedule) and found_again is not None:
                one.record = found_again
        for one, what in found:
            seen = one.record.fields["seen"].astimezone(UTC)
            one.seen = max(what.seen, seen)
            one.next = next(one.schedule.moments.after(one.seen), None)
            self._wait(one)

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
                reason="it was paused" if one.was_paused else self._reason(first, schedule.lateness, waited),
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


def _is_of_the_store(error: MonqbusError) -> bool:
    """Whether the store takes nothing at this moment; else something is wrong with one tick."""
    return isinstance(error, StoreError) and not isinstance(error, NotAccepted)


def _fits(record: Record | None, schedule: Schedule) -> bool:
    """Whether *record* says how far *schedule* has come, with the moments that it has now."""
    if record is None or record.fields.get("moments") != schedule.moments.text:
        return False
    return isinstance(record.fields.get("seen"), datetime)


def _fields(one: Progress, what: Due, ids: list[Any]) -> dict[str, Any]:
    fields = {**one.record.fields, "seen": what.seen}
    if what.ticks:
        fields |= {"last": what.ticks[-1], "last_tasks": ids}
    return fields


def _tell_of_receipt(schedule: Schedule, moment: datetime, receipt: Receipt) -> None:
    """Tell of a tick that was left out because one before it is not finished."""
    if receipt.duplicate and schedule.overlap == "skip" and receipt.task_ids:
        emit("schedule.skipped", schedule=schedule.name, scheduled_for=moment, holder=receipt.task_ids[0])
    else:
        emit("schedule.fired", schedule=schedule.name, scheduled_for=moment, tasks=receipt.task_ids)
