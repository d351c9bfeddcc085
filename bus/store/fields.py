"""What each field of a task's document may hold: other programs write such documents, too.

The types are BSON's, by the names of MongoDB's ``$type``. null is as good as absent, except where
the server has to count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from bson import ObjectId


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
    "progress": _DOCUMENT, "output": _TEXT, "expire_at": _DATE,
}  # fmt: skip


NUMBERS: Final = tuple(name for name, field in FIELDS.items() if float in field.python)


def holds(name: str, value: Any) -> bool:
    """Whether *value* is one that the field *name* may have; unknown fields may have any."""
    if (field := FIELDS.get(name)) is None:
        return True
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return False
    if name == "history" and isinstance(value, list):
        return all(isinstance(entry, dict) for entry in value)
    return isinstance(value, field.python) or (value is None and "null" in field.bson)


def complaint(document: Mapping[str, Any]) -> str:
    """The sentence about the first field of *document* that holds what no task has; "" for a sound one."""
    for name, value in document.items():
        if not holds(name, value):
            got = "null" if value is None else f"{type(value).__name__} {value!r:.60}"
            return (
                f"{name}: expected {FIELDS[name].words}, got {got}; whoever wrote this document has to "
                "correct it, then retry"
            )
    return ""
