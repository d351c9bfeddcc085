"""Version 4: the delivery log, and by what a recorded delivery is recognised under another id."""

from __future__ import annotations

import sqlite3
from typing import Final

_STATEMENTS: Final = (
    "ALTER TABLE event ADD COLUMN guard TEXT",
    "CREATE UNIQUE INDEX event_guard ON event (guard) WHERE guard IS NOT NULL",
    """CREATE TABLE delivery (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        is_refused INTEGER NOT NULL,
        size INTEGER NOT NULL,
        hook TEXT,
        status INTEGER,
        delivery TEXT,
        received INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        document BLOB NOT NULL
    )""",
    "CREATE INDEX delivery_ring ON delivery (is_refused, id, size)",
)


def migrate(sql: sqlite3.Connection) -> None:
    """Add a table, a column and two indexes, all of them empty: no document is read."""
    for statement in _STATEMENTS:
        sql.execute(statement)
