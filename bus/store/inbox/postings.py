"""What a record says: tasks that were prepared elsewhere, or an event that gets its tasks in the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ...codec import decode, encode
from ...model import Event, MonQTask, Posting
from ..documents import event_from_document, event_to_document, task_from_document, task_to_document


@dataclass(slots=True)
class Handed:
    """A *posting* of another process. An event comes without tasks: its handlers are to run in *context*."""

    posting: Posting
    context: Mapping[str, Any] = field(default_factory=dict)


class Unreadable(ValueError):
    """A payload that is whole and that no version of ours has written, or a newer one."""


def to_payload(posting: Posting, posted: datetime, context: Mapping[str, Any] | None = None) -> bytes:
    """The payload of *posting*, which was made at *posted* by the clock of its process."""
    document: dict[str, Any] = {"posted": posted, "tasks": [task_to_document(task) for task in posting.tasks]}
    if posting.event is not None:
        document["event"] = event_to_document(posting.event)
        document["context"] = dict(context or {})
    return encode(document)


def from_payload(payload: bytes, now: datetime) -> Handed:
    """What *payload* says, at *now* by the queue's clock. Raises Unreadable.

    A clock that was ahead there must not let the tasks wait here: their moments are moved by as much.
    """
    try:
        document = decode(payload)
        ahead = max(document["posted"] - now, timedelta())
        tasks = [_task(one, ahead) for one in document["tasks"]]
        event = _event(document["event"], ahead) if "event" in document else None
        context = document.get("context", {})
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"expected a posting, got {type(error).__name__}: {error}") from error
    if not isinstance(context, dict) or not (tasks or event):
        raise Unreadable("expected tasks or an event")
    return Handed(Posting(tasks, event), context)


def _task(document: dict[str, Any], ahead: timedelta) -> MonQTask:
    task = task_from_document(document)
    if task.fault:
        raise Unreadable(task.fault)
    task.time_queue -= ahead
    return task


def _event(document: dict[str, Any], ahead: timedelta) -> Event:
    event = event_from_document(document)
    if event.fault:
        raise Unreadable(event.fault)
    event.received -= ahead
    return event
