"""The verbs that bring work in: post a task, publish an event, deliver a webhook.

Every path ends in one durable write. When the process has a free slot and nothing waits, the write
already says `busy` and the task begins at once (direct start): two steps and a commit less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from bson import ObjectId

from .clock import Clock
from .codec import storable
from .context import capture
from .errors import JoinTimeout, NotFound, TaskFailed, TaskSkipped
from .model import (
    BUSY,
    COMPLETE,
    DEFAULT_PRIORITY,
    ENDED,
    SKIPPED,
    Event,
    MonQTask,
    Posting,
    Receipt,
    Worker,
)
from .registry import Options, Registry
from .store import Store
from .telemetry import emit

FIRST_LOOK_SECONDS = 0.01
SLOWEST_LOOK_SECONDS = 0.5


def prepare(  # noqa: PLR0917 - a call and all that surrounds it
    clock: Clock,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Options,
    context: Mapping[str, Any],
) -> MonQTask:
    """The MonQTask of one call, not yet stored. Raises NotStorable."""
    kept = storable(list(args), dict(kwargs), dict(context))
    return MonQTask(
        id=clock.new_id(),
        task_name=name,
        args=kept.args,
        kwargs=kept.kwargs,
        context=kept.context,
        time_queue=clock.now() + timedelta(seconds=options.delay),
        priority=DEFAULT_PRIORITY if options.priority is None else options.priority,
        result_type=options.result_type,
        max_attempts=options.max_attempts,
        timeout=options.timeout,
        key=options.key,
    )


class Starter(Protocol):
    """What can run a task of this process at once: the engine's claimer."""

    worker: Worker

    def claims(self, name: str) -> bool:
        """Whether this daemon runs tasks of this name at all."""

    def reserve(self, count: int) -> bool:
        """Set *count* slots aside; False when nothing may overtake what waits, or none is free."""

    def start(self, tasks: Sequence[MonQTask], reserved: int) -> None:
        """Run *tasks*, stored as busy, and give back what else of *reserved* was set aside."""

    def doubt(self, tasks: Sequence[MonQTask], reserved: int) -> None:
        """*tasks* may or may not be stored as busy: release them once the store answers again."""

    def expect(self, tasks: Sequence[MonQTask]) -> None:
        """*tasks* were stored as ready and wait to be claimed."""


