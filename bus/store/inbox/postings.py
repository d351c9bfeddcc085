"""What a record says: a batch of tasks and published events, as its process has prepared them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ...apps.calls import Announcement, Batch
from ...codec import decode, encode
from ...model import MonQTask
from ..documents import event_from_document, event_to_document, task_from_document, task_to_document


class Unreadable(ValueError):
    """A payload that is whole and that no version of ours has written, or a newer one."""


def to_payload(batch: Batch, posted: datetime) -> bytes:
    """The payload of *batch*, which was made at *posted* by the clock of its process."""
    events = [{"event": event_to_document(event), "context": context} for event, context in batch.events]
    return encode(
        {"posted": posted, "tasks": [task_to_document(task) for task in batch.tasks], "events": events}
    )


def from_payload(payload: bytes, now: datetime) -> Batch:
    """What *payload* says, at *now* by the queue's clock. Raises Unreadable.

    A clock that was ahead there must not let the tasks wait here: their moments are moved by as much.
    """
    try:
        document = decode(payload)
        ahead = max(document["posted"] - now, timedelta())
        tasks = [_task(one, ahead) for one in document["tasks"]]
        events = [_event(one, ahead) for one in document["events"]]
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"expected a posting, got {type(error).__name__}: {error}") from error
    if not (tasks or events):
        raise Unreadable("expected tasks or events, got none")
    return Batch(tasks, events)


def _task(document: dict[str, Any], ahead: timedelta) -> MonQTask:
    task = task_from_document(document)
    if task.fault:
        raise Unreadable(task.fault)
    task.time_queue -= ahead
    return task


def _event(document: dict[str, Any], ahead: timedelta) -> Announcement:
    event = event_from_document(document["event"])
    if event.fault:
        raise Unreadable(event.fault)
    event.received -= ahead
    return Announcement(event, dict(document["context"]))
