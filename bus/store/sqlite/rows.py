"""The SQL schema, and rows to tasks and events and back.

Moments are milliseconds since 1970, ids the twelve bytes of an ObjectId, `rank` is minus the
priority so that every index runs upwards. What is never searched is BSON in a blob.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from bson import ObjectId

from ...clock import UTC
from ...codec import decode, encode, undo_references
from ...model import RUNNABLE, STATES, Event, MonQTask
from ..fields import LARGEST_COUNT

SCHEMA_VERSION = 6
"""What `migrations` ends with, and what a new file is made as."""
_ENDED_FOR_GOOD = [state for state in STATES if state not in RUNNABLE]
# in these words a query gets the index; with other states the index needs another name. Not IN: of more than
# two states SQLite makes a table at each change of a task, which costs a quarter of all ends (measured)
REFERS = " AND ".join(["event_id IS NOT NULL", *(f"state != {state!r}" for state in _ENDED_FOR_GOOD)])
BEHIND_MS = 1_000_000_000_000_000
"""Added to the `time_queue` of a task that waits behind another one of its serial key.

No claim finds it there: the year is beyond 9999. Whatever ends or deletes the other one takes this away from
the next one, in the same statement: triggers do it, so that no verb, no older program and no hand forgets it.
"""
_BEHIND = f"time_queue >= {BEHIND_MS}"
_ENDED = "{}.state NOT IN ('ready', 'busy')"
_HOLDS, _WAITS = f"line = {{}} AND ({_BEHIND}) = 0", f"line = {{}} AND ({_BEHIND}) = 1"
HOLDER = f"SELECT seq FROM task WHERE {_HOLDS.format('?')} LIMIT 1"
LINE = f"SELECT seq, id FROM task WHERE line = ? AND ({_BEHIND}) = {{}} ORDER BY seq {{}} LIMIT ?"
_PASS_ON = f"""
    UPDATE task SET time_queue = time_queue - {BEHIND_MS} WHERE seq = (
        SELECT seq FROM task WHERE {_WAITS.format("OLD.serial")} ORDER BY seq LIMIT 1
    ) AND NOT EXISTS (SELECT 1 FROM task WHERE {_HOLDS.format("OLD.serial")});"""
SERIAL = (
    # it has no word of the state: a claim leaves it alone, and so does every task without a key
    f"CREATE INDEX task_line ON task (line, {_BEHIND}) WHERE line IS NOT NULL",
    # one trigger for all that changes a state: each further one costs a seventh of an end, key or not
    f"""CREATE TRIGGER task_moved AFTER UPDATE OF state ON task WHEN OLD.serial IS NOT NULL
    AND ({_ENDED.format("NEW")} OR {_ENDED.format("OLD")})
BEGIN
    UPDATE task SET line = NULL WHERE seq = NEW.seq AND {_ENDED.format("NEW")};
    UPDATE task SET line = serial,
        time_queue = time_queue % {BEHIND_MS}
            + {BEHIND_MS} * EXISTS (SELECT 1 FROM task WHERE {_HOLDS.format("OLD.serial")})
        WHERE seq = NEW.seq AND NEW.state = 'ready' AND line IS NULL;{_PASS_ON}
END""",
    f"""CREATE TRIGGER task_deleted AFTER DELETE ON task WHEN OLD.line IS NOT NULL
