"""Documents that another program wrote wrongly: they must not stop the queue for all others.

One field of a wrong type would fail the update of a whole claim, or the handler's daemon when it has
to count with it. Such a document is passed over by the claim and then ends in `error`, as it is and
with a sentence about what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pymongo.collection import Collection

from ...model import ERROR, READY
from ..fields import FIELDS, NUMBERS, complaint
from .connection import Document

_PROPERTIES: Final[Document] = {name: {"bsonType": list(field.bson)} for name, field in FIELDS.items()}
_PROPERTIES["history"]["items"] = {"bsonType": "object"}

SOUND: Final[Document] = {
    "$jsonSchema": {"properties": {**_PROPERTIES, "_id": {"not": {"bsonType": "object"}}}},
    **{name: {"$nin": [math.nan, math.inf, -math.inf]} for name in NUMBERS},
}
"""The condition that a document holds what a task may hold."""


def set_aside(tasks: Collection[Document], ids: Sequence[Any], now: datetime) -> None:
    """End in `error` those of *ids* that are ready and not sound; all else of them stays as it is."""
    unsound = {"state": READY, "$nor": [SOUND]}
    for document in tasks.find({"_id": {"$in": list(ids)}, **unsound}):
        reason = complaint(document) or "_id: expected an ObjectId, got a document"
        tasks.update_one(
            {"_id": {"$eq": document["_id"]}, **unsound},
            {"$set": {"state": ERROR, "result": reason, "time_stop": now}},
        )
