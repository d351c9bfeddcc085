"""Calls as they will be stored, what became of them, and those that a `hold()` block keeps back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple

from ..clock import Clock
from ..codec import storable
from ..errors import NotStorable
from ..model import DEFAULT_PRIORITY, Event, MonQTask, Receipt
from .options import Options

MOST_HELD: Final = 5000
"""Calls of one write: the daemon stores them between two turns of its hub, about 10 µs each."""


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


class Announcement(NamedTuple):
    """A published *event* that has no tasks yet; its handlers are to run in *context*."""

    event: Event
    context: Mapping[str, Any]


def announcement(
    clock: Clock, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any], context: Mapping[str, Any]
) -> Announcement:
    """The event of one call of post_event, not yet stored. Raises NotStorable."""
    event = Event(clock.new_id(), topic, clock.now())
    event.args, event.kwargs, kept = storable(list(args), dict(kwargs), dict(context))
    return Announcement(event, kept)


class Posted(NamedTuple):
    """A stored task, and whether an app declares its name; one that none declares waits until one does.

    *near* is the declared name that resembles one that is not.
    """

    task: MonQTask
    is_known: bool
    near: str = ""


class Published(NamedTuple):
    """What an event became; *near* is the topic with handlers that resembles one without.

    *is_filtered*: its topic has handlers, and the rule of none holds for it.
    """

    receipt: Receipt
    near: str = ""
    is_filtered: bool = False


@dataclass(slots=True)
class Batch:
    """What is stored in one write: *tasks* that were prepared, and *events* that were published.

    With a *session* they belong to the transaction that runs in it, which its owner commits or not.
    """

    tasks: list[MonQTask] = field(default_factory=list)
    events: list[Announcement] = field(default_factory=list)
    is_over: bool = False
    """Its block has ended: what was started in it and goes on posts for itself."""
    session: Any = None

    def __len__(self) -> int:
        return len(self.tasks) + len(self.events)

    def parts(self, most: int) -> Iterator[Batch]:
        """The same in batches of at most *most*, in order."""
        for start in range(0, len(self.tasks), most):
            yield Batch(tasks=self.tasks[start : start + most], session=self.session)
        for start in range(0, len(self.events), most):
            yield Batch(events=self.events[start : start + most], session=self.session)

    def take(self, other: Batch) -> None:
        """Add all of *other*. Raises NotStorable when that is too much; then nothing of it."""
        self.require_room(len(other))
        self.tasks += other.tasks
        self.events += other.events

    def require_room(self, calls: int = 1) -> None:
        """Raise NotStorable when it does not take so many *calls* more."""
        if len(self) + calls > MOST_HELD:
            raise NotStorable(
                f"hold: expected at most {MOST_HELD} posts in one block, got more; end it after {MOST_HELD} "
                "and begin another"
            )


def require_one_block(name: str, calls: Iterable[object]) -> None:
    """Raise NotStorable when *calls* of task *name*, if they can be counted, are too many for one write."""
    if isinstance(calls, Sized) and len(calls) > MOST_HELD:
        raise NotStorable(
            f"task {name}: post_many: expected at most {MOST_HELD} calls in one write, got {len(calls)}; "
            f"post parts of {MOST_HELD}, or a file with `monqbus post {name} --from FILE`"
        )


_held: ContextVar[Batch | None] = ContextVar("monqbus_held", default=None)


def held() -> Batch | None:
    """The batch of the `hold()` block that this code runs in; None outside of one."""
    batch = _held.get()
    return None if batch is None or batch.is_over else batch


@contextmanager
def holding(session: Any = None) -> Iterator[Batch]:
    """Let `held` be the batch that is given, of *session*, until the block ends."""
    batch = Batch(session=session)
    token = _held.set(batch)
    try:
        yield batch
    finally:
        batch.is_over = True  # an asyncio task that was started in the block has a copy of the context
        _held.reset(token)
