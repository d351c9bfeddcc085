"""Every operator action on the queue. CLI, API and dashboard call it and add only presentation.

Bulk actions go one page a call, so that a million tasks never stand in memory, the store is never
held for long, and whoever asks can show how far it is: call again with `cursor` until it is None.
A page holds at most *limit* tasks, and never more than PAGE.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, get_args

from bson import ObjectId

from .clock import Clock
from .delivery_record import Delivery, DeliveryFilter, accepted
from .errors import NotFound
from .model import (
    BUSY,
    COMPLETE,
    ERROR,
    MOST_VALUES,
    READY,
    SKIPPED,
    Event,
    EventFilter,
    Filter,
    MonQTask,
    State,
    fresh_start,
)
from .store import Store
from .store.contract import CountedBy
from .telemetry import emit

PAGE = 500
NOBODYS_NAME = "-"  # registry.NAME does not allow it
COUNTED_BY = get_args(CountedBy)
ENDED_STATES: tuple[State, ...] = (COMPLETE, ERROR, SKIPPED)
MOVABLE: Mapping[str, tuple[State, ...]] = {
    "retry": (ERROR, SKIPPED),
    "cancel": (READY, BUSY),
    "purge": ENDED_STATES,
}
"""The states of the tasks that each action changes."""


class Step(NamedTuple):
    """*done* tasks were changed by one page of a bulk action; *cursor* is where the next one begins."""

    done: int
    cursor: ObjectId | None


class Admin:
    """See and steer the tasks of one store.

    *withdraw* interrupts those of the ids that run in this process; *wake* lets the claimer look;
    *known* is asked for the task names that are declared, to tell which tasks are parked.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        keep_failed: timedelta = timedelta(days=30),
        withdraw: Callable[[list[ObjectId]], None] | None = None,
        wake: Callable[[], None] | None = None,
        known: Callable[[], Container[str]] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self.keep_failed = keep_failed
        self._withdraw = withdraw
        self._wake = wake or store.ring
        self._known = known

    def find(self, which: Filter, limit: int, cursor: ObjectId | None = None) -> list[MonQTask]:
        """Tasks that match, newest first: one page, which ends as in Store.find, of brief tasks."""
        return self._store.find(self._resolved(which), limit, cursor, brief=True)

    def count(self, which: Filter, by: CountedBy = "state") -> dict[str, int]:
        """How many tasks match, by state or by name."""
        return self._store.count(self._resolved(which), by)

    def show(self, task_id: ObjectId) -> MonQTask:
        """One task with everything that is stored. Raises NotFound."""
        if (task := self._store.get(task_id)) is None:
            if self._store.event(task_id) is not None:
                raise NotFound(f"task {task_id}: that is an event; `monqbus events show {task_id}` shows it")
            raise NotFound(f"task {task_id}: not found; ended tasks are forgotten after their keep time")
        return task

    def events(self, which: EventFilter, limit: int, cursor: ObjectId | None = None) -> list[Event]:
        """Events that match, newest first: one page, which ends as in Store.events."""
        return self._store.events(limit, cursor, which)

    def event(self, event_id: ObjectId) -> Event:
        """One event. Raises NotFound."""
        if (event := self._store.event(event_id)) is None:
            raise NotFound(f"event {event_id}: not found; events are forgotten after keep_events")
        return event

    def deliveries(self, which: DeliveryFilter, limit: int, cursor: ObjectId | None = None) -> list[Delivery]:
        """Deliveries that match, newest first, of events and records, without bodies.

        Only *limit* ends a page; *cursor* continues behind the last one of it.
        """
        of_events = which.of_events
        events: list[Delivery] = []
        if of_events is not None:

            def page_of_events(most: int, behind: ObjectId | None) -> list[Delivery]:
                return [accepted(event) for event in self._store.events(most, behind, of_events)]

            events = _filled(page_of_events, limit, cursor)
        records: list[Delivery] = []
        if which.has_records:

            def page_of_records(most: int, behind: ObjectId | None) -> list[Delivery]:
                found = self._store.deliveries(which, most, behind)
                return [dataclasses.replace(one, body=b"") for one in found]

            records = _filled(page_of_records, limit, cursor)
        return sorted([*events, *records], key=lambda one: str(one.id), reverse=True)[:limit]

    def delivery(self, delivery_id: ObjectId) -> Delivery:
        """One delivery, by the id of its event or record. Raises NotFound."""
        if (record := self._store.delivery(delivery_id)) is not None:
            return record
        event = self._store.event(delivery_id)
        if event is None or not event.is_delivery:
            raise NotFound(
                f"delivery {delivery_id}: not found; accepted ones are forgotten after keep_events, others "
                "after keep_deliveries or when there are more than delivery_log"
            )
        return accepted(event)

    def retry(self, which: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """Give failed and skipped tasks that match a fresh start.

        A task whose key another unfinished task holds stays as it is.
        """
        fields = fresh_start(self._clock.now(), crashes=0)
        step = self._move(which, MOVABLE["retry"], fields, cursor, limit)
        if step.done:
            self._wake()
        return step

    def cancel(self, which: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """Skip ready and busy tasks that match. A running one is interrupted."""
        now = self._clock.now()
        fields = {
            "state": SKIPPED,
            "result": "cancelled by an operator",
            "time_stop": now,
            "expire_at": now + self.keep_failed,
        }
        return self._move(which, MOVABLE["cancel"], fields, cursor, limit)

    def purge(self, which: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """Forget ended tasks that match; never a ready or busy one."""
        ids = self._page(which, MOVABLE["purge"], cursor, limit)
        return Step(self._store.delete(ids, ENDED_STATES) if ids else 0, _end_of(ids, limit))

    def _move(
        self,
        which: Filter,
        states: tuple[State, ...],
        fields: dict[str, Any],
        cursor: ObjectId | None,
        limit: int,
    ) -> Step:
        ids = self._page(which, states, cursor, limit)
        moved = self._store.move(ids, states, fields) if ids else 0
        if moved:
            emit("task.moved", to=fields["state"], count=moved)
        if ids and fields["state"] == SKIPPED and self._withdraw is not None:
            self._withdraw(ids)
        return Step(moved, _end_of(ids, limit))

    def _page(
        self, which: Filter, allowed: tuple[State, ...], cursor: ObjectId | None, limit: int
    ) -> list[ObjectId]:
        meant = narrowed(which, allowed)
        return [] if meant is None else self._store.ids(self._resolved(meant), min(limit, PAGE), cursor)

    def backup(self, path: Path) -> None:
        """Write the whole store to the new file *path* while the work goes on; see Store.backup."""
        self._store.backup(path)

    def _resolved(self, which: Filter) -> Filter:
        """*which* with the names of parked tasks in place of the word."""
        if not which.parked:
            return which
        known = self._known() if self._known else None
        parked = [] if known is None else [name for name in self._store.waiting() if name not in known]
        # without a name everything would match; of so many names that no filter holds them, some do
        names = tuple(parked[:MOST_VALUES]) or (NOBODYS_NAME,)
        return dataclasses.replace(which, parked=False, states=(READY,), names=names)


def narrowed(which: Filter, allowed: tuple[State, ...]) -> Filter | None:
    """*which* among the *allowed* states alone; None when it names none of them."""
    states = tuple(state for state in which.states or allowed if state in allowed)
    return dataclasses.replace(which, states=states) if states else None


def _filled(
    find: Callable[[int, ObjectId | None], list[Delivery]], limit: int, cursor: ObjectId | None
) -> list[Delivery]:
    """What *find* finds up to *limit*, of as many pages as that takes: a store ends them by their bytes."""
    found: list[Delivery] = []
    while len(found) < limit and (page := find(limit - len(found), cursor)):
        found += page
        cursor = page[-1].id
    return found


def _end_of(ids: list[ObjectId], limit: int) -> ObjectId | None:
    """Where the next page begins; a page that is not full was the last one."""
    return ids[-1] if ids and len(ids) == min(limit, PAGE) else None
