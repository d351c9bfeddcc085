"""Limits of a task name in SQLite: what runs is counted, and until when starts were given out is kept."""

from __future__ import annotations

import sqlite3

from ...codec import encode
from ...limits import KIND, UNTIL, Limit
from ..salvage import salvage


def places(sql: sqlite3.Connection, name: str, bound: Limit) -> int:
    """How many more tasks of *name* may run."""
    if bound.most is None:
        return 2**31
    query = "SELECT count(*) FROM task INDEXED BY task_state WHERE state = 'busy' AND task_name = ?"
    (running,) = sql.execute(query, (name,)).fetchone()
    return max(0, bound.most - int(running))


def starts(sql: sqlite3.Connection, name: str, bound: Limit, now: int, wanted: int) -> tuple[int, int | None]:
    """How many of *wanted* may begin at *now*, which counts as begun; when the next one may, if fewer.

    *now* and that moment in milliseconds.
    """
    if bound.every is None or not wanted:
        return wanted, None
    found = sql.execute(
        "SELECT CAST(document AS BLOB) FROM record WHERE kind = ? AND name = ?", (KIND, name)
    ).fetchone()
    second = now / 1000
    until = bound.seen(salvage(found[0]).get(UNTIL) if found else None, second)
    given = min(wanted, bound.starts(until, second))
    if given:
        until = bound.after(until, given)
        sql.execute(
            "INSERT INTO record VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET version = version + 1, "
            "document = excluded.document",
            (KIND, name, encode({UNTIL: until})),
        )
    return given, None if given == wanted else bound.opens(until)
