"""Tasks and events for people and programs: flat rows of JSON-friendly values."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from .delivery_record import Delivery
from .model import ERROR, READY, Event, MonQTask

COLUMNS = (
    "id", "task_name", "state", "priority", "attempt", "time_queue", "time_start", "time_stop", "topic",
    "result",
)  # fmt: skip
DELIVERY_COLUMNS = (
    "id", "received", "outcome", "status", "hook", "code", "reason", "peer", "size", "delivery", "omitted",
    "event_id", "task_ids",
)  # fmt: skip
DELIVERY_DETAILS = ("method", "path", "seconds", "request", "topic", "headers", "parameters")
EVENT_COLUMNS = ("id", "topic", "received", "kind", "key", "hook", "delivery", "task_ids")
DETAILS = (
    "args", "kwargs", "context", "result_type", "process", "max_attempts", "crashes", "worker", "generation",
    "key", "event_id", "timeout", "progress", "history", "output", "expire_at",
    "scheduled_for", "serial",
)  # fmt: skip


def plain(value: Any) -> Any:
    """*value* as JSON can hold it: moments as RFC 3339 UTC, ids as text, bytes as base64."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def task_row(task: MonQTask) -> dict[str, Any]:
    """The columns that every listing has; of a task that cannot be read, what is wrong is its result."""
    row = {name: plain(getattr(task, name)) for name in COLUMNS}
    return row | {"result": task.fault} if task.fault and task.state != ERROR else row


def attempts(task: MonQTask) -> list[tuple[Any, Any, str]]:
    """The number, the moment and the error of each attempt that failed, as far as they were written."""
    return [(entry.get("attempt"), entry.get("at"), str(entry.get("error", ""))) for entry in task.history]


def task_details(task: MonQTask) -> dict[str, Any]:
    """Everything that is stored of *task*."""
    return task_row(task) | {name: plain(getattr(task, name)) for name in DETAILS}


def event_row(event: Event) -> dict[str, Any]:
    """The columns that every listing of events has; one that cannot be read has a `fault`."""
    row = {name: plain(getattr(event, name)) for name in EVENT_COLUMNS}
    if event.is_filtered:
        row["filtered"] = True
    return row | {"fault": event.fault} if event.fault else row


def event_details(event: Event) -> dict[str, Any]:
    """Everything that is stored of *event*; the body as text where it is, None where there is none."""
    names = (
        "id",
        "topic",
        "received",
        "kind",
        "key",
        "hook",
        "delivery",
        "peer",
        "headers",
        "query",
        "attributes",
        "args",
        "kwargs",
        "task_ids",
        "expire_at",
    )
    details = {name: plain(getattr(event, name)) for name in names} | {"body": _body(event.body)}
    if event.is_filtered:
        details["filtered"] = True
    return details | {"request": event.request} if event.request else details


def _body(body: bytes) -> Any:
    """*body* as text where it is, None where there is none."""
    try:
        return body.decode() or None
    except UnicodeDecodeError:
        return plain(body)


def delivery_row(one: Delivery) -> dict[str, Any]:
    """The columns that every listing of deliveries has."""
    return {name: plain(getattr(one, name)) for name in DELIVERY_COLUMNS}


def delivery_details(one: Delivery) -> dict[str, Any]:
    """Everything that is logged of *one*; the body as `event_details` has it."""
    return (
        delivery_row(one)
        | {name: plain(getattr(one, name)) for name in DELIVERY_DETAILS}
        | {"body": _body(one.body)}
    )


def why_waiting(
    task: MonQTask, now: datetime, is_known: Callable[[str], bool], paused: str = "", held: str = ""
) -> str | None:
    """What a ready task waits for, in one sentence; None for one that does not wait.

    *paused* says why, and since when, its name is paused, *held* which limit holds it up.
    """
    if task.state != READY:
        return None
    if paused:
        return f"paused: {paused}"
    if held and (task.time_queue <= now or task.serial is not None):
        return held
    due = plain(task.time_queue)
    if task.time_queue > now:
        return (
            f"attempt {task.attempt} failed, the next one is due at {due}"
            if task.attempt
            else f"due at {due}"
        )
    if not is_known(task.task_name):
        return f"parked: no app declares {task.task_name}; add one that does, and it runs"
    return f"due since {due}: waits for a free slot of a daemon that claims this name"
