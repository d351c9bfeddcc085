"""Deletes what is past its retention, a bounded number of rows a call."""

from __future__ import annotations

import sqlite3
from json import dumps
from sys import float_info
from typing import Final

from .rows import REFERS

PAGE: Final = 500
# looked at in one call, however few of them may go: it takes some 50 ms, and the next call goes on there
MOST_LOOKED_AT: Final = 20 * PAGE
START: Final = (-float_info.max, 0)


class Pruning:
    """Ended tasks first, then events that no task may need any more; it goes on where it stopped."""

    def __init__(self) -> None:
        self._to: tuple[float, int] = START  # expire_at, seq

    def prune(self, sql: sqlite3.Connection, now: int, limit: int) -> int:
        """See contract.prune; a job of the connection."""
        tasks = sql.execute(
            "DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE expire_at <= ? AND "
            "state NOT IN ('ready', 'busy') LIMIT ?)",
            (now, limit),
        ).rowcount
        return tasks + self._events(sql, now, limit)

    def _events(self, sql: sqlite3.Connection, now: int, limit: int) -> int:
        """Go on where the last call stopped, passing over events that a task may still need."""
        gone: list[int] = []
        looked_at = 0
        while len(gone) < limit and looked_at < MOST_LOOKED_AT:
            page = sql.execute(
                "SELECT expire_at, seq, EXISTS (SELECT 1 FROM task "
                f"WHERE task.event_id = event.id AND {REFERS}) FROM event "
                "WHERE expire_at <= ? AND (expire_at, seq) > (?, ?) ORDER BY expire_at, seq LIMIT ?",
                (now, *self._to, PAGE),
            ).fetchall()
            for expire_at, seq, is_needed in page:
                self._to = (expire_at, seq)
                if not is_needed:
                    gone.append(seq)
                if len(gone) == limit:
                    break
            else:
                if len(page) < PAGE:
                    self._to = START
                    break
            looked_at += len(page)
        sql.execute("DELETE FROM event WHERE seq IN (SELECT value FROM json_each(?))", (dumps(gone),))
        return len(gone)
