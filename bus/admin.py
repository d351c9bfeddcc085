"""Every operator action on the queue. CLI, API and dashboard call it and add only presentation.

Bulk actions go one page a call, so that a million tasks never stand in memory, the store is never
held for long, and whoever asks can show how far it is: call again with `last` until it is None.
A page holds at most *most* tasks, and never more than PAGE.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from bson import ObjectId

from .clock import Clock
from .errors import NotFound
from .model import (
    BUSY,
    COMPLETE,
    ERROR,
    MOST_VALUES,
    READY,
    SKIPPED,
    Event,
    Filter,
    MonQTask,
    State,
    ready_again,
)
from .store import Store
from .telemetry import emit

PAGE = 500
NOBODYS_NAME = "-"  # registry.NAME does not allow it
ENDED_STATES: tuple[State, ...] = (COMPLETE, ERROR, SKIPPED)


class Step(NamedTuple):
    """*done* tasks were changed by one page of a bulk action; *last* is where the next one begins."""

    done: int
    last: ObjectId | None


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

    def find(self, which: Filter, limit: int, before: ObjectId | None = None) -> list[MonQTask]:
        """Tasks that match, newest first: one page, which ends as in Store.find, of brief tasks."""
        return self._store.find(self._resolved(which), limit, before, brief=True)

    def count(self, which: Filter) -> dict[str, int]:
        """How many tasks match, by state."""
        return self._store.count(self._resolved(which))

    def show(self, task_id: ObjectId) -> MonQTask:
        """One task with everything that is stored. Raises NotFound."""
        if (task := self._store.get(task_id)) is None:
            if self._store.event(task_id) is not None:
                raise NotFound(f"task {task_id}: that is an event; `monqbus events show {task_id}` shows it")
            raise NotFound(f"task {task_id}: not found; ended tasks are forgotten after their keep time")
        return task

    def event(self, event_id: ObjectId) -> Event:
        """One event. Raises NotFound."""
        if (event := self._store.event(event_id)) is None:
            raise NotFound(f"event {event_id}: not found; events are forgotten after keep_events")
        return event

    def retry(self, which: Filter, last: ObjectId | None = None, most: int = PAGE) -> Step:
        """Give failed and skipped tasks that match a fresh start.

        A task whose key another unfinished task holds stays as it is.
        """
        forgotten = ("result", "output", "progress", "time_start", "time_stop", "expire_at")
        fields = ready_again(0, time_queue=self._clock.now(), crashes=0, **dict.fromkeys(forgotten))
        step = self._move(which, (ERROR, SKIPPED), fields, last, most)
        if step.done:
            self._wake()
        return step

    def cancel(self, which: Filter, last: ObjectId | None = None, most: int = PAGE) -> Step:
        """Skip ready and busy tasks that match. A running one is interrupted."""
        now = self._clock.now()
        fields = {
            "state": SKIPPED,
            "result": "cancelled by an operator",
            "time_stop": now,
            "expire_at": now + self.keep_failed,
        }
        return self._move(which, (READY, BUSY), fields, last, most)

    def purge(self, which: Filter, last: ObjectId | None = None, most: int = PAGE) -> Step:
        """Forget ended tasks that match; never a ready or busy one."""
        ids = self._page(which, ENDED_STATES, last, most)
        return Step(self._store.delete(ids, ENDED_STATES) if ids else 0, _end_of(ids, most))

    def _move(
        self,
        which: Filter,
        states: tuple[State, ...],
        fields: dict[str, Any],
        last: ObjectId | None,
        most: int,
    ) -> Step:
        ids = self._page(which, states, last, most)
        moved = self._store.move(ids, states, fields) if ids else 0
        if moved:
            emit("task.moved", to=fields["state"], count=moved)
        if ids and fields["state"] == SKIPPED and self._withdraw is not None:
            self._withdraw(ids)
        return Step(moved, _end_of(ids, most))

    def _page(
        self, which: Filter, allowed: tuple[State, ...], last: ObjectId | None, most: int
    ) -> list[ObjectId]:
        states = tuple(state for state in which.states or allowed if state in allowed)
        if not states:
            return []
        return self._store.ids(
            self._resolved(dataclasses.replace(which, states=states)), min(most, PAGE), last
        )

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


def _end_of(ids: list[ObjectId], most: int) -> ObjectId | None:
    """Where the next page begins; a page that is not full was the last one."""
    return ids[-1] if ids and len(ids) == min(most, PAGE) else None
