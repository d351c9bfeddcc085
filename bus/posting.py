"""Everything that brings work in: post a task, publish an event, deliver a webhook.

Every path ends in one durable write. When the process has a free slot and nothing waits, the write
already says `busy` and the task begins at once (direct start): two steps and a commit less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from bson import ObjectId

from .apps.calls import Announcement, Batch, Posted, Published, announcement, prepare
from .apps.context import capture
from .apps.options import Options
from .apps.registry import Registry
from .apps.takers import no_taker, require_let_through, takers
from .clock import Clock
from .config import Hook, nearest_name
from .direct_start import DirectStart, new_of, stored_of
from .errors import NotFound, StoreError, StoreUnavailable
from .joining import await_end
from .model import UNREAD, Event, MonQTask, Posting, Receipt
from .repetition import is_repetition, repeat
from .schedule_run import make_room
from .schedules import KIND as SCHEDULE_KIND
from .schedules import Schedule
from .starter import Spooler, Starter
from .store import Store
from .store.documents import later, unclaimed
from .store.fields import is_about_task_ids
from .telemetry import emit

MOST_NAMED: Final = 5
EVENTS_A_TURN: Final = 32
NEXT_TURN_SECONDS: Final = 1e-9  # not 0: gevent would go on in the same turn
MOST_COMPARED: Final = 256
"""Topics without handlers that are compared with those of the apps: each costs a millisecond, once."""


One = TypeVar("One")
Tick = tuple[Schedule, datetime]
"""A schedule and one of its moments."""


class PostOffice:
    """Implements poster.Poster on a store of this process.

    *starter* is there only in the daemon, *spooler* only where a spool is configured. *keep_events*
    is how long an event is remembered, and with it the delivery id by which a repeated delivery is
    recognised. *hooks* are asked for their rules when a stored delivery is replayed; *pause* is called while
    a long body is parsed for rules.
    """

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        clock: Clock,
        *,
        keep_events: timedelta = timedelta(days=30),
        hooks: Callable[[], Mapping[str, Hook]] = dict,
        pause: Callable[[], object] = lambda: None,
        starter: Starter | None = None,
        spooler: Spooler | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._keep_events = keep_events
        self._hooks = hooks
        self._pause = pause
        self._direct = DirectStart(store, clock, starter)
        self._spooler = spooler
        self._near_in: Registry | None = None
        self._compared: dict[str, str] = {}

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        """Store one task and return it; an unfinished task with the same key is returned instead."""
        return self.submit(prepare(self._clock, name, args, kwargs, options, capture()))

    def prepare_named(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        changes: Mapping[str, Any],
        context: Mapping[str, Any] | None = None,
        *,
        check: bool = True,
    ) -> MonQTask:
        """The task of a call by name, not yet stored, with the options that are declared, but *changes*.

        Raises NotStorable, BadDeclaration; with *check* BadCall, unless the declared function takes it.
        """
        declared = self._registry().tasks.get(name)
        if check and declared:
            declared.expect(args, kwargs)
        options = (declared.defaults if declared else Options()).but(changes)
        return prepare(self._clock, name, args, kwargs, options, capture() if context is None else context)

    def post_named(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> Posted:
        """Store the task of `prepare_named`."""
        return self.told(self.submit(self.prepare_named(name, args, kwargs, changes)), name)

    def told(self, task: MonQTask, name: str) -> Posted:
        """*task*, which was posted as *name*, with what is known of that name."""
        known = self._registry().tasks
        return Posted(task, name in known, "" if name in known else nearest_name(name, known))

    def submit(self, task: MonQTask) -> MonQTask:
        """Store a prepared task; one of the same id again changes nothing, and the first is returned."""
        receipt = self._direct.store(Posting([task]))
        if receipt.duplicate or receipt.repeated:
            task = self._store.get(receipt.task_ids[0]) or task
        else:
            emit("task.posted", task=task)
        task.waiter = self.join
        return task

    def publish(
        self,
        topic: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        context: Mapping[str, Any] | None = None,
        event_id: ObjectId | None = None,
    ) -> Receipt:
        """Store one event and one task for each handler of *topic*, called `(topic, *args, **kwargs)`.

        They run in *context*, that of the caller where none is given. Under an *event_id* it is stored once.
        Raises NotStorable.
        """
        made = announcement(self._clock, topic, args, kwargs, capture() if context is None else context)
        event = made.event
        event.id = event_id or event.id
        return self._fan_out(event, [topic, *event.args], event.kwargs, made.context)

    def publish_named(
        self,
        topic: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        context: Mapping[str, Any] | None = None,
        event_id: ObjectId | None = None,
    ) -> Published:
        """As `publish`, with the topic that was meant where this one has no handler."""
        receipt = self.publish(topic, args, kwargs, context=context, event_id=event_id)
        if receipt.task_ids or self._registry().handlers_of(topic):
            return Published(receipt, is_filtered=not receipt.task_ids)
        return Published(receipt, nearest_name(topic, self._registry().topics))

    def deliver(self, event: Event) -> Receipt:
        """Store a verified delivery and one task for each handler, called `(topic, event)`.

        A delivery that is stored already answers with the ids of the first time; if nobody handled it
        then, with those of the tasks that it gets now. Those of its tasks that ended in error wait again,
        where the event's `on_duplicate` says so.
        """
        return self._repeated(event, self._fan_out(event, [event.topic], {}, capture()))

    def deliver_all(self, events: Sequence[Event]) -> list[Receipt]:
        """As `deliver`, for several deliveries in one call of the store: one durable write.

        Other greenlets go on before and after it, between each EVENTS_A_TURN of many.
        """
        context = capture()
        postings = [self._posting(event, [event.topic], {}, context) for event in self._in_turns(events)]
        receipts = self._store_or_spool(postings)
        for event, posting, receipt in self._in_turns(list(zip(events, postings, receipts, strict=True))):
            self._tell_of_event(event, posting.tasks, receipt)
        return [self._repeated(event, receipt) for event, receipt in zip(events, receipts, strict=True)]

    def _repeated(self, event: Event, receipt: Receipt) -> Receipt:
        """The *receipt* of *event*; of a repetition, after what had failed was given another start."""
        # while the store is away, so that a spool knows the first one, nothing of it can have failed
        is_away = self._spooler is not None and self._spooler.is_open
        if is_away or not is_repetition(event, receipt):
            return receipt
        receipt, waiting = repeat(self._store, event, receipt, self._clock.now())
        if waiting:
            self._direct.let_wait(waiting)
        return receipt

    def _in_turns(self, many: Sequence[One]) -> Iterator[One]:
        """Each of *many*; whoever waits for its turn has one in between."""
        for place, one in enumerate(many, 1):
            yield one
            if place % EVENTS_A_TURN == 0:
                self._clock.sleep(NEXT_TURN_SECONDS)

    @property
    def clock(self) -> Clock:
        """The queue's time."""
        return self._clock

    def store(self, batch: Batch) -> None:
        """Store all of *batch* in one call: all or none of it in the embedded store; see `take_over`.

        One with a session becomes a part of the transaction that runs in it, and is told of and looked for
        when that has been committed. Raises as Store.post_within does.
        """
        if batch.session is not None:
            self._store_within(batch)
            return
        self.take_over([batch])
        for task in batch.tasks:
            task.waiter = self.join

    def take_over(self, batches: Sequence[Batch]) -> None:
        """Store *batches*, also those that other processes have left, in one call. Safe to repeat.

        A task whose key another one holds becomes that one. Raises as the store does: NotAccepted when one
        is refused, and the others may be stored.
        """
        postings = [posting for batch in batches for posting in self._postings(batch)]
        for posting, receipt in zip(postings, self._direct.store_all(postings), strict=True):
            self._tell(posting, receipt)

    def _tell(self, posting: Posting, receipt: Receipt) -> None:
        if posting.event is not None:
            self._tell_of_event(posting.event, posting.tasks, receipt)
        elif not receipt.repeated:
            _tell_of_tasks(posting.tasks, receipt)

    def _store_within(self, batch: Batch) -> None:
        # copies, as they are told of by their own ids, also when the caller's tasks have become others
        postings = self._postings(Batch([copy(task) for task in batch.tasks], batch.events))

        def committed() -> None:
            waiting = [
                task
                for posting, receipt in zip(postings, receipts, strict=True)
                for task in stored_of(posting.tasks, receipt)
            ]
            for posting, receipt in zip(postings, receipts, strict=True):
                self._tell(posting, receipt)
            for task in batch.tasks:
                task.waiter = self.join
            self._direct.let_wait(waiting)

        receipts = self._store.post_within(batch.session, postings, committed)
        for task, receipt in zip(batch.tasks, receipts, strict=False):  # behind them those of events
            task.id = receipt.task_ids[0]

    def _postings(self, batch: Batch) -> list[Posting]:
        """One for each task, so that it may begin at once, and one for each event with its tasks."""
        tasks = [Posting([task]) for task in batch.tasks]
        return [*tasks, *(self._announced(one) for one in batch.events)]

    def fire(self, ticks: Sequence[Tick]) -> list[Receipt]:
        """Store each of *ticks*, an event with its tasks, in one call. Safe to repeat, by whatever daemon.

        A tick that is stored already answers with the ids of the first time. Raises BadCall for a task that
        does not take the schedule's arguments.
        """
        postings = [self._tick(schedule, moment, schedule.key(moment)) for schedule, moment in ticks]
        receipts = self._direct.store_all(postings)
        for posting, receipt in zip(postings, receipts, strict=True):
            for task in new_of(posting, receipt):
                emit("task.posted", task=task)
        return receipts

    def fire_now(self, name: str, event_id: ObjectId | None = None) -> Receipt:
        """Store a tick of the schedule *name* that is not one of its moments. Raises NotFound, BadCall.

        Under an *event_id* it is stored once. Its schedule's `overlap` counts, `jitter` does not. With
        `queue` it raises StoreError while an earlier run goes on.
        """
        schedules = self._registry().schedules
        if (schedule := schedules.get(name)) is None:
            near = nearest_name(name, tuple(schedules))
            hint = f"did you mean {near}?" if near else "`monqbus schedules` lists them"
            raise NotFound(f"schedule {name}: not declared; {hint}")
        posting = self._tick(replace(schedule, jitter=0.0), self._clock.now(), None)
        if posting.event is not None and event_id is not None:
            posting.event.id = event_id
            for task in posting.tasks:
                task.event_id = event_id
        if schedule.is_queue and (event_id is None or self._store.event(event_id) is None):
            make_room(self._store, schedule, [task.id for task in posting.tasks], self._clock.now())
        receipt = self._direct.store(posting)
        for task in new_of(posting, receipt):
            emit("task.posted", task=task)
        return receipt

    def _tick(self, schedule: Schedule, moment: datetime, key: str | None) -> Posting:
        args, kwargs = list(schedule.args), dict(schedule.kwargs)
        event = announcement(self._clock, schedule.event_topic, args, kwargs, {}).event
        event.kind, event.key = SCHEDULE_KIND, key
        posting = self._posting(event, [event.topic, *args], kwargs, {})
        if schedule.task:
            task = self.prepare_named(schedule.task, args, kwargs, {}, {})
            task.event_id, task.topic = event.id, event.topic
            posting = posting._replace(tasks=[task])
            event.task_ids = [task.id]
        for task in posting.tasks:
            task.scheduled_for, task.time_queue = moment, moment + schedule.delay(moment)
            task.priority = task.priority if schedule.priority is None else schedule.priority
            if schedule.overlap == "skip":
                task.key = f"{SCHEDULE_KIND}:{schedule.name}:{task.task_name}"
        return posting

    def replay(self, event_id: ObjectId, first_id: ObjectId | None = None) -> Receipt:
        """Give an event that no handler took the handlers there are now, each with a task that waits.

        Asked again with the same *first_id*, that of its first task, it changes nothing. Raises NotFound,
        also when there is still no handler; StoreError when it has got tasks before, or cannot be read.
        """
        if (event := self._store.event(event_id)) is None:
            raise NotFound(f"event {event_id}: not found; events are forgotten after keep_events")
        if first_id is not None and event.task_ids[:1] == [first_id]:
            return Receipt(event.task_ids, event_id)
        if event.fault and not is_about_task_ids(event.fault):
            raise StoreError(f"event {event_id}: {event.fault}")
        require_let_through(event, self._hooks(), self._pause)
        tasks = self._tasks_for(event, [event.topic, *event.args], event.kwargs, {})
        if not tasks:
            raise no_taker(event, nearest_name(event.topic, self._registry().topics))
        tasks[0].id = first_id or tasks[0].id
        event.task_ids = [task.id for task in tasks]
        event.expire_at = later(event.expire_at, self._clock.now() + self._keep_events)
        (receipt,) = self._store.post([Posting(tasks, event)])
        if not receipt.replayed and receipt.task_ids != event.task_ids:
            known = ", ".join(map(str, receipt.task_ids[:MOST_NAMED]))
            raise StoreError(
                f"event {event_id}: expected one without tasks, got one that has {known}; "
                "`monqbus retry` runs a failed task again"
            )
        self._tell_replayed(event, tasks, receipt)
        self._direct.let_wait(tasks)
        return receipt

    def join(self, task: MonQTask, timeout: float | None) -> Any:
        """Block until *task* has ended; see MonQTask.join."""
        return await_end(self.look, task, timeout, self._clock)

    def look(self, task_id: ObjectId) -> MonQTask:
        """A task as it is stored now. Raises NotFound."""
        if (task := self._store.get(task_id)) is None:
            raise NotFound(f"task {task_id}: no longer stored; ended tasks are forgotten after a while")
        return task

    def _fan_out(
        self, event: Event, args: list[Any], kwargs: dict[str, Any], context: Mapping[str, Any]
    ) -> Receipt:
        posting = self._posting(event, args, kwargs, context)
        store = self._store_or_spool if event.is_delivery else self._direct.store_all
        (receipt,) = store([posting])
        self._tell_of_event(event, posting.tasks, receipt)
        return receipt

    def _announced(self, one: Announcement) -> Posting:
        event = one.event
        return self._posting(event, [event.topic, *event.args], event.kwargs, one.context)

    def _posting(
        self, event: Event, args: list[Any], kwargs: dict[str, Any], context: Mapping[str, Any]
    ) -> Posting:
        """*event* with a task for each of its handlers."""
        tasks = self._tasks_for(event, args, kwargs, context)
        event.parsed = UNREAD
        event.task_ids = [task.id for task in tasks]
        event.expire_at = event.received + self._keep_events
        return Posting(tasks, event)

    def _tell_of_event(self, event: Event, tasks: list[MonQTask], receipt: Receipt) -> None:
        if receipt.replayed:
            self._tell_replayed(event, tasks, receipt)
        elif receipt.repeated or receipt.event_id != event.id:
            emit("event.repeated", event=event, first=receipt.event_id)
        elif event.is_filtered and not event.is_test:
            emit("event.filtered", event=event, hook=event.hook or "")
        else:
            self._tell_received(event, tasks)

    def _tell_received(self, event: Event, tasks: list[MonQTask]) -> None:
        if tasks:
            emit("event.received", event=event)
            for task in tasks:
                emit("task.posted", task=task)
        elif event.is_test:
            emit("hook.tried", event=event)
        else:
            near = self._near(event.topic)
            emit("event.unhandled", event=event, **({"near": near} if near else {}))

    def _near(self, topic: str) -> str:
        """The topic with handlers that *topic* was probably meant to be; of the first topics alone.

        Senders may choose ever new ones, and their deliveries must not pay for it.
        """
        registry = self._registry()
        if registry is not self._near_in:
            self._near_in, self._compared = registry, {}
        if topic not in self._compared and len(self._compared) < MOST_COMPARED:
            self._compared[topic] = nearest_name(topic, registry.topics)
        return self._compared.get(topic, "")

    def _tasks_for(
        self, event: Event, args: list[Any], kwargs: dict[str, Any], context: Mapping[str, Any]
    ) -> list[MonQTask]:
        """One task for each handler that takes *event* now."""
        tasks: list[MonQTask] = []
        for handler in takers(event, self._registry().handlers_of(event.topic), self._pause):
            task = prepare(self._clock, handler.name, args, kwargs, handler.defaults, context)
            task.event_id, task.topic = event.id, event.topic
            if event.is_delivery:
                task.event = event
            tasks.append(task)
        return tasks

    def _tell_replayed(self, event: Event, tasks: list[MonQTask], receipt: Receipt) -> None:
        """Tell of those of *tasks* that an event without any has got; they were stored as ready."""
        emit("event.replayed", event=event, first=receipt.event_id)
        for task in stored_of(tasks, receipt):
            emit("task.posted", task=unclaimed(task, receipt.event_id))

    def _store_or_spool(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Store deliveries; while the store is away, or others wait in the spool, let the spool keep them.

        The outcome of the store's try may be unknown: the spool gets the same ids, so that each is once.
        """
        spooler = self._spooler
        if spooler is None:
            return self._direct.store_all(postings)
        if not spooler.is_open:
            try:
                return self._direct.store_all(postings)
            except StoreUnavailable as error:
                spooler.begin(error)
        return [spooler.keep(_unclaimed(posting)) for posting in postings]


def _unclaimed(posting: Posting) -> Posting:
    """*posting* with its tasks as they wait, whatever was tried with them."""
    return Posting([unclaimed(task, task.event_id) for task in posting.tasks], posting.event)


def _tell_of_tasks(tasks: list[MonQTask], receipt: Receipt) -> None:
    for task, stored in zip(tasks, receipt.task_ids, strict=True):
        if task.id == stored:
            emit("task.posted", task=task)
        else:
            emit("task.merged", task=task, holder=stored)
            task.id = stored
