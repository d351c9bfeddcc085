"""Tasks that run one after the other in MongoDB: who holds a serial key, and who follows.

Every task of a key is stored as waiting: its `time_queue` is one that no claim reaches, `due` keeps its
own, and the server writes the order into `turn` as it inserts. The task that may run `holds` the key, which a
unique index grants to one unfinished task at a time: whatever ends it, daemon, operator or hand, has freed
the key in the same write. The next one gets it in a write behind that. A process that dies in between leaves
a mark: an ended task that still `holds`, or a stored one that is still `placing`. Both are rare and have an
index; any daemon looks for them each second.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bson import Timestamp
from pymongo import ASCENDING, DESCENDING, UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, PyMongoError

from ...model import BUSY, ENDED, READY, SKIPPED, MonQTask
from ..contract import Line
from ..documents import EPOCH, NOT_YET, task_to_document
from .connection import DUPLICATE_KEY, Document, refusals
from .lenient import id_of, one_of, read, texts_of
from .schema import BEHIND, UNENDED

ROUNDS: Final = 5
PAGE: Final = 500
UNACKNOWLEDGED: Final = WriteConcern(w=0)
OVER: Final = {"$in": list(ENDED)}
IS_THERE: Final = {"$exists": True}
GONE: Final = {"$exists": False}


def stored(task: MonQTask) -> Document:
    """The document under which *task* is stored; one with a serial key waits until `place` lets it go on."""
    document = task_to_document(task)
    if task.serial is None:
        return document
    document["turn"] = Timestamp(0, 0)  # the server puts its own time there, higher with each insert
    if task.state == READY:
        document.update(due=task.time_queue, time_queue=NOT_YET, placing=True)
    elif task.state == BUSY:
        document["holds"] = task.serial
    return document


def keys_of(tasks: Iterable[MonQTask]) -> set[str]:
    """The serial keys of *tasks*."""
    return {task.serial for task in tasks if task.serial is not None}


def place(tasks: Collection[Document], keys: AnyCollection[str], ids: Sequence[Any]) -> None:
    """Let the first tasks of *keys* go on, then take the mark from those of *ids*, which were stored now."""
    pass_on(tasks, keys)
    _forget(tasks, {**one_of(ids), "placing": IS_THERE}, "placing")


def ended(tasks: Collection[Document], keys: AnyCollection[str], ids: Sequence[Any]) -> None:
    """Let the next tasks of *keys* go on; those of *ids*, which may have ended, hold nothing any more."""
    pass_on(tasks, keys)
    _forget(tasks, {**one_of(ids), "holds": IS_THERE, "state": OVER}, "holds")


def pass_on(tasks: Collection[Document], keys: AnyCollection[str]) -> None:
    """Let the first task of each of *keys* go on that nobody holds. Others may do the same meanwhile."""
    open_keys = set(keys)
    for _ in range(ROUNDS):
        open_keys -= _held(tasks, open_keys)
        firsts = [first for key in open_keys if (first := _first(tasks, key)) is not None]
        if not firsts:
            return
        open_keys = {first["serial"] for first in firsts}
        try:
            if tasks.bulk_write([_go(first) for first in firsts], ordered=False).matched_count == len(firsts):
                return
        except BulkWriteError as error:  # somebody else was faster: the index has let one of them go
            if any(refusal["code"] != DUPLICATE_KEY for refusal in refusals(error)):
                raise


def mend(tasks: Collection[Document]) -> bool:
    """Let those go on whose predecessor's end, or whose own storing, was cut; whether there were some."""
    over = read(tasks, lambda sound: sound.find({"holds": IS_THERE, "state": OVER}, {"holds": 1}).limit(PAGE))
    new = read(tasks, lambda sound: sound.find({"placing": IS_THERE}, {"serial": 1}).limit(PAGE))
    if over:
        keys = {key for document in over for key in texts_of(document.get("holds"))}
        ended(tasks, keys, [document["_id"] for document in over])
    if new:
        keys = {key for document in new for key in texts_of(document.get("serial"))}
        place(tasks, keys, [document["_id"] for document in new])
    return bool(over or new)


def leave(tasks: Collection[Document], which: Document) -> list[Any]:
    """Before those of *which* are deleted: let the next tasks of the keys that they hold go on; their ids."""
    found = read(tasks, lambda sound: sound.find({**which, "holds": IS_THERE}, {"holds": 1}))
    if not found:
        return []
    ids = [document["_id"] for document in found]
    tasks.update_many({**one_of(ids), "state": UNENDED}, {"$set": {"state": SKIPPED}})
    pass_on(tasks, {key for document in found for key in texts_of(document["holds"])})
    return ids


def waiting_again(update: Mapping[str, Any]) -> Document:
    """*update*, which makes a task ready, as it is for one with a serial key: it goes back into the line."""
    values = dict(update["$set"])
    values.update(due=values.get("time_queue", EPOCH), time_queue=NOT_YET, placing=True)
    return {**update, "$set": values, "$unset": {**update.get("$unset", {}), "holds": ""}}


def settle(tasks: Collection[Document], ids: Sequence[Any]) -> None:
    """Let those go on that may, after tasks of *ids* were moved by an operator."""
    which = {**one_of(ids), "serial": IS_THERE}
    found = read(tasks, lambda sound: sound.find(which, {"serial": 1}))
    if found:
        keys = {key for document in found for key in texts_of(document.get("serial"))}
        moved = [document["_id"] for document in found]
        ended(tasks, keys, moved)
        _forget(tasks, {**one_of(moved), "placing": IS_THERE}, "placing")


def line_of(tasks: Collection[Document], key: str, limit: int, *, newest: bool) -> Line:
    """See contract.Archive.line."""
    held = {"holds": key, "state": UNENDED}
    holders = read(tasks, lambda sound: sound.find(held, {"_id": 1}).limit(1))
    waiting = {"serial": key, "state": READY, "due": IS_THERE}
    order = [("turn", DESCENDING if newest else ASCENDING)]
    behind = (
        read(tasks, lambda sound: sound.find(waiting, {"_id": 1}).sort(order).limit(limit).hint(BEHIND))
        if limit > 0
        else []
    )
    return Line(id_of(holders[0]) if holders else None, [id_of(document) for document in behind])


def _held(tasks: Collection[Document], keys: AnyCollection[str]) -> set[str]:
    query = {"holds": {"$in": list(keys)}, "state": UNENDED}
    found = read(tasks, lambda sound: sound.find(query, {"holds": 1}))
    return {key for document in found for key in texts_of(document.get("holds"))}


def _first(tasks: Collection[Document], key: str) -> Document | None:
    query = {"serial": key, "state": READY, "due": IS_THERE}
    shown = {"serial": 1, "due": 1}
    found = read(
        tasks,
        lambda sound: sound.find(query, shown).sort([("turn", ASCENDING)]).limit(1).hint(BEHIND),
    )
    return found[0] if found else None


def _go(first: Document) -> UpdateOne:
    fence = {"_id": first["_id"], "state": READY, "due": first["due"]}
    change = {
        "$set": {"holds": first["serial"], "time_queue": first["due"]},
        "$unset": {"due": "", "placing": ""},
    }
    return UpdateOne(fence, change)


def _forget(tasks: Collection[Document], which: Document, mark: str) -> None:
    """Take *mark* away. Unacknowledged: one that stays costs a look, and the work is done."""
    with suppress(PyMongoError):
        hasty = tasks.with_options(write_concern=UNACKNOWLEDGED)
        hasty.update_many(which, {"$unset": {mark: ""}})