class PostOffice:
    """Implements registry.Poster on a store of this process.

    *starter* is there only in the daemon. *keep_events* is how long an event is remembered, and
    with it the delivery id by which a repeated delivery is recognised.
    """

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        clock: Clock,
        *,
        keep_events: timedelta = timedelta(days=30),
        starter: Starter | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._keep_events = keep_events
        self._starter = starter

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        """Store one task and return it; an unfinished task with the same key is returned instead."""
        return self.submit(prepare(self._clock, name, args, kwargs, options, capture()))

    def submit(self, task: MonQTask) -> MonQTask:
        """Store a prepared task; submitting the same one again changes nothing."""
        receipt = self._store_and_start(Posting([task]))
        if receipt.duplicate:
            task = self._store.get(receipt.task_ids[0]) or task
        else:
            emit("task.posted", task=task)
        task.waiter = self.join
        return task

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        """Store one event and one task for each handler of *topic*, called `(topic, *args, **kwargs)`."""
        event = Event(self._clock.new_id(), topic, self._clock.now())
        event.args, event.kwargs, context = storable(list(args), dict(kwargs), capture())
        return self.announce(event, context)

    def announce(self, event: Event, context: Mapping[str, Any]) -> Receipt:
        """Store a prepared event as `publish` does, its handlers to run in *context*."""
        return self._fan_out(event, [event.topic, *event.args], event.kwargs, context)

    def deliver(self, event: Event) -> Receipt:
        """Store a verified delivery and one task for each handler, called `(topic, event)`.

        A delivery that is stored already answers with the ids of the first time.
        """
        return self._fan_out(event, [event.topic], {}, capture())

    def join(self, task: MonQTask, timeout: float | None) -> Any:
        """Block until *task* has ended; see MonQTask.join."""
        return await_end(self._now, task, timeout, self._clock)

    def _now(self, task_id: ObjectId) -> MonQTask:
        if (task := self._store.get(task_id)) is None:
            raise NotFound(f"task {task_id}: no longer stored; ended tasks are forgotten after a while")
        return task

    def _fan_out(
        self, event: Event, args: list[Any], kwargs: dict[str, Any], context: Mapping[str, Any]
    ) -> Receipt:
        tasks = []
        for handler in self._registry().handlers_of(event.topic):
            task = prepare(self._clock, handler.name, args, kwargs, handler.defaults, context)
            task.event_id, task.topic = event.id, event.topic
            if event.hook is not None:
                task.event = event
            tasks.append(task)
        event.task_ids = [task.id for task in tasks]
        event.expire_at = event.received + self._keep_events
        receipt = self._store_and_start(Posting(tasks, event))
        if receipt.event_id != event.id:
            emit("event.repeated", event=event, first=receipt.event_id)
            return receipt
        emit("event.received" if tasks else "event.unhandled", event=event)
        for task in tasks:
            emit("task.posted", task=task)
        return receipt

    def _store_and_start(self, posting: Posting) -> Receipt:
        starter = self._starter
        if starter is None:
            (receipt,) = self._store.post([posting])
            self._store.ring()
            return receipt
        reserved = self._reserve(starter, posting.tasks)
        try:
            (receipt,) = self._store.post([posting])
        except BaseException:  # also an Interrupt of a handler that posts: what is stored must not stay busy
            starter.doubt([task for task in posting.tasks if task.state == BUSY], reserved)
            raise
        is_repeated = posting.event is not None and receipt.event_id != posting.event.id
        new = [] if is_repeated else _stored(posting.tasks, receipt)
        starter.start([task for task in new if task.state == BUSY], reserved)
        starter.expect([task for task in new if task.state != BUSY])
        return receipt

    def _reserve(self, starter: Starter, tasks: list[MonQTask]) -> int:
        """Mark *tasks* as begun by this daemon if all of them may; how many slots that took."""
        now = self._clock.now()
        if not tasks or any(task.time_queue > now or not starter.claims(task.task_name) for task in tasks):
            return 0
        if not starter.reserve(len(tasks)):
            return 0
        for task in tasks:
            task.state, task.time_start = BUSY, now
            task.worker, task.process = starter.worker.id, starter.worker.process
            task.attempt = task.generation = 1
        return len(tasks)


def _stored(tasks: list[MonQTask], receipt: Receipt) -> list[MonQTask]:
    """Those of *tasks* that were stored themselves and not found under their key."""
    return [task for task, stored in zip(tasks, receipt.task_ids, strict=True) if task.id == stored]


def await_end(
    look: Callable[[ObjectId], MonQTask], task: MonQTask, timeout: float | None, clock: Clock
) -> Any:
    """Look at *task* again and again until it has ended; its result. Raises as MonQTask.join."""
    deadline = None if timeout is None else clock.monotonic() + timeout
    pause = FIRST_LOOK_SECONDS
    while (now := look(task.id)).state not in ENDED:
        if deadline is not None and clock.monotonic() >= deadline:
            raise JoinTimeout(_still(now, timeout))
        clock.sleep(pause)
        pause = min(pause * 1.5, SLOWEST_LOOK_SECONDS)
    return _result_of(now)


def _result_of(task: MonQTask) -> Any:
    if task.state == COMPLETE:
        return task.result
    text = task.result if isinstance(task.result, str) else repr(task.result)
    if task.state == SKIPPED:
        raise TaskSkipped(f"task {task.id} {task.task_name}: skipped: {text}")
    raise TaskFailed(f"task {task.id} {task.task_name}: failed after {task.attempt} attempts", text)


def _still(task: MonQTask, timeout: float | None) -> str:
    last = f"; last error: {task.history[-1]['error']}" if task.history else ""
    return f"task {task.id} {task.task_name}: still {task.state} after {timeout:g} s{last}"
