"""Version 4: small documents about the queue itself, such as how far a schedule has come."""

from __future__ import annotations

import sqlite3

from ..rows import RECORD_TABLE


def migrate(sql: sqlite3.Connection) -> None:
    """Make the table; nothing of it was kept before."""
    sql.execute(RECORD_TABLE)
