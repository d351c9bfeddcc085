"""Brings a file of an earlier schema version up to date: a backup beside it, then one transaction."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from ...errors import StoreUnavailable
from .migrations import STEPS


def migrate(sql: sqlite3.Connection, path: Path, version: int) -> None:
    """Make the file at *path*, of schema *version*, one of the newest. Blocks for as long as a copy takes.

    The file as it was stays beside it, see `backup_of`. Whatever is raised has changed nothing: raises
    StoreUnavailable when there is no room, sqlite3.Error, OSError.
    """
    steps = [(made, step) for made, step in STEPS if made > version]
    if not steps:
        return
    _require_room(sql, path, steps[-1][0])
    backup = backup_of(path, version)
    _back_up(sql, backup)
    try:
        sql.execute("BEGIN IMMEDIATE")
        for made, step in steps:
            step(sql)
            sql.execute(f"PRAGMA user_version = {made}")
        sql.execute("COMMIT")
    except BaseException:
        if sql.in_transaction:
            sql.execute("ROLLBACK")
        # kept, it would take the room that the next attempt needs
        with suppress(OSError):
            backup.unlink()
        raise


def backup_of(path: Path, version: int) -> Path:
    """Where the file at *path* is kept as it was in *version*, for whoever must go back."""
    return path.with_name(f"{path.name}.v{version}-backup")


def _require_room(sql: sqlite3.Connection, path: Path, target: int) -> None:
    """The backup takes once the file's pages, the log of the transaction at most once more."""
    (pages,) = sql.execute("PRAGMA page_count").fetchone()
    (page_size,) = sql.execute("PRAGMA page_size").fetchone()
    found = os.statvfs(path.parent)
    needed, free = 2 * pages * page_size, found.f_bavail * found.f_frsize
    if free < needed:
        raise StoreUnavailable(
            f"{path}: expected {needed / 2**20:.1f} MiB free on its disk for the upgrade to schema version "
            f"{target} and the backup before it, got {free / 2**20:.1f} MiB; free some, the file is as it was"
        )


def _back_up(sql: sqlite3.Connection, backup: Path) -> None:
    """Copy everything to *backup*; under its name it is complete and on the disk.

    One that is there is replaced: it is of an upgrade that was killed, or of a file that went back since.
    """
    part = backup.with_name(f"{backup.name}.part")
    part.unlink(missing_ok=True)
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with closing(sqlite3.connect(part)) as target:
                sql.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(backup)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(backup.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