BEGIN{_PASS_ON}
END""",
)
"""`line` is the serial key of an unfinished task. The order in a line is that of `seq`, of being stored."""
GUARD_INDEX = "CREATE UNIQUE INDEX event_guard ON event (guard) WHERE guard IS NOT NULL"
DELIVERY_LOG = """CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    by_stranger INTEGER NOT NULL,
    size INTEGER NOT NULL,
    hook TEXT,
    status INTEGER,
    delivery TEXT,
    received INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX delivery_ring ON delivery (by_stranger, id, size)"""
RECORD_TABLE = """\
CREATE TABLE record (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID"""
SCHEMA = f"""
CREATE TABLE task (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL,
    rank INTEGER NOT NULL,
    time_queue INTEGER NOT NULL,
    task_name TEXT NOT NULL,
    result_type TEXT NOT NULL,
    time_start INTEGER,
    time_stop INTEGER,
    process TEXT,
    attempt INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    worker TEXT,
    generation INTEGER NOT NULL,
    key TEXT,
    event_id BLOB,
    topic TEXT,
    expire_at INTEGER,
    output TEXT,
    body BLOB NOT NULL,
    result BLOB,
    history BLOB,
    progress BLOB,
    serial TEXT,
    line TEXT
);
CREATE INDEX task_lane ON task (task_name, rank, time_queue) WHERE state = 'ready';
CREATE INDEX task_state ON task (state, id);
CREATE UNIQUE INDEX task_key ON task (key) WHERE key IS NOT NULL AND state IN ('ready', 'busy');
CREATE INDEX task_of_event ON task (event_id) WHERE {REFERS};
CREATE INDEX task_expire ON task (expire_at) WHERE expire_at IS NOT NULL;
{"; ".join(SERIAL)};
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    key TEXT UNIQUE,
    hook TEXT,
    expire_at INTEGER,
    document BLOB NOT NULL,
    topic TEXT,
    received INTEGER,
    task_count INTEGER,
    kind TEXT,
    guard TEXT,
    filtered INTEGER
);
CREATE INDEX event_expire ON event (expire_at) WHERE expire_at IS NOT NULL;
{GUARD_INDEX};
{DELIVERY_LOG};
CREATE TABLE beat (one INTEGER PRIMARY KEY, beats INTEGER NOT NULL);
INSERT INTO beat VALUES (1, 0);
{RECORD_TABLE};
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
LOWEST_RANK = -(2**63)
LATEST_MS = 253_402_300_799_999  # the end of the year 9999, the last that Python's dates have


def to_ms(moment: datetime | None) -> int | None:
    """Milliseconds since 1970 of an aware *moment*."""
    return None if moment is None else (moment - _EPOCH) // _MS


def from_ms(ms: int | None) -> datetime | None:
    """The aware UTC moment of *ms*."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def box(value: Any) -> bytes | None:
    """*value* as a column holds it."""
    return encode({"v": value}) if value is not None else None


def _unbox(data: bytes | None) -> Any:
    if data is None:
        return None
    value = decode(data)["v"]
    return undo_references(value) if b"$ref" in data else value


def _same(value: Any) -> Any:
    return value


def _raw_id(value: ObjectId | None) -> bytes | None:
    return None if value is None else value.binary


_TO_COLUMN: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "state": ("state", _same),
    "priority": ("rank", lambda priority: -priority),
    "time_queue": ("time_queue", to_ms),
    "time_start": ("time_start", to_ms),
    "time_stop": ("time_stop", to_ms),
    "process": ("process", _same),
    "attempt": ("attempt", _same),
    "crashes": ("crashes", _same),
    "worker": ("worker", _same),
    "expire_at": ("expire_at", to_ms),
    "output": ("output", _same),
    "result": ("result", box),
    "history": ("history", box),
    "progress": ("progress", box),
}

COLUMNS = (
    "id, state, rank, time_queue, task_name, result_type, time_start, time_stop, process, attempt, crashes, "
    "worker, generation, key, event_id, topic, expire_at, output, body, result, history, progress"
)
NO_BODY = encode({"args": [], "kwargs": {}, "context": {}}).hex()
BRIEF = (
    "id, state, rank, time_queue, task_name, result_type, time_start, time_stop, process, attempt, crashes, "
    f"worker, generation, key, event_id, topic, expire_at, NULL, x'{NO_BODY}', result, history, progress"
)
"""COLUMNS without what may be large and is not listed."""
INSERT_TASK = f"""
    INSERT INTO task ({COLUMNS}) VALUES ({", ".join("?" * 22)}) ON CONFLICT DO NOTHING
"""
INSERT_SERIAL = f"""
    INSERT INTO task ({COLUMNS}, serial, line) VALUES ({", ".join("?" * 24)}) ON CONFLICT DO NOTHING
"""
SET_ASIDE = "UPDATE task SET state = 'error', result = ?, time_stop = ?"
HAS_TASK = "SELECT 1 FROM task WHERE id = ?"
HAS_EVENT = "SELECT 1 FROM event WHERE id = ?"
INSERT_EVENT = """
    INSERT INTO event (id, key, hook, expire_at, document, topic, received, task_count, kind, guard, filtered)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""


