"""An event as the handlers of the configuration are told it: as JSON, and by placeholders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from bson import ObjectId

from .. import strict_json
from ..model import Event
from ..payload import BadPayload
from ..placeholders import NoValue, Placeholder
from ..presentation import plain
from .context import c

MOST_TOLD_BYTES: Final = 8 * 1024 * 1024
"""Of a body whose value stands in the event's JSON; a longer one would hold the hub, and is null there."""
NOWHERE: Final = object()
"""What a placeholder has no value for."""


def event_of(topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Event:
    """The event that a handler was called for: a delivery's own, or that which a published one was.

    A handler of those gets its parts. The event's id says when it was received.
    """
    if args and isinstance(args[0], Event):
        return args[0]
    event_id: ObjectId = c.task.event_id or c.task.id
    return Event(event_id, topic, event_id.generation_time, args=list(args), kwargs=dict(kwargs))


def event_told(event: Event) -> dict[str, Any]:
    """*event* and the running task, as JSON can hold them."""
    task = c.task
    return {
        "id": str(event.id),
        "topic": event.topic,
        "hook": event.hook,
        "delivery": event.delivery,
        "received": plain(event.received),
        "headers": event.headers,
        "query": event.query,
        "attributes": event.attributes,
        "body": _body(event),
        "args": plain(event.args),
        "kwargs": plain(event.kwargs),
        "task": {"id": str(task.id), "attempt": task.attempt, "token": task.token},
    }


def _body(event: Event) -> Any:
    if not event.body or len(event.body) > MOST_TOLD_BYTES:
        return None
    try:
        content = event.content
        if len(content) > MOST_TOLD_BYTES:
            return None
        return event.json
    except BadPayload:
        return plain(event.body)
    except strict_json.BadJson:
        pass
    try:
        value = event.data
    except BadPayload:
        value = content
    if not isinstance(value, bytes):
        return plain(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return plain(value)


def body_at(event: Event, paths: Collection[str]) -> Any:
    """What stands at the dotted *paths* of the body, of long JSON little else; NOWHERE without a value."""
    try:
        return event.tree_at(paths) if paths else NOWHERE
    except BadPayload:
        return NOWHERE


def found_in(told: Mapping[str, Any], placeholder: Placeholder) -> str | None:
    """The text for *placeholder*. Raises NoValue for one that no argument can hold, default or not."""
    kind, where = placeholder.kind, placeholder.where
    found: str | None
    if kind == "header":
        found = told["headers"].get(where.lower())
    elif kind in ("query", "attribute"):
        found = told["query" if kind == "query" else "attributes"].get(where)
    else:
        found = strict_json.at_path(told[kind], where) if where else strict_json.at_path(told, kind)
    if found is not None and "\x00" in found:
        raise NoValue(str(placeholder))
    return found
