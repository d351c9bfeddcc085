"""What each field of a task's document may hold; other programs write such documents too.

The types are BSON's, by the names of MongoDB's ``$type``. null is as good as absent, except where
the server has to count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from bson import Code, ObjectId
from bson.datetime_ms import DatetimeMS

from .salvage import FRAME, Unreadable

ASIDE: Final = "whoever wrote this document has to correct it"
"""Every complaint about a stored item says so: by these words those that were set aside are found."""

UNSOUND: Final = f"document: it holds what no task has; {ASIDE}, then retry"

LARGEST_COUNT: Final = 2**53
"""Beyond it a double does not change when one is added, and what has 64 bits soon overflows."""


class Type(NamedTuple):
    """What a field holds, in *words* for people, for Python and as *bson* types."""

    words: str
    python: tuple[type, ...]
    bson: tuple[str, ...]


_TEXT = Type("text", (str,), ("string", "null"))
_NUMBER = Type("a number", (int, float), ("int", "long", "double", "null"))  # some shells write no others
_COUNT = Type("a number", (int, float), ("int", "long", "double"))
_DATE = Type("a date", (datetime,), ("date", "null"))
_LIST = Type("an array", (list,), ("array", "null"))
_DOCUMENT = Type("a document", (dict,), ("object", "null"))
_ID = Type("an ObjectId", (ObjectId,), ("objectId", "null"))

FIELDS: Final[Mapping[str, Type]] = {
    "state": _TEXT, "priority": _NUMBER, "result_type": _TEXT, "time_queue": _DATE, "time_start": _DATE,
    "time_stop": _DATE, "task_name": _TEXT, "process": _TEXT, "context": _DOCUMENT, "args": _LIST,
    "kwargs": _DOCUMENT, "attempt": _COUNT, "max_attempts": _NUMBER, "crashes": _NUMBER, "worker": _TEXT,
    "generation": _COUNT, "key": _TEXT, "event_id": _ID, "topic": _TEXT, "timeout": _NUMBER, "history": _LIST,
    "progress": _DOCUMENT, "output": _TEXT, "expire_at": _DATE, "scheduled_for": _DATE, "serial": _TEXT,
    "due": _DATE,
}  # fmt: skip


NUMBERS: Final = tuple(name for name, field in FIELDS.items() if float in field.python)
# types of which any value will do, so that nearly all are known to be sound without a look at them
_NONE: Final[frozenset[type]] = frozenset()
_PLAIN: Final = {
    name: frozenset({*field.python, *([type(None)] if "null" in field.bson else [])} - {float, list})
    for name, field in FIELDS.items()
}
COUNTS: Final = ("attempt", "generation", "crashes")
_PLAIN.update(dict.fromkeys(COUNTS, _NONE), args=frozenset({list, type(None)}))

_TEXT_OF_EVENT = Type("text", (str,), ("string",))
EVENT_FIELDS: Final[Mapping[str, Type]] = {
    "topic": _TEXT_OF_EVENT, "received": Type("a date", (datetime,), ("date",)), "hook": _TEXT,
    "delivery": _TEXT, "headers": _DOCUMENT, "body": Type("bytes", (bytes,), ("binData",)), "args": _LIST,
    "kwargs": _DOCUMENT, "task_ids": _LIST, "expire_at": _DATE,
    "kind": _TEXT, "key": _TEXT, "query": _LIST, "attributes": _DOCUMENT, "guard": _TEXT, "peer": _TEXT,
    "request": _DOCUMENT,
}  # fmt: skip


def holds(name: str, value: Any) -> bool:
    """Whether *value* is one that the field *name* may have; unknown fields may have any."""
    if (field := FIELDS.get(name)) is None:
        return not isinstance(value, Unreadable)
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return False
    if name == "history" and isinstance(value, list):
        return all(isinstance(entry, dict) for entry in value)
    if name in COUNTS and isinstance(value, (int, float)):
        return abs(value) <= LARGEST_COUNT
    return _is(value, field)


def sound_part(document: Mapping[str, Any]) -> dict[str, Any]:
    """*document* without the fields of which `holds` is not true."""
    return {
        name: value
        for name, value in document.items()
        if type(value) in _PLAIN.get(name, _NONE) or holds(name, value)
    }


def event_holds(name: str, value: Any) -> bool:
    """As `holds`, for the field *name* of an event."""
    if (field := EVENT_FIELDS.get(name)) is None:
        return not isinstance(value, Unreadable)
    if name == "task_ids" and isinstance(value, list):
        return all(isinstance(entry, ObjectId) for entry in value)
    if name == "query" and isinstance(value, list):
        return all(isinstance(pair, list) and [str, str] == [type(part) for part in pair] for pair in value)
    if name == "attributes" and isinstance(value, dict):
        return all(isinstance(one, str) for one in value.values())
    if name == "request" and isinstance(value, dict):
        return all(isinstance(word, str) for word in value.values())
    return _is(value, field)


def _is(value: Any, field: Type) -> bool:
    if isinstance(value, Code):  # a kind of str to Python, not to the server
        return False
    return isinstance(value, field.python) or (value is None and "null" in field.bson)


def complaint(document: Mapping[str, Any]) -> str:
    """The sentence about the first field of *document* that holds what no task has; "" for a sound one.

    What other programs keep in fields of their own is none of our business.
    """
    for name, value in document.items():
        if name in FIELDS and not holds(name, value) and not _is_far(value, FIELDS[name]):
            return _sentence(name, value, FIELDS[name])
        if name in ("_id", "result", FRAME) and isinstance(value, Unreadable):
            return _sentence(name or "document", value)
    return ""


def event_complaint(document: Mapping[str, Any]) -> str:
    """As `complaint`, for the document of an event; what it must have and lacks is said, too."""
    if _is_as_we_write(document):
        return ""
    for name, field in EVENT_FIELDS.items():
        if not event_holds(name, value := document.get(name)):
            return _sentence(f"event {name}", value, field)
    return _sentence("event", document[FRAME]) if FRAME in document else ""


def is_about_task_ids(fault: str) -> bool:
    """Whether the first thing wrong with an event are its tasks' ids: what its handlers get comes before."""
    return fault.startswith("event task_ids: ")


