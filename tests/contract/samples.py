"""Tasks, events and instances for the contract's claims."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import gevent

from bus.clock import UTC, Clock
from bus.model import Event, Instance, MonQTask, Posting
from bus.store.contract import Backlog, Store

CLOCK = Clock()
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAME = "shop.send_mail"
ONE = Instance("worker-one", "monqbus/here pid 1")
TWO = Instance("worker-two", "monqbus/there pid 2")
PATIENCE = 30


def later(seconds: float) -> datetime:
    """*seconds* after NOW."""
    return NOW + timedelta(seconds=seconds)


def a_task(name: str = NAME, **fields: Any) -> MonQTask:
    """A task due since a minute."""
    fields.setdefault("time_queue", later(-60))
    fields.setdefault("args", [])
    fields.setdefault("kwargs", {})
    return MonQTask(id=CLOCK.new_id(), task_name=name, **fields)


def a_delivery(delivery: str | None = "delivery-1", *, hook: str = "github", **fields: Any) -> Event:
    """An event as a hook receives it."""
    return Event(CLOCK.new_id(), "github.push", NOW, hook=hook, delivery=delivery, body=b'{"n": 1}', **fields)


def a_fan_out(event: Event, *tasks: MonQTask) -> Posting:
    """*event* with one task for each handler, put together as posting.publish does."""
    for task in tasks:
        task.event_id, task.topic = event.id, event.topic
    event.task_ids = [task.id for task in tasks]
    return Posting(list(tasks), event)


def depths(waiting: Mapping[str, Backlog]) -> dict[str, int]:
    """How many are ready under each name."""
    return {name: backlog.depth for name, backlog in waiting.items()}


def post(store: Store, *tasks: MonQTask) -> list[MonQTask]:
    """Post each of *tasks* alone, in one call."""
    store.post([Posting([task]) for task in tasks])
    return list(tasks)


def held(store: Store, count: int = 1, instance: Instance = ONE, **fields: Any) -> list[MonQTask]:
    """Post *count* tasks and claim them for *instance*."""
    ids = {task.id for task in post(store, *(a_task(**fields) for _ in range(count)))}
    claimed = store.claim(instance, {fields.get("name", NAME)}, count, NOW).tasks
    assert ids == {task.id for task in claimed}
    return claimed


def together(*calls: Any) -> list[Any]:
    """The answers of *calls*, each made in a greenlet of its own at the same time."""
    greenlets = [gevent.spawn(call) for call in calls]
    gevent.joinall(greenlets, timeout=PATIENCE, raise_error=True)
    return [greenlet.get(block=False) for greenlet in greenlets]
