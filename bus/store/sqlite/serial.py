"""Tasks that run one after the other in SQLite: how they are stored; triggers do what follows."""

from __future__ import annotations

import sqlite3

from ...model import ENDED, READY, MonQTask
from .rows import BEHIND_MS, HOLDER, INSERT_SERIAL, INSERT_TASK, task_to_row

TIME_QUEUE = 3
"""The place of `time_queue` in a row."""


def insert_task(sql: sqlite3.Connection, task: MonQTask) -> bool:
    """Insert *task*, behind the one that holds its serial key; whether it was not there before."""
    row = task_to_row(task)
    if task.serial is None:
        return bool(sql.execute(INSERT_TASK, row).rowcount)
    if task.state == READY and sql.execute(HOLDER, (task.serial,)).fetchone():
        row = (*row[:TIME_QUEUE], row[TIME_QUEUE] + BEHIND_MS, *row[TIME_QUEUE + 1 :])
    line = None if task.state in ENDED else task.serial
    return bool(sql.execute(INSERT_SERIAL, (*row, task.serial, line)).rowcount)