def assignments(fields: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The SET clause of *fields* with its values. KeyError for a field that never changes."""
    columns, converters = _columns_of(tuple(fields))
    return columns, [convert(value) for convert, value in zip(converters, fields.values(), strict=True)]


@lru_cache(maxsize=64)
def _columns_of(names: tuple[str, ...]) -> tuple[str, list[Callable[[Any], Any]]]:
    """The SET clause of fields of these *names*, and what makes each value that of a column."""
    columns = [_TO_COLUMN[name] for name in names]
    return ", ".join(f"{column} = ?" for column, _ in columns), [convert for _, convert in columns]


def conditions(fields: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The condition that a row has all *fields*, with its values. KeyError for a field that never changes."""
    columns, values = assignments(fields)
    return columns.replace(" = ?,", " IS ? AND").replace(" = ?", " IS ?"), values


def task_to_row(task: MonQTask) -> tuple[Any, ...]:
    """The values of *task* in the order of COLUMNS."""
    body: dict[str, Any] = {"args": task.args, "kwargs": task.kwargs, "context": task.context}
    if task.max_attempts is not None:
        body["max_attempts"] = task.max_attempts
    if task.timeout is not None:
        body["timeout"] = task.timeout
    if task.scheduled_for is not None:
        body["scheduled_for"] = task.scheduled_for
    if task.serial is not None:
        body["serial"] = task.serial
    return (
        task.id.binary, task.state, -task.priority, to_ms(task.time_queue), task.task_name,
        task.result_type, to_ms(task.time_start), to_ms(task.time_stop), task.process, task.attempt,
        task.crashes, task.worker, task.generation, task.key, _raw_id(task.event_id), task.topic,
        to_ms(task.expire_at), task.output, encode(body), box(task.result), box(task.history or None),
        box(task.progress),
    )  # fmt: skip


def own_moment(time_queue: int) -> int:
    """A stored `time_queue` as its task was given it."""
    return time_queue if time_queue < BEHIND_MS else time_queue - BEHIND_MS


class BadRow(ValueError):
    """A row holds what no task has; `sqlite_salvage` tells what."""


def task_from_row(row: tuple[Any, ...]) -> MonQTask:
    """The task of a row in the order of COLUMNS. Raises for one that is not sound, BadRow or whatever."""
    (
        raw_id, state, rank, time_queue, task_name, result_type, time_start, time_stop, process, attempt,
        crashes, worker, generation, key, event_id, topic, expire_at, output, body, result, history, progress,
    ) = row  # fmt: skip
    kept = decode(body)
    args, kwargs, context = kept["args"], kept["kwargs"], kept["context"]
    if type(args) is not list or type(kwargs) is not dict or type(context) is not dict:
        raise BadRow
    if len(kept) > 3 and not _is_sound_more(kept):
        raise BadRow
    for count in (attempt, generation, crashes):
        if type(count) is not int or count > LARGEST_COUNT:
            raise BadRow
    if type(raw_id) is not bytes or type(rank) is not int or rank == LOWEST_RANK:  # its priority has 65 bits
        raise BadRow
    for text in (state, task_name, result_type, process, worker, key, topic, output):
        if text is not None and type(text) is not str:
            raise BadRow
    return MonQTask(  # by position: this is the hottest line of a claim
        ObjectId(raw_id),
        task_name,
        args,
        kwargs,
        datetime.fromtimestamp(own_moment(time_queue) / 1000, UTC),
        context,
        state,
        -rank,
        result_type,
        _unbox(result),
        from_ms(time_start),
        from_ms(time_stop),
        process,
        attempt,
        kept.get("max_attempts"),
        crashes,
        worker,
        generation,
        key,
        ObjectId(event_id) if event_id else None,
        topic,
        kept.get("timeout"),
        _history(history),
        _progress(progress),
        output,
        from_ms(expire_at),
        kept.get("scheduled_for"),
        kept.get("serial"),
    )


def _is_sound_more(kept: Mapping[str, Any]) -> bool:
    """Whether what a body seldom holds is what it should be."""
    moment, serial = kept.get("scheduled_for"), kept.get("serial")
    return (
        _is_number(kept.get("max_attempts"))
        and _is_number(kept.get("timeout"))
        and (moment is None or type(moment) is datetime)
        and (serial is None or type(serial) is str)
    )


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))


def _history(data: bytes | None) -> list[dict[str, Any]]:
    if data is None:
        return []
    history = _unbox(data) or []
    if type(history) is not list or not all(type(entry) is dict for entry in history):
        raise BadRow
    return history


def _progress(data: bytes | None) -> dict[str, Any] | None:
    progress = _unbox(data)
    if progress is not None and type(progress) is not dict:
        raise BadRow
    return progress


def event_to_row(event: Event, document: dict[str, Any]) -> tuple[Any, ...]:
    """The values of *event* for INSERT_EVENT."""
    return (
        event.id.binary, event.unique_key, event.hook, to_ms(event.expire_at), encode(document), event.topic,
        to_ms(event.received), len(event.task_ids), event.kind, event.guard,
        int(event.is_filtered),
    )  # fmt: skip
