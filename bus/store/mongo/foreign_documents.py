"""Sets aside unsound documents that other programs wrote, so that they do not stop the queue.

One field of a wrong type would fail the update of a whole claim, or the handler's daemon when it has
to count with it. Such a document is passed over by the claim and then ends in `error`, as it is and
with a sentence about what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from pymongo.collection import Collection
from pymongo.errors import WriteError

from ...model import ERROR, READY
from ..fields import ASIDE, COUNTS, FIELDS, LARGEST_COUNT, NUMBERS, complaint
from ..salvage import opened
from .connection import Document, is_outage, refusal_of
from .lenient import PLAIN_BSON, RAW, id_of, is_, one_of, taken_apart

Tell = Callable[[Any, str], None]
"""Is told the id of a document that was set aside, and the reason."""

_PROPERTIES: Final[Document] = {name: {"bsonType": list(field.bson)} for name, field in FIELDS.items()}
_PROPERTIES["history"]["items"] = {"bsonType": "object"}
for _name in COUNTS:
    _PROPERTIES[_name].update(minimum=-LARGEST_COUNT, maximum=LARGEST_COUNT)

SOUND: Final[Document] = {
    "$jsonSchema": {"properties": _PROPERTIES},
    **{name: {"$nin": [math.nan, math.inf, -math.inf]} for name in NUMBERS},
}
"""The condition that a document holds what a task may hold; of its `_id` see ODD_ID."""

# looked for only where a claim has met one: for the server each condition costs, 100 times a claim
ODD_ID: Final[Document] = {
    "$or": [{"_id": {"$not": {"$type": list(PLAIN_BSON)}}}, {"_id": {"$in": [math.nan, math.inf, -math.inf]}}]
}


def set_aside(
    tasks: Collection[Document],
    which: Document,
    now: datetime,
    tell: Tell,
    *,
    state: str = READY,
    reason: str = "",
) -> list[Any]:
    """End in `error` those of *which* that are in *state* and not sound; all else of them stays as it is.

    With a *reason* also those that are sound. Returns the ids of those that the server lets nobody touch.
    """
    untouchable: list[Any] = []
    fence: Document = {"state": state}
    for raw in tasks.with_options(codec_options=RAW).find({"$and": [which, fence]}):
        document = taken_apart(raw.raw)
        task_id = id_of(document)
        said = complaint(document) or _about_id(document["_id"], task_id) or reason
        if not said:
            continue
        change = {"$set": {"state": ERROR, "result": said, "time_stop": now}}
        try:
            if tasks.update_one({"_id": is_("$eq", task_id), **fence}, change).matched_count:
                tell(task_id, said)
        except WriteError as error:  # the rules of the store forbid this, too
            if is_outage(error):
                raise
            tell(task_id, f"{said}; {refusal_of(error)}")
            untouchable.append(task_id)
    return untouchable


def _about_id(given: Any, task_id: Any) -> str:
    if opened(task_id) is None:
        return ""
    got = "what cannot be read" if given is task_id else _kind(given)
    return f"_id: expected an ObjectId, got {got}; {ASIDE}, then retry"


def _kind(given: Any) -> str:
    return "a document" if isinstance(given, dict) else type(given).__name__


def unsound(ids: Sequence[Any]) -> Document:
    """The condition for those of *ids* that are not sound."""
    return {"$and": [one_of(ids), {"$nor": [SOUND]}]}
