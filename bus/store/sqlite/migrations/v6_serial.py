"""Version 6: the serial key of a task in a column of its own, and what lets the next task of a key go on."""

from __future__ import annotations

import sqlite3
from typing import Final

from ..rows import SERIAL

_COLUMNS: Final = ("ALTER TABLE task ADD COLUMN serial TEXT", "ALTER TABLE task ADD COLUMN line TEXT")


def migrate(sql: sqlite3.Connection) -> None:
    """Add two columns, which are empty, with their index and triggers: no row is read."""
    for statement in (*_COLUMNS, *SERIAL):
        sql.execute(statement)
