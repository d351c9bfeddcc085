"""Reads damaged rows field by field.

SQLite puts anything into any column, and a disk may do so, too. The driver stops at a text that is no
UTF-8, in the middle of a page. Rows are read fast as long as that succeeds; a page that does not is
read again here, each row for itself and each value as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from ...errors import MonqbusError
from ...model import Event, MonQTask
from ...safe_text import shown
from ..documents import event_from_document, task_from_document
from ..fields import ASIDE, UNSOUND
from ..salvage import FRAME, Unreadable, opened, salvage, seal
from .rows import COLUMNS, LOWEST_RANK, SET_ASIDE, box, from_ms, own_moment, task_from_row

_NAMES: Final = tuple(COLUMNS.split(", "))
_MOMENTS: Final = ("time_queue", "time_start", "time_stop", "expire_at")
_BOXES: Final = ("result", "history", "progress")
_OF_THE_BODY: Final = ("args", "kwargs", "context")
_IN_ORDER: Final = (
    "typeof(task_name) = 'text' AND typeof(rank) IN ('integer', 'real') AND typeof(time_queue) = 'integer'"
)
_NUMBERS, _TEXTS, _BLOBS = range(3)
# the same as the driver says since Python 3.6
_NO_UTF8: Final = "Could not decode to UTF-8"


class Found(NamedTuple):
    """A row read with care: its *seq*, and the task with its `fault`."""

    seq: int
    task: MonQTask


def is_about_a_row(error: Exception) -> bool:
    """Whether *error* came from what a row holds, and not from the file or the disk."""
    if isinstance(error, sqlite3.Error):
        return str(error).startswith(_NO_UTF8)
    return not isinstance(error, MonqbusError)


@contextmanager
def any_text(sql: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """*sql*, giving text that is no UTF-8 as bytes meanwhile."""
    sql.text_factory = _text_or_bytes
    try:
        yield sql
    finally:
        sql.text_factory = str


class BadText(bytes):
    """Text that is no UTF-8."""


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return BadText(data)


def read_tasks(sql: sqlite3.Connection, tail: str, values: Sequence[Any]) -> list[MonQTask]:
    """The tasks of ``SELECT … FROM task`` *tail*, whatever their rows hold."""
    try:
        return [task_from_row(row) for row in sql.execute(f"SELECT {COLUMNS} FROM task {tail}", values)]
    except Exception as error:
        if not is_about_a_row(error):
            raise
    return [found.task for found in read_with_care(sql, tail, values)]


def read_with_care(sql: sqlite3.Connection, tail: str, values: Sequence[Any]) -> list[Found]:
    """As `read_tasks`, each with its seq."""
    with any_text(sql):
        rows = sql.execute(f"SELECT seq, {COLUMNS} FROM task {tail}", values).fetchall()
    return [Found(row[0], task_of_row(row[0], row[1:])) for row in rows]


def read_events(sql: sqlite3.Connection, tail: str, values: Sequence[Any]) -> list[Event]:
    """The events of ``SELECT … FROM event`` *tail*, whatever their rows hold."""
    with any_text(sql):
        rows = sql.execute(f"SELECT seq, id, document FROM event {tail}", values).fetchall()
    return [event_of_row(*row) for row in rows]


def event_of_row(seq: int, raw_id: Any, data: Any) -> Event:
    """The event of a row; its `fault` says what of it cannot be read."""
    document = salvage(data)
    event_id = id_of(raw_id, seq)
    if document.get("_id") != event_id:
        document.setdefault(FRAME, Unreadable(f"its row has the id {shown(raw_id)}"))
    return event_from_document({**document, "_id": event_id})


def id_of(raw_id: Any, seq: int) -> Any:
    """The id of a row; of one whose own is none, its place and what it has instead, under a seal."""
    if type(raw_id) is bytes and len(raw_id) == 12:
        return ObjectId(raw_id)
    kind, raw = b"number", raw_id if isinstance(raw_id, bytes) else str(raw_id).encode()
    if isinstance(raw_id, (str, bytes)):
        kind = b"blob" if type(raw_id) is bytes else b"text"
    return seal(b" ".join((b"%d" % seq, kind, raw)))


def handle(seq: int) -> Any:
    """An id by which `place` finds the row at *seq*, whatever its own is."""
    return seal(b"%d" % seq)


def place(item_id: Any) -> tuple[str, Any]:
    """The condition by which the row of *item_id* is found, and its value."""
    if isinstance(item_id, ObjectId):
        return "id = ?", item_id.binary
    seq = _seq_of(item_id)
    return ("0 = ?", 1) if seq is None else ("seq = ?", seq)  # the id of another store


def behind(item_id: Any) -> tuple[str, Any]:
    """The condition for ids lower than *item_id*, and its value; the row itself may be gone meanwhile."""
    rank, value = order_of(item_id)
    return ("id < CAST(? AS TEXT)" if rank == _TEXTS else "id < ?"), value


def order_of(item_id: Any) -> tuple[int, Any]:
    """A key for sorting ids as SQLite does: numbers, texts, blobs; see sqlite.org/datatype3.html."""
    if isinstance(item_id, ObjectId):
        return _BLOBS, item_id.binary
    _, kind, raw = [*(opened(item_id) or b"").split(b" ", 2), b"", b""][:3]
    if kind == b"number":
        return _NUMBERS, float(raw) if {*b".en"} & {*raw} else int(raw)
    return (_TEXTS if kind == b"text" else _BLOBS), raw


def _seq_of(item_id: Any) -> int | None:
    seq = (opened(item_id) or b"").split(b" ", 1)[0]
    return int(seq) if seq.isdigit() else None


def set_aside(sql: sqlite3.Connection, task_id: Any, reason: str, now: int) -> None:
    """End the task in `error`, everything else of its row as it is."""
    where, value = place(task_id)
    sql.execute(f"{SET_ASIDE} WHERE {where}", (box(reason), now, value))


def misplaced(sql: sqlite3.Connection) -> list[tuple[Any, str]]:
    """The ready tasks that stand in the index of claims with what cannot be compared, and why."""
    found = read_with_care(sql, f"WHERE state = 'ready' AND NOT ({_IN_ORDER})", ())
    for name in _names_that_are_no_text(sql):
        found += read_with_care(sql, "WHERE state = 'ready' AND task_name = CAST(? AS TEXT)", (name,))
    return [(handle(seq), task.fault or UNSOUND) for seq, task in found]


def _names_that_are_no_text(sql: sqlite3.Connection) -> Iterator[bytes]:
    last = b""
    while found := sql.execute(
        "SELECT CAST(task_name AS BLOB) FROM task INDEXED BY task_lane WHERE state = 'ready' "
        "AND typeof(task_name) = 'text' AND task_name > CAST(? AS TEXT) ORDER BY task_name LIMIT 1",
        (last,),
    ).fetchone():
        last = found[0]
        if isinstance(_text_or_bytes(last), bytes):
            yield last


def task_of_row(seq: int, row: Sequence[Any]) -> MonQTask:
    """The task of a row in the order of COLUMNS; its `fault` says what of it cannot be read."""
    values = dict(zip(_NAMES, row, strict=True))
    raw_id = values.pop("id")
    document: dict[str, Any] = {"_id": id_of(raw_id, seq)}
    document["priority"] = _priority(values.pop("rank"))
    document.update(_of_the_body(salvage(values.pop("body"))))
    for name, value in values.items():
        if name in _MOMENTS:
            document[name] = _moment(value)
        elif name in _BOXES:
            document[name] = _unboxed(value)
        else:
            document[name] = value
    if isinstance(event_id := document["event_id"], bytes) and len(event_id) == 12:
        document["event_id"] = ObjectId(event_id)
    task = task_from_document(document)
    if opened(task.id) is not None:
        task.fault = f"id: expected 12 bytes, got {shown(raw_id)}; {ASIDE}, then retry"
    return task


def _priority(rank: Any) -> Any:
    return (
        -rank if isinstance(rank, (int, float)) and rank != LOWEST_RANK else Unreadable(f"rank {rank!r:.60}")
    )


def _of_the_body(body: Mapping[str, Any]) -> dict[str, Any]:
    document = dict(body)
    for name in _OF_THE_BODY:
        if document.get(name) is None:
            document[name] = body.get(FRAME) or Unreadable("it is missing")
    kept = (*_OF_THE_BODY, "max_attempts", "timeout", "scheduled_for", "serial")
    return {name: document[name] for name in kept if name in document}


def _moment(value: Any) -> Any:
    if type(value) is not int:
        return value
    try:
        moment: datetime | None = from_ms(own_moment(value))
    except (OverflowError, ValueError, OSError):
        return DatetimeMS(value)
    return moment


def _unboxed(value: Any) -> Any:
    if value is None:
        return None
    document = salvage(value)
    if FRAME in document:
        return document[FRAME]
    return document.get("v", Unreadable("it has no value"))
