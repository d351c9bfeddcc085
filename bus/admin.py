"""Every operator action on the queue, and what operators ask. Who may, and the audit, are `operations`.

Bulk actions go one page a call, so that a million tasks never stand in memory, the store is never
held for long, and whoever asks can show how far it is: call again with `cursor` until it is None.
A page holds at most *limit* tasks, and never more than PAGE.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from bson import ObjectId

from .clock import UTC, Clock, whole_ms
from .delivery_record import Delivery, DeliveryFilter, accepted
from .errors import BadFilter, NotFound, StoreError
from .failures import Failure, grouped
from .filter_checks import MOST_VALUES
from .limits import KIND as RATE
from .limits import UNTIL, Limit
from .model import (
    BUSY,
    COMPLETE,
    ERROR,
    READY,
    SKIPPED,
    Event,
    EventFilter,
    Filter,
    MonQTask,
    Record,
    State,
    fresh_start,
)
from .pauses import HOOK, SCHEDULE, TASK, Pause, What, counted, covering, pauses_of, require
from .pauses import KIND as PAUSE
from .presentation import plain
from .schedules import KIND, Schedule, next_moments
from .schedules.waiting import waiting_of
from .store import Store
from .store.contract import Backlog, CountedBy
from .telemetry import emit

Found = TypeVar("Found", MonQTask, Delivery)
PAGE = 500
SIBLINGS = 100
NEXT_MOMENTS = 3
TRIES = 5
MOST_NAMED = 5
NOBODYS_NAME = "-"  # TASK_NAME does not allow it
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


class ScheduleState(NamedTuple):
    """A declared schedule: its *target*, what it comes at, its *next* moments, and how the *last* tick ended.

    *outcome* has the states of the last tick's tasks, or says that there are none any more; *waiting* is how
    many ticks wait for its end.
    """

    name: str
    target: str
    moments: str
    next: list[datetime]
    last: datetime | None
    outcome: str
    where: str
    waiting: int = 0


class PauseState(NamedTuple):
    """A pause that holds, and how many ready tasks it holds up; None for one of schedules."""

    pause: Pause
    ready: int | None


class Admin:
    """See and steer the tasks of one store.

    *withdraw* interrupts those of the ids that run in this process; *wake* lets the claimer look;
    *known* is asked for the task names that are declared, to tell which tasks are parked, *schedules* for
    the declared schedules. *paused* is called when pauses have changed, before anybody is told of it.
    *tasks_of_hook* has the names of those that a pause of a hook holds up, or raises BadFilter.
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
        schedules: Callable[[], Mapping[str, Schedule]] = dict,
        paused: Callable[[], object] = lambda: None,
        tasks_of_hook: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        self._store = store
        self._clock = clock
        self.keep_failed = keep_failed
        self._withdraw = withdraw
        self._wake = wake or store.ring
        self._known = known
        self._schedules = schedules
        self._paused = paused
        self._tasks_of_hook = tasks_of_hook

    def find(self, filter: Filter, limit: int, cursor: ObjectId | None = None) -> list[MonQTask]:
        """Tasks that match, newest first: one page, which ends as in Store.find, of brief tasks."""
        return self._store.find(self._resolved(filter), limit, cursor, brief=True)

    def count(self, filter: Filter, by: CountedBy = "state") -> dict[str, int]:
        """How many tasks match, by state or by name."""
        return self._store.count(self._resolved(filter), by)

    def count_up_to(self, filter: Filter, most: int) -> int:
        """How many tasks match, counted up to *most*: what looks often must not read a million ids."""
        counted, cursor, which = 0, None, self._resolved(filter)
        while counted < most:
            page = self._store.ids(which, min(most - counted, PAGE), cursor)
            counted += len(page)
            if len(page) < PAGE:
                break
            cursor = page[-1]
        return counted

    def waiting(self) -> dict[str, Backlog]:
        """What is ready, due or not, under each task name; read from an index."""
        return self._store.waiting()

    def daemons(self) -> list[str]:
        """What the daemons of a shared store are called, those whose lease has not ended."""
        return sorted(one.process for one in self._store.instances()) if self._store.shared else []

    def failures(self, filter: Filter, most: int) -> tuple[list[Failure], int]:
        """The newest *most* failed tasks that match, by handler and error; and how many were looked at."""
        meant = narrowed(filter, (ERROR,))
        if meant is None:
            return [], 0
        found = _filled(lambda limit, cursor: self.find(meant, limit, cursor), most, None)
        return grouped(found), len(found)

    def siblings(self, task: MonQTask) -> list[MonQTask]:
        """The other stored tasks of the event that *task* comes from; at most SIBLINGS."""
        event = self._store.event(task.event_id) if task.event_id is not None else None
        ids = tuple(one for one in event.task_ids if one != task.id)[:SIBLINGS] if event else ()
        return self._store.find(Filter(ids=ids), SIBLINGS, brief=True) if ids else []

    def tasks_of(self, event: Event) -> list[MonQTask]:
        """The tasks of *event* that are stored; at most SIBLINGS."""
        ids = tuple(event.task_ids[:SIBLINGS])
        return self._store.find(Filter(ids=ids), SIBLINGS, brief=True) if ids else []

    def show(self, task_id: ObjectId) -> MonQTask:
        """One task with everything that is stored. Raises NotFound."""
        if (task := self._store.get(task_id)) is None:
            if self._store.event(task_id) is not None:
                raise NotFound(f"task {task_id}: that is an event; `monqbus events show {task_id}` shows it")
            raise NotFound(f"task {task_id}: not found; ended tasks are forgotten after their keep time")
        return task

    def held_up(self, task: MonQTask, limit: Limit | None) -> str:
        """What keeps a ready *task* from beginning: its serial key or the *limit* of its name; "" if none."""
        if task.serial is not None:
            holder = self._store.line(task.serial, 0).holds
            if holder is not None and holder != task.id:
                return f"behind task {holder}, which has the same serial key"
        if task.time_queue > self._clock.now():
            return ""
        return "" if limit is None else self._limited(task.task_name, limit)

    def _limited(self, name: str, limit: Limit) -> str:
        if limit.most is not None:
            running = self._store.ids(Filter(names=(name,), states=(BUSY,)), limit.most)
            if len(running) >= limit.most:
                named = ", ".join(map(str, running[:MOST_NAMED]))
                more = ", …" if len(running) > MOST_NAMED else ""
                return f"max_concurrent: {len(running)} of {limit.most} run: {named}{more}"
        if limit.every is None:
            return ""
        now = self._clock.now().timestamp()
        fields = {record.name: record.fields for record in self._store.records(RATE)}.get(name, {})
        until = limit.seen(fields.get(UNTIL), now)
        ahead = limit.opens(until) / 1000 - now
        return "" if limit.starts(until, now) else f"rate: the next one begins in {ahead:.1f} s"

    def events(self, filter: EventFilter, limit: int, cursor: ObjectId | None = None) -> list[Event]:
        """Events that match, newest first: one page, which ends as in Store.events."""
        return self._store.events(limit, cursor, filter)

    def event(self, event_id: ObjectId) -> Event:
        """One event. Raises NotFound."""
        if (event := self._store.event(event_id)) is None:
            raise NotFound(f"event {event_id}: not found; events are forgotten after keep_events")
        return event

    def deliveries(
        self, filter: DeliveryFilter, limit: int, cursor: ObjectId | None = None
    ) -> list[Delivery]:
        """Deliveries that match, newest first, of events and records, without bodies.

        Only *limit* ends a page; *cursor* continues behind the last one of it.
        """
        of_events = filter.of_events
        events: list[Delivery] = []
        if of_events is not None:

            def page_of_events(most: int, behind: ObjectId | None) -> list[Delivery]:
                return [accepted(event) for event in self._store.events(most, behind, of_events)]

            events = _filled(page_of_events, limit, cursor)
        records: list[Delivery] = []
        if filter.has_records:

            def page_of_records(most: int, behind: ObjectId | None) -> list[Delivery]:
                found = self._store.deliveries(filter, most, behind)
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

    def schedules(self) -> list[ScheduleState]:
        """Every declared schedule, by name."""
        records = {record.name: record for record in self._store.records(KIND)}
        return [
            self._state_of(schedule, records.get(name))
            for name, schedule in sorted(self._schedules().items())
        ]

    def _state_of(self, schedule: Schedule, record: Record | None) -> ScheduleState:
        fields = record.fields if record is not None else {}
        last = fields.get("last")
        return ScheduleState(
            schedule.name,
            f"task {schedule.task}" if schedule.task else f"topic {schedule.topic}",
            schedule.moments.text,
            next_moments(schedule.moments, self._clock.now(), NEXT_MOMENTS),
            last if isinstance(last, datetime) else None,
            self._outcome(fields.get("last_tasks")) if last else "",
            schedule.where,
            len(waiting_of(fields)),
        )

    def _outcome(self, ids: object) -> str:
        found = (
            [self._store.get(one) for one in ids if isinstance(one, ObjectId)]
            if isinstance(ids, list)
            else []
        )
        states = sorted({task.state for task in found if task is not None})
        return ", ".join(states) or ("forgotten" if found else "no task")

    def pauses(self) -> list[PauseState]:
        """The pauses that hold, by name, those of schedules first."""
        found = self._pauses_now()
        backlogs = self._store.waiting() if any(pause.what != SCHEDULE for pause in found) else {}
        waiting = {name: backlog.depth for name, backlog in backlogs.items()}
        return [
            PauseState(pause, counted([pause], waiting) if pause.what != SCHEDULE else None)
            for pause in found
        ]

    def paused(self, task_name: str) -> Pause | None:
        """The pause that holds up the tasks of this name."""
        return covering(self._pauses_now(), TASK, task_name)

    def count_paused(self, filter: Filter) -> int:
        """How many ready tasks that match are held up by pauses."""
        pauses, meant = self._pauses_now(), narrowed(filter, (READY,))
        return counted(pauses, self.count(meant, "name")) if pauses and meant is not None else 0

    def pause(
        self, what: What, name: str, reason: str, *, until: datetime | None = None, by: str = ""
    ) -> Pause:
        """Hold up tasks, or schedules, by a name with wildcards, or a hook; durable when it returns.

        Safe to repeat: one that is paused already keeps its beginning and gets this reason and end. Raises
        BadFilter for what cannot be, StoreError when others change the same pause all the time.
        """
        require(what, name, reason)
        tasks = tuple(self._tasks_of_hook(name)) if what == HOOK else ()
        now = self._clock.now()
        until = _end(until, now)
        for _ in range(TRIES):
            stored = self._stored_pause(what, name)
            is_on = stored is not None and not stored.is_over(now)
            since = stored.since if stored is not None and is_on else now
            version = stored.version if stored is not None else 0
            pause = Pause(what, name, reason, since or now, until, by, version, tasks)
            if self._store.keep_records([pause.record]) == [True]:
                self._paused()
                return dataclasses.replace(pause, version=version + 1)
        raise _contended(what, name)

    def resume(self, what: What, name: str) -> Pause:
        """End the pause of just this name; durable when it returns.

        Raises NotFound, which names the pause that holds these tasks up where another one does.
        """
        for _ in range(TRIES):
            if (pause := self._stored_pause(what, name)) is None:
                raise self._no_pause(what, name)
            if self._store.keep_records([dataclasses.replace(pause.record, fields={})]) == [True]:
                self._paused()
                return pause
        raise _contended(what, name)

    def _no_pause(self, what: What, name: str) -> NotFound:
        asked = Pause(what, name, "").title
        wider = covering(self._pauses_now(), what, name)
        remedy = f"it is paused as {wider.title}; resume that" if wider else "`monqbus pauses` lists what is"
        return NotFound(f"{asked}: no pause of this name; {remedy}")

    def _pauses_now(self) -> list[Pause]:
        now = self._clock.now()
        return [pause for pause in pauses_of(self._store.records(PAUSE)) if not pause.is_over(now)]

    def _stored_pause(self, what: What, name: str) -> Pause | None:
        stored = pauses_of(self._store.records(PAUSE))
        return next((pause for pause in stored if (pause.what, pause.name) == (what, name)), None)

    def retry(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """Give failed and skipped tasks that match a fresh start.

        A task whose key another unfinished task holds stays as it is.
        """
        fields = fresh_start(self._clock.now(), crashes=0)
        step = self._move(filter, MOVABLE["retry"], fields, cursor, limit)
        if step.done:
            self._wake()
        return step

    def cancel(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """Skip ready and busy tasks that match. A running one is interrupted."""
        now = self._clock.now()
        fields = {
            "state": SKIPPED,
            "result": "cancelled by an operator",
            "time_stop": now,
            "expire_at": now + self.keep_failed,
        }
        return self._move(filter, MOVABLE["cancel"], fields, cursor, limit)

    def purge(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """Forget ended tasks that match; never a ready or busy one."""
        ids = self._page(filter, MOVABLE["purge"], cursor, limit)
        return Step(self._store.delete(ids, ENDED_STATES) if ids else 0, _end_of(ids, limit))

    def _move(
        self,
        filter: Filter,
        states: tuple[State, ...],
        fields: dict[str, Any],
        cursor: ObjectId | None,
        limit: int,
    ) -> Step:
        ids = self._page(filter, states, cursor, limit)
        moved = self._store.move(ids, states, fields) if ids else 0
        if moved:
            emit("task.moved", to=fields["state"], count=moved)
        if ids and fields["state"] == SKIPPED and self._withdraw is not None:
            self._withdraw(ids)
        return Step(moved, _end_of(ids, limit))

    def _page(
        self, filter: Filter, allowed: tuple[State, ...], cursor: ObjectId | None, limit: int
    ) -> list[ObjectId]:
        meant = narrowed(filter, allowed)
        return [] if meant is None else self._store.ids(self._resolved(meant), min(limit, PAGE), cursor)

    def backup(self, path: Path) -> None:
        """Write the whole store to the new file *path* while the work goes on; see Store.backup."""
        self._store.backup(path)

    def _resolved(self, filter: Filter) -> Filter:
        """*filter* with the names of parked tasks in place of the word."""
        if not filter.parked:
            return filter
        known = self._known() if self._known else None
        parked = [] if known is None else [name for name in self._store.waiting() if name not in known]
        # without a name everything would match; of so many names that no filter holds them, some do
        names = tuple(parked[:MOST_VALUES]) or (NOBODYS_NAME,)
        return dataclasses.replace(filter, parked=False, states=(READY,), names=names)


def _end(until: datetime | None, now: datetime) -> datetime | None:
    """*until* as it is stored. Raises BadFilter for one that is no moment to come."""
    if until is None:
        return None
    try:
        end = whole_ms(until.astimezone(UTC))
    except (OverflowError, ValueError) as error:
        raise BadFilter(f"until: expected a moment of the years 1 to 9999 in UTC, got {until}") from error
    if end <= now:
        raise BadFilter(f"until: expected a moment that is to come, got {plain(end)}; it is {plain(now)}")
    return end


def _contended(what: What, name: str) -> StoreError:
    title = Pause(what, name, "").title
    return StoreError(f"{title}: others change this pause at the same moment; try again")


def narrowed(filter: Filter, allowed: tuple[State, ...]) -> Filter | None:
    """*filter* among the *allowed* states alone; None when it names none of them."""
    states = tuple(state for state in filter.states or allowed if state in allowed)
    return dataclasses.replace(filter, states=states) if states else None


def why_not(verb: str, task: MonQTask) -> str:
    """Why *verb*, which is `retry`, `cancel` or `purge`, leaves *task* as it is, and what does help."""
    if task.state in MOVABLE[verb]:
        return f"task {task.id}: {verb} left it as it is; another unfinished task has its key, or it changed"
    means = {
        (READY, "retry"): "it waits to run already; `monqbus show` says for what",
        (BUSY, "retry"): "it runs; `monqbus cancel` it first, or wait for its end",
        (COMPLETE, "retry"): "it has done its work; `monqbus post` runs the function again",
        (READY, "purge"): "`monqbus cancel` it first",
        (BUSY, "purge"): "`monqbus cancel` it first",
    }
    remedy = means.get((task.state, verb), "it has ended")
    expected = " or ".join(MOVABLE[verb])
    return f"task {task.id}: {verb} expects one that is {expected}, got one that is {task.state}; {remedy}"


def _filled(
    find: Callable[[int, ObjectId | None], list[Found]], limit: int, cursor: ObjectId | None
) -> list[Found]:
    """What *find* finds up to *limit*, of as many pages as that takes: a store ends them by their bytes."""
    found: list[Found] = []
    while len(found) < limit and (page := find(limit - len(found), cursor)):
        found += page
        cursor = page[-1].id
    return found


def _end_of(ids: list[ObjectId], limit: int) -> ObjectId | None:
    """Where the next page begins; a page that is not full was the last one."""
    return ids[-1] if ids and len(ids) == min(limit, PAGE) else None
