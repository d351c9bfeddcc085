"""Version 3: an event has a kind of its own; that it has a hook no longer says so."""

from __future__ import annotations

import sqlite3


def migrate(sql: sqlite3.Connection) -> None:
    """Make the kind of the key, which only deliveries had, that of the event. Documents stay as they are.

    One that says no kind is read as `model.kind_and_key` has it.
    """
    sql.execute("ALTER TABLE event RENAME COLUMN key_kind TO kind")
    sql.execute("UPDATE event SET kind = CASE WHEN hook IS NULL THEN 'published' ELSE 'delivery' END")
