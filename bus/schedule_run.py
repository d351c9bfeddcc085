"""Makes room for a run of an `overlap = queue` schedule that an operator asks for: one at a time.

The schedule's record names the tasks before they are stored. So the next tick waits for them, and a process
that dies in between holds nothing up for longer than a call to the store takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from bson import ObjectId

from .errors import StoreError
from .model import UNFINISHED, Filter
from .schedules import KIND, Schedule, waiting
from .store import Store

TRIES: Final = 5


def make_room(store: Store, schedule: Schedule, ids: Sequence[ObjectId], now: datetime) -> None:
    """Write down that *ids* are about to run; blocks as the store does.

    Raises StoreError while an earlier run goes on, or ticks wait for it.
    """
    for _ in range(TRIES):
        records = {record.name: record for record in store.records(KIND)}
        if (record := records.get(schedule.name)) is None or not record.fields:
            return  # no daemon has begun with it: nothing of it runs
        fields = record.fields
        runs = tuple(waiting.tasks_of(fields))
        unfinished = store.ids(Filter(ids=runs, states=UNFINISHED), len(runs)) if runs else []
        if unfinished or waiting.may_be_stored_yet(fields, now) or waiting.is_begun(fields):
            holder = (
                f"its task {unfinished[0]} is not finished" if unfinished else "a run of it is being stored"
            )
            raise StoreError(
                f"schedule {schedule.name}: {holder}, and overlap is queue, one at a time; "
                "wait for its end, or `monqbus cancel` it"
            )
        if waiting.waiting_of(fields):
            raise StoreError(f"schedule {schedule.name}: ticks wait, and overlap is queue; they run first")
        if store.keep_records([replace(record, fields=waiting.run_now(fields, ids, now))]) == [True]:
            return
    raise StoreError(f"schedule {schedule.name}: others change its record at the same moment; try again")
