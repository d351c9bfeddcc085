"""How far each schedule has come, as its record says, and the ticks that are stored for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from bson import ObjectId

from ..clock import UTC
from ..errors import MonqbusError, NotAccepted, StoreError
from ..model import Receipt, Record
from ..posting import Tick
from ..schedules import KIND, Schedule
from ..store.contract import Records
from ..telemetry import emit

Fire = Callable[[Sequence[Tick]], list[Receipt]]
Key = tuple[str, datetime]
LAST_TASKS: Final = 10
"""Of the last tick's tasks so many ids are kept in the record; all where the next one waits for them."""


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
        seen = seen_in(record)
        return cls(schedule, record, seen, next(schedule.moments.after(seen), None))


def stored(store: Records) -> dict[str, Record]:
    """The record of each schedule, by name."""
    return {record.name: record for record in store.records(KIND)}


def seen_in(record: Record) -> datetime:
    """The moment up to which *record* says that everything is decided."""
    seen: datetime = record.fields["seen"]
    return seen.astimezone(UTC)


def fits(record: Record | None, schedule: Schedule) -> bool:
    """Whether *record* says how far *schedule* has come, with the moments that it has now."""
    if record is None or record.fields.get("moments") != schedule.moments.text:
        return False
    return isinstance(record.fields.get("seen"), datetime)


def write_down(store: Records, changes: Sequence[tuple[Progress, Mapping[str, Any]]]) -> list[bool]:
    """Store new fields of some records; True where they were still as known here.

    Of the others the record is read again: another daemon, or an operator's run, was faster.
    """
    if not changes:
        return []
    records = [replace(one.record, fields=fields) for one, fields in changes]
    written = store.keep_records(records)
    again = {} if all(written) else stored(store)
    for (one, _), record, is_written in zip(changes, records, written, strict=True):
        if is_written:
            one.record = replace(record, version=record.version + 1)
        elif fits(found := again.get(one.schedule.name), one.schedule) and found is not None:
            one.record = found
    return written


def store_ticks(fire: Fire, ticks: Sequence[Tick]) -> dict[Key, list[ObjectId]]:
    """The ids of each tick's tasks, by schedule and moment; one that is refused is left out, and told of."""
    if not ticks:
        return {}
    try:
        receipts = fire(ticks)
    except MonqbusError as error:
        if _is_of_the_store(error):
            raise
        return _store_one_by_one(fire, ticks)  # one of them is refused
    return _ids(ticks, receipts)


def _store_one_by_one(fire: Fire, ticks: Sequence[Tick]) -> dict[Key, list[ObjectId]]:
    ids: dict[Key, list[ObjectId]] = {}
    by_schedule: dict[str, list[Tick]] = {}
    for tick in ticks:
        by_schedule.setdefault(tick[0].name, []).append(tick)
    for own in by_schedule.values():
        try:
            receipts = fire(own)
        except MonqbusError as error:
            if _is_of_the_store(error):
                raise
            schedule = own[0][0]
            emit("schedule.refused", schedule=schedule.name, where=schedule.where, error=error)
            continue
        ids |= _ids(own, receipts)
    return ids


def _ids(ticks: Sequence[Tick], receipts: Sequence[Receipt]) -> dict[Key, list[ObjectId]]:
    for (schedule, moment), receipt in zip(ticks, receipts, strict=True):
        _tell_of_receipt(schedule, moment, receipt)
    return {
        (schedule.name, moment): receipt.task_ids
        for (schedule, moment), receipt in zip(ticks, receipts, strict=True)
    }


def _is_of_the_store(error: MonqbusError) -> bool:
    """Whether the store takes nothing at this moment; else something is wrong with one tick."""
    return isinstance(error, StoreError) and not isinstance(error, NotAccepted)


def _tell_of_receipt(schedule: Schedule, moment: datetime, receipt: Receipt) -> None:
    """Tell of a tick that was left out because one before it is not finished."""
    if receipt.duplicate and schedule.overlap == "skip" and receipt.task_ids:
        emit("schedule.skipped", schedule=schedule.name, scheduled_for=moment, holder=receipt.task_ids[0])
    else:
        emit("schedule.fired", schedule=schedule.name, scheduled_for=moment, tasks=receipt.task_ids)
