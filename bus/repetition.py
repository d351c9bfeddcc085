"""What a delivery does that has come before: it is told how it differs, and what had failed waits again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from bson import ObjectId

from .errors import NotAccepted
from .model import FAILED, Event, MonQTask, Receipt, State, fresh_start
from .telemetry import emit


class Stored(Protocol):
    """What of a store is asked here; see its contract."""

    def event(self, event_id: ObjectId) -> Event | None:
        """One event."""

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """One task."""

    def move(self, ids: Sequence[ObjectId], states: Collection[State], fields: Mapping[str, Any]) -> int:
        """Give tasks in *states* new *fields*; how many they were."""


class Repeated(NamedTuple):
    """The *receipt* of a repetition, and the tasks of the first delivery that wait again."""

    receipt: Receipt
    waiting: Sequence[MonQTask] = ()


def is_repetition(event: Event, receipt: Receipt) -> bool:
    """Whether *receipt* is that of another event, which came before *event*."""
    return receipt.duplicate and receipt.event_id is not None and receipt.event_id != event.id


def repeat(store: Stored, event: Event, receipt: Receipt, now: datetime) -> Repeated:
    """What is to be said of *event*, which has come before, and what failed of the first one again.

    Blocks as long as three calls of *store* do, and one for each task. Raises StoreError.
    """
    first = receipt.event_id
    stored = None if first is None else store.event(first)
    if stored is not None and not stored.fault:
        for fact in _differences(event, stored):
            emit(fact, event=event, first=first)
    # under another id it is perhaps a recorded one, which must make nothing run
    is_renewed = stored is not None and stored.delivery != event.delivery
    if event.on_duplicate != "retry_failed" or is_renewed or not receipt.task_ids:
        return Repeated(receipt)
    retried = 0
    with suppress(NotAccepted):  # such a task stays as it is
        retried = store.move(receipt.task_ids, FAILED, fresh_start(now))
    if not retried:
        return Repeated(receipt)
    emit("delivery.retried", event=event, first=first, count=retried)
    waiting = [task for one in receipt.task_ids if (task := store.get(one))]
    return Repeated(receipt._replace(retried=retried), waiting)


def _differences(event: Event, first: Event) -> Iterator[str]:
    """The facts that tell how *event* differs from the *first* of its kind, which came before."""
    if event.delivery != first.delivery:
        yield "delivery.renewed"
    elif event.body != first.body:
        yield "delivery.differed"
