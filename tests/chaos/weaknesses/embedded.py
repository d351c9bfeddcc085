"""Weaknesses of the embedded store: its SQL is rewritten on the way to SQLite."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable
from typing import Any

from bus.store.sqlite.file_identity import FileIdentity

Rewrite = Callable[[str, Any], "tuple[str, Any]"]

FENCE = " AND state = 'busy' AND worker = ? AND generation = ?"


def synchronous_off() -> None:
    """SQLite hands its writes to the system and does not wait for the disk."""
    _rewrite(lambda sql, values: (sql.replace("synchronous = FULL", "synchronous = OFF"), values))


def files_not_looked_at() -> None:
    """What is committed counts as stored, whatever has become of the files."""
    FileIdentity.look = lambda self: None


def no_lock() -> None:
    """A second daemon may open the file: neither lock file nor exclusive mode."""
    fcntl.flock = lambda *_: None
    _rewrite(lambda sql, values: (sql.replace("locking_mode = EXCLUSIVE", "locking_mode = NORMAL"), values))


def no_lock_no_fence() -> None:
    """As no_lock, and an end is recorded whoever holds the task by then."""
    no_lock()

    def unfenced(sql: str, values: Any) -> tuple[str, Any]:
        return (sql.removesuffix(FENCE), values[:-2]) if sql.endswith(FENCE) else (sql, values)

    _rewrite(unfenced)


def _rewrite(rewrite: Rewrite) -> None:
    """Let every statement of connections made from now on pass *rewrite*."""
    connect = sqlite3.connect

    def rewriting(*words: Any, **more: Any) -> sqlite3.Connection:
        base = more.pop("factory", sqlite3.Connection)

        class Rewriting(base):
            def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
                return super().execute(*rewrite(sql, values))

        return connect(*words, factory=Rewriting, **more)

    sqlite3.connect = rewriting
