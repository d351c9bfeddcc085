"""The events that are already stored under the id or key of a new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from bson import ObjectId
from pymongo.collection import Collection

from ...model import Event, Posting
from .connection import Document
from .lenient import id_of, is_, read, texts_of

SHOWN: Final = {"key": 1, "task_ids": 1, "handlers": 1, "fanned_out": 1, "expire_at": 1, "guard": 1}
WITH_TASKS: Final[Document] = {"task_ids": {"$elemMatch": {"$type": "objectId"}}}
WITHOUT_TASKS: Final[Document] = {"task_ids": {"$not": WITH_TASKS["task_ids"]}}
"""The condition that an event has no tasks, whatever stands in the place of their ids."""


class Duplicate(NamedTuple):
    """An earlier event, or the one itself that was to be stored.

    Whatever its document lacks or has wrongly reads as absent, *expire_at* as it is.
    """

    id: Any
    keys: list[str]
    task_ids: list[ObjectId]
    handlers: list[tuple[str, ObjectId]]
    fanned_out: bool
    expire_at: Any
    guard: str | None = None

    def is_own(self, posting: Posting) -> bool:
        """Whether it is the event of *posting* itself, with its tasks."""
        return self.has_id_of(posting) and self.names(posting)

    def has_id_of(self, posting: Posting) -> bool:
        """Whether it has the id of *posting*'s event."""
        return posting.event is not None and self.id == posting.event.id

    def names(self, posting: Posting) -> bool:
        """Whether its tasks are those of *posting*."""
        return self.task_ids == [task.id for task in posting.tasks]


def firsts(events: Collection[Document], there: Sequence[Event]) -> list[Duplicate]:
    """What stands under the ids and keys of *there*."""
    keys = [event.unique_key for event in there if event.unique_key is not None]
    ways: list[Document] = [{"_id": {"$in": [event.id for event in there]}}, {"key": {"$in": keys}}]
    if guards := [event.guard for event in there if event.guard is not None]:
        ways.append({"guard": {"$in": guards}})
    query = {"$or": ways}
    return [_first(document) for document in read(events, lambda sound: sound.find(query, SHOWN))]


def first_now(events: Collection[Document], event_id: Any) -> Duplicate | None:
    """What stands under *event_id* at this moment."""
    query = {"_id": is_("$eq", event_id)}
    found = read(events, lambda sound: sound.find(query, SHOWN).limit(1))
    return _first(found[0]) if found else None


def _first(document: Document) -> Duplicate:
    key, ids, names = (document.get(name) for name in ("key", "task_ids", "handlers"))
    ids, names = (value if isinstance(value, list) else [] for value in (ids, names))
    return Duplicate(
        id_of(document),
        texts_of(key),
        [task_id for task_id in ids if isinstance(task_id, ObjectId)],
        [
            (name, task_id)
            for name, task_id in zip(names, ids, strict=False)
            if type(name) is str and isinstance(task_id, ObjectId)
        ],
        bool(document.get("fanned_out")),
        document.get("expire_at"),
        guard if isinstance(guard := document.get("guard"), str) else None,
    )
