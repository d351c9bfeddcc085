"""Version 5: the delivery log, filtered events, and by what a recorded delivery is recognised.

No released version has stored an event as filtered, so that no document has to be read for it.
"""

from __future__ import annotations

import sqlite3
from typing import Final

_STATEMENTS: Final = (
    "ALTER TABLE event ADD COLUMN guard TEXT",
    "ALTER TABLE event ADD COLUMN filtered INTEGER",
    "CREATE UNIQUE INDEX event_guard ON event (guard) WHERE guard IS NOT NULL",
    """CREATE TABLE delivery (
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
    )""",
    "CREATE INDEX delivery_ring ON delivery (by_stranger, id, size)",
)


def migrate(sql: sqlite3.Connection) -> None:
    """Add a table, two columns and two indexes, all of them empty: no document is read."""
    for statement in _STATEMENTS:
        sql.execute(statement)
