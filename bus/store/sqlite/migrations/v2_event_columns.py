"""Version 2: what events are searched by stands in columns of its own; the index of an event's tasks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ...salvage import salvage
from ..rows import REFERS, to_ms

_STATEMENTS: Final = (
    "ALTER TABLE event ADD COLUMN topic TEXT",
    "ALTER TABLE event ADD COLUMN received INTEGER",
    "ALTER TABLE event ADD COLUMN task_count INTEGER",
    "ALTER TABLE event ADD COLUMN key_kind TEXT",
    # version 1 was made with this index in its first form, in the second, and without one on a full disk
    f"CREATE INDEX IF NOT EXISTS task_of_event ON task (event_id) WHERE {REFERS}",
    "DROP INDEX IF EXISTS task_event",
)


def migrate(sql: sqlite3.Connection) -> None:
    """Add the columns and fill them from the documents; NULL where a document cannot be read."""
    for statement in _STATEMENTS:
        sql.execute(statement)
    # of the numbers alone a list is small; documents may have megabytes, so one is in memory at a time
    for (seq,) in sql.execute("SELECT seq FROM event").fetchall():
        (data,) = sql.execute("SELECT CAST(document AS BLOB) FROM event WHERE seq = ?", (seq,)).fetchone()
        sql.execute(
            "UPDATE event SET topic = ?, received = ?, task_count = ?, "
            "key_kind = CASE WHEN key IS NOT NULL THEN 'delivery' END WHERE seq = ?",
            (*_columns(salvage(data)), seq),
        )


def _columns(document: Mapping[str, Any]) -> tuple[str | None, int | None, int | None]:
    topic, received, tasks = (document.get(name) for name in ("topic", "received", "task_ids"))
    return (
        topic if type(topic) is str else None,
        to_ms(received) if isinstance(received, datetime) else None,
        len(tasks) if isinstance(tasks, list) else None,
    )