def _is_as_we_write(event: Mapping[str, Any]) -> bool:
    """Whether the document of an event holds exactly what monqbus writes: the short way for nearly all."""
    get = event.get
    return (
        FRAME not in event
        and type(get("topic")) is str
        and type(get("received")) is datetime
        and type(get("body")) is bytes
        and type(get("headers")) is dict
        and type(get("args")) is list
        and type(get("kwargs")) is dict
        and type(ids := get("task_ids")) is list
        and {ObjectId}.issuperset(map(type, ids))
        and type(get("hook")) in _TEXT_OR_NONE
        and type(get("delivery")) in _TEXT_OR_NONE
        and type(get("kind")) in _TEXT_OR_NONE
        and type(get("key")) in _TEXT_OR_NONE
        and type(get("guard")) in _TEXT_OR_NONE
        and type(get("peer")) in _TEXT_OR_NONE
        and type(get("expire_at")) in _DATE_OR_NONE
        and ("query" not in event or event_holds("query", get("query")))
        and ("attributes" not in event or event_holds("attributes", get("attributes")))
        and ("request" not in event or event_holds("request", get("request")))
    )


_TEXT_OR_NONE: Final = frozenset({str, type(None)})
_DATE_OR_NONE: Final = frozenset({datetime, type(None)})


def _is_far(value: Any, field: Type) -> bool:
    """Whether *value* is a date that Python cannot hold: it reads as absent and does no harm."""
    return isinstance(value, DatetimeMS) and field is _DATE


def _sentence(name: str, value: Any, field: Type | None = None) -> str:
    if isinstance(value, Unreadable):
        return f"{name}: cannot be read ({value.reason}); {ASIDE}, then retry"
    got = "null" if value is None else f"{type(value).__name__} {value!r:.60}"
    if field is not None and field.python == (int, float) and isinstance(value, (int, float)):
        got += "" if not math.isfinite(value) or isinstance(value, bool) else f", beyond {LARGEST_COUNT}"
    return f"{name}: expected {field.words if field else 'something else'}, got {got}; {ASIDE}, then retry"
