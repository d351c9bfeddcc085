"""MonQTask and Event as documents, the same for both stores.

Allura's thirteen fields are always written, ours only when they say something.
"""

from __future__ import annotations

from typing import Any

from ..clock import UTC
from ..model import DEFAULT_PRIORITY, Event, MonQTask

PLAIN = (
    "state", "priority", "result_type", "time_queue", "time_start", "time_stop", "task_name",
    "process", "context", "args", "kwargs", "result",
)  # fmt: skip
OURS = (
    "attempt", "max_attempts", "crashes", "worker", "generation", "key", "event_id", "topic",
    "timeout", "history", "progress", "output", "expire_at",
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
    """The task of *document*, which another program may have written with Allura's fields only."""
    task = MonQTask(
        id=document["_id"],
        task_name=document.get("task_name") or "",
        args=document.get("args") or [],
        kwargs=document.get("kwargs") or {},
        time_queue=document.get("time_queue") or document["_id"].generation_time.astimezone(UTC),
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
    return task


def event_to_document(event: Event) -> dict[str, Any]:
    """The document of *event*; `key` is there only where repeated deliveries can be recognised."""
    document = {
        "_id": event.id, "topic": event.topic, "received": event.received, "hook": event.hook,
        "delivery": event.delivery, "headers": event.headers, "body": event.body,
        "args": event.args, "kwargs": event.kwargs, "task_ids": event.task_ids,
        "expire_at": event.expire_at,
    }  # fmt: skip
    if event.key is not None:
        document["key"] = event.key
    return document


def event_from_document(document: dict[str, Any]) -> Event:
    """The event of *document*."""
    return Event(
        id=document["_id"],
        topic=document["topic"],
        received=document["received"],
        hook=document.get("hook"),
        delivery=document.get("delivery"),
        headers=document.get("headers") or {},
        body=document.get("body") or b"",
        args=document.get("args") or [],
        kwargs=document.get("kwargs") or {},
        task_ids=document.get("task_ids") or [],
        expire_at=document.get("expire_at"),
    )
