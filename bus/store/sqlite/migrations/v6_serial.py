"""Version 6: the serial key of a task in a column of its own, and what lets the next task of a key go on."""

from __future__ import annotations

import sqlite3

from ..rows import SERIAL


def migrate(sql: sqlite3.Connection) -> None:
    """Add the column, which is empty, with its indexes and triggers: no row is read."""
    for statement in ("ALTER TABLE task ADD COLUMN serial TEXT", *SERIAL):
        sql.execute(statement)
