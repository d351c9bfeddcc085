"""MonQTask and Event as documents, the same for both stores.

Allura's thirteen fields are always written, ours only when they say something.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from ..clock import UTC
from ..errors import StoreError
from ..model import DEFAULT_PRIORITY, READY, Event, MonQTask, Posting, key_prefix
from .fields import complaint, event_complaint, event_holds, sound_part

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOT_YET = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
"""The `time_queue` of a task that waits behind another one: no claim finds it, whoever claims."""

PLAIN = (
    "state", "priority", "result_type", "time_queue", "time_start", "time_stop", "task_name",
    "process", "context", "args", "kwargs", "result",
)  # fmt: skip
OURS = (
    "attempt", "max_attempts", "crashes", "worker", "generation", "key", "event_id", "topic",
    "timeout", "history", "progress", "output", "expire_at", "scheduled_for", "serial",
)  # fmt: skip


def task_to_document(task: MonQTask) -> dict[str, Any]:
    """The document of *task*; unset fields of ours are left out."""
    document: dict[str, Any] = {"_id": task.id}
    for name in PLAIN:
        document[name] = getattr(task, name)
    for name in OURS:
        if value := getattr(task, name):
            document[name] = value
    return document


def task_from_document(document: dict[str, Any]) -> MonQTask:
    """The task of *document*, which another program may have written.

    It may have Allura's fields only, or fewer. A field of a wrong type reads as absent, and makes its
    `fault`.
    """
    given, document = document, sound_part(document)
    task = MonQTask(
        id=document["_id"],
        task_name=document.get("task_name") or "",
        args=document.get("args") or [],
        kwargs=document.get("kwargs") or {},
        time_queue=document.get("due") or document.get("time_queue") or _time_queue(given),
        context=document.get("context") or {},
        state=document.get("state") or "ready",
        priority=DEFAULT_PRIORITY if document.get("priority") is None else document["priority"],
        result_type=document.get("result_type") or "forget",
        result=document.get("result"),
        time_start=document.get("time_start"),
        time_stop=document.get("time_stop"),
        process=document.get("process"),
    )
    for name in OURS:
        if (value := document.get(name)) is not None:
            setattr(task, name, value)
    if len(document) < len(given):
        task.fault = complaint(given)
    return task


def _time_queue(document: dict[str, Any]) -> datetime:
    """The moment of a document without a sound one: it is never claimed, but it can be looked at."""
    if isinstance(moment := document.get("time_queue"), DatetimeMS):  # beyond the years 1 to 9999
        if int(moment) < 0:
            return EPOCH
        return datetime.max.replace(microsecond=999_000, tzinfo=UTC)
    task_id = document.get("_id")
    return task_id.generation_time.astimezone(UTC) if isinstance(task_id, ObjectId) else EPOCH


def event_to_document(event: Event) -> dict[str, Any]:
    """The document of *event*; `key` is there only where repeated deliveries can be recognised."""
    document = {
        "_id": event.id, "topic": event.topic, "received": event.received, "hook": event.hook,
        "delivery": event.delivery, "headers": event.headers, "body": event.body,
        "args": event.args, "kwargs": event.kwargs, "task_ids": event.task_ids,
        "expire_at": event.expire_at, "kind": event.kind,
    }  # fmt: skip
    if event.query:  # as pairs: a parameter may have any name, and a key in a document may not
        document["query"] = [[name, value] for name, value in event.query.items()]
    if event.attributes:
        document["attributes"] = event.attributes
    if event.is_filtered:
        document["filtered"] = True
    if event.request:
        document["request"] = event.request
    if event.unique_key is not None:
        document["key"] = event.unique_key
    if event.guard is not None:
        document["guard"] = event.guard
    if event.peer:
        document["peer"] = event.peer
    return document


def event_from_document(document: dict[str, Any]) -> Event:
    """The event of *document*; a field that is missing or of a wrong type makes its `fault`."""
    fault = event_complaint(document)
    if fault:
        document = {name: value for name, value in document.items() if event_holds(name, value)}
    kind, key = document.get("kind") or "", document.get("key")
    return Event(
        id=document["_id"],
        topic=document.get("topic") or "",
        received=document.get("received") or EPOCH,
        hook=document.get("hook"),
        delivery=document.get("delivery"),
        headers=document.get("headers") or {},
        body=document.get("body") or b"",
        args=document.get("args") or [],
        kwargs=document.get("kwargs") or {},
        task_ids=document.get("task_ids") or [],
        expire_at=document.get("expire_at"),
        query=dict(document.get("query") or ()),
        attributes=document.get("attributes") or {},
        is_filtered=document.get("filtered") is True,
        request=document.get("request") or {},
        guard=document.get("guard"),
        peer=document.get("peer") or "",
        kind=kind,
        key=key and key.removeprefix(key_prefix(kind)),
        fault=fault,
    )


def may_need_delivery(task: MonQTask) -> bool:
    """Whether *task* may be that of a delivery; it may be that of an event published without arguments."""
    return task.event_id is not None and task.args == [task.topic] and not task.kwargs


def unclaimed(task: MonQTask, event_id: ObjectId | None) -> MonQTask:
    """A copy of *task*, of the event *event_id*, as it waits: nobody has begun it."""
    return replace(
        task,
        event_id=event_id,
        state=READY,
        worker=None,
        process=None,
        time_start=None,
        attempt=0,
        generation=0,
    )


def waiting(posting: Posting) -> Posting:
    """*posting* with all of its tasks as they wait: whoever reports begins none of them."""
    return Posting([unclaimed(task, task.event_id) for task in posting.tasks], posting.event)


def later(first: datetime | None, second: datetime | None) -> datetime | None:
    """The later one of two ends of keeping; None is never."""
    return None if first is None or second is None else max(first, second)


def require_own(kind: str, item: MonQTask | Event, is_there: object) -> None:
    """Raise StoreError unless *item*, which could not be stored, *is_there* already under its own id."""
    if not is_there:
        raise StoreError(
            f"{kind} {item.id}: its key {item.key!r} is held by another {kind} of this store; "
            "end or forget that one first"
        )
