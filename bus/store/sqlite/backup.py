"""Copies the file while the daemon works, a few pages at a time between commits.

SQLite's own backup, whose one call lasts until the copy is complete, runs in a thread of its own.
It stops after each step until a job of the connection lets it go on, so the two never meet, and no
post waits for more than one step. What is written meanwhile goes into the copy as well
(sqlite.org/c3ref/backup_finish.html, "if the source database is modified by the same connection").
"""

from __future__ import annotations

import os
import sqlite3
from _queue import SimpleQueue
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from ...errors import StoreError
from ...files.held_folder import HeldFolder, interference
from ...process.native_threads import let_end
from .connection import Connection

STEP_PAGES: Final = 512  # of 4 KiB: about 3 ms
TAKEN: Final = "is there already; name a new file"


def back_up(source: Connection, path: Path, *, daemon: bool) -> None:
    """Write all of *source* to the new file *path*, mode 0600, checked and on the disk when it returns.

    Blocks as long as it takes. Raises StoreError when the file is there already or cannot be written.
    """
    try:
        with HeldFolder.at(path.parent) as folder:
            if complaint := interference(folder.found, sticky=True):  # SQLite opens files by their names
                raise StoreError(
                    f"{path.parent}: expected a folder where nobody else can exchange files, got one where "
                    f"{complaint}; name another place, or run: chmod +t {path.parent}"
                )
            _fill(source, path, folder, daemon=daemon)
    except FileExistsError as error:
        raise StoreError(f"{path.with_name(str(error.filename2 or error.filename))}: {TAKEN}") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; name another place") from error
    except sqlite3.Error as error:
        raise StoreError(f"{path}: the backup failed: {error}; look at the space on its disk") from error


def _fill(source: Connection, path: Path, folder: HeldFolder, *, daemon: bool) -> None:
    """Make the copy beside its place in *folder*, and give it its name when it is complete."""
    part = path.with_name(f"{path.name}.part")
    descriptor = folder.create(part.name)
    os.fchmod(descriptor, 0o600)  # an app's umask may have left nothing of it
    os.close(descriptor)
    try:
        error = _step_by_step(source, part) if daemon else _copy(source.sql, part)
        if error is not None:
            raise error
        held = folder.descriptor
        os.link(part.name, path.name, src_dir_fd=held, dst_dir_fd=held)  # unlike a rename it replaces nothing
        os.fsync(held)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part.name, dir_fd=folder.descriptor)


def _copy(source: sqlite3.Connection, part: Path, steps: _Steps | None = None) -> sqlite3.Error | None:
    """Fill the file *part*. Returns its error: gevent prints what is raised in its threads."""
    try:
        with closing(sqlite3.connect(part)) as target:
            if steps is None:
                source.backup(target)
            else:
                steps.take(source, target)
            _settle(target)
    except sqlite3.Error as error:
        return error
    return None


def _settle(target: sqlite3.Connection) -> None:
    """Make the copy one file that needs no log beside it, and read all of it once."""
    target.execute("PRAGMA journal_mode = DELETE")
    (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged ({found})")


def _step_by_step(source: Connection, part: Path) -> sqlite3.Error | None:
    from gevent.threadpool import ThreadPool

    steps = _Steps()
    thread = ThreadPool(1)
    copying = thread.spawn(_copy, source.sql, part, steps)
    try:
        while not steps.is_over:
            source.between(steps.let)
    finally:
        steps.give_up()
        error: sqlite3.Error | None = copying.get()
        let_end(thread)
    return error


class _Steps:
    """Two threads that take turns: one takes the steps of a copy, the other one lets it."""

    def __init__(self) -> None:
        self.is_over = False
        # not queue.SimpleQueue: gevent replaces that by one for greenlets, and these are for threads
        self._go: SimpleQueue[bool] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()

    def take(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        """Copy everything, each step when it is let. Raises sqlite3.Error, also when given up."""
        try:
            self._wait()
            source.backup(target, pages=STEP_PAGES, progress=self._between_steps, sleep=0)
        finally:
            self.is_over = True
            self._done.put(None)

    def _between_steps(self, *_: int) -> None:
        self._done.put(None)
        self._wait()

    def _wait(self) -> None:
        if not self._go.get():
            raise sqlite3.OperationalError("it was given up")

    def let(self) -> None:
        """Let one step be taken, and wait for its end."""
        if not self.is_over:
            self._go.put(True)
            self._done.get()

    def give_up(self) -> None:
        """Let no further step be taken; without effect when the last one was."""
        self._go.put(False)
