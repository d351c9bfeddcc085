"""The embedded store: one SQLite file, one connection, commits in one native thread.

WAL with ``synchronous=FULL``: a commit is on the disk when it returns, power cut included (measured;
NORMAL loses acknowledged rows). What gathers while one commit is under way becomes the next one. One
connection in one process also stays clear of the WAL-reset race of SQLite before 3.51.3.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from bson import ObjectId

from ..codec import decode, encode
from ..errors import ConfigError, StoreError, StoreHeld, StoreUnavailable
from ..model import Claimed, Event, Filter, MonQTask, Posting, Receipt, Report, State, Worker
from .contract import CALL_SECONDS, Heard
from .documents import event_from_document, event_to_document
from .group import Group
from .sqlite_filter import one_by_one, quoted, result_matches, where_clause
from .sqlite_rows import (
    COLUMNS,
    INSERT_EVENT,
    INSERT_TASK,
    SCHEMA,
    SCHEMA_VERSION,
    assignments,
    event_to_row,
    from_ms,
    task_from_row,
    task_to_row,
    to_ms,
)

OLDEST_SQLITE = (3, 35, 0)  # the first with RETURNING
MEMORY = ":memory:"
# An end rides along with the next post or claim: alone it would make the next sender wait for its commit
REPORT_PATIENCE_SECONDS = 0.003

Answer = TypeVar("Answer")
Job = Callable[[], Answer]


class _Scan(Generic[Answer]):
    """A job that may read much."""

    def __init__(self, job: Callable[[], Answer]) -> None:
        self._job = job

    def __call__(self) -> Answer:
        return self._job()


def _at_once(function: Callable[[], Any]) -> Any:
    return function()


class SqliteStore:
    """Implements store.contract.Store on a file that belongs to one process at a time."""

    shared = False

    def __init__(self, path: Path | str, *, daemon: bool) -> None:
        self._path = path
        self._daemon = daemon
        self._lock_file: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._turn = threading.Lock()
        self._group: Group[Job[Any], Any] | None = None
        self._pool: Any = None

    # life

    def open(self) -> None:
        """Take the lock, create what is missing. Raises StoreHeld naming the holder."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError(f"SQLite: expected 3.35 or newer, got {sqlite3.sqlite_version}; update Python")
        if self._path != MEMORY:
            try:
                self._lock(Path(self._path))
            except OSError as error:
                raise ConfigError(_unusable(Path(self._path).parent, error)) from error
        if self._daemon:
            from gevent.threadpool import ThreadPool

            self._pool = ThreadPool(1)
            self._group = Group(self._commit)
        mask = os.umask(0o077)  # the write-ahead log gets its mode here, and holds payloads too
        try:
            self._connect()
        except sqlite3.Error as error:
            raise self._translated(error) from error
        finally:
            os.umask(mask)

    def _lock(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = path.with_suffix(".lock")
        self._lock_file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._lock_file, 200).decode(errors="replace").strip()
            os.close(self._lock_file)
            self._lock_file = None
            raise StoreHeld(
                f"{path}: held by {holder or 'another process'}; stop it, or use a data_dir of its own"
            ) from None
        os.truncate(self._lock_file, 0)
        os.write(self._lock_file, f"pid {os.getpid()} on {socket.gethostname()}\n".encode())

    def _connect(self) -> None:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.create_function("result_matches", 2, result_matches, deterministic=True)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            connection.close()
            raise StoreError(
                f"{self._path}: expected schema version {SCHEMA_VERSION}, got {version}; "
                "it was written by a newer monqbus, use that one"
            )
        connection.execute("UPDATE beat SET beats = beats + 1")
        self._connection = connection

    def close(self) -> None:
        """Close the file and let the lock go."""
        if self._connection is not None:
            self._transact(lambda: None)  # what was handed in before is committed first
            self._connection.close()
            self._connection = None
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def ping(self) -> None:
        """Write one number: reading would succeed on a full disk too."""
        self._transact(lambda: self._sql.execute("UPDATE beat SET beats = beats + 1"))

    # one transaction for all that waits

    def _transact(self, job: Job[Answer], *, patience: float = 0.0) -> Answer:
        """Run *job* in a committed transaction, together with whatever else waits."""
        if self._group is not None:
            answer: Answer = self._group.submit(job, CALL_SECONDS, patience=patience)
            return answer
        with self._turn:
            (answer,) = self._commit([job])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _scan(self, job: Job[Answer]) -> Answer:
        """As _transact, for a *job* that may read much: all of it runs in the native thread."""
        return self._transact(_Scan(job))

    def _look_up(self, sql: str, key: bytes) -> tuple[Any, ...] | None:
        """The row under an indexed *key*."""
        found: tuple[Any, ...] | None = self._transact(lambda: self._sql.execute(sql, (key,)).fetchone())
        return found

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query that may read much."""
        return self._scan(lambda: self._sql.execute(sql, values).fetchall())

    @property
    def _sql(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable(f"{self._path}: the store is closed")
        return self._connection

    def _commit(self, jobs: Sequence[Job[Any]]) -> list[Any]:
        """Run *jobs* in one transaction; when one of them fails, each in a transaction of its own.

        The statements run in the hub's thread and only the commit, which waits for the disk, in the
        native one. SQLite lets go of the interpreter lock at every statement, and beside a busy hub
        each way back costs a switch interval: measured, 64 posters got 2 000 instead of 9 000 posts
        a second when the statements ran over there.
        """
        if self._pool is not None and any(isinstance(job, _Scan) for job in jobs):
            return self._pool.apply(self._run_all, (jobs, _at_once))  # type: ignore[no-any-return]
        return self._run_all(jobs, self._pool.apply if self._pool is not None else _at_once)

    def _run_all(self, jobs: Sequence[Job[Any]], away: Callable[[Callable[[], Any]], Any]) -> list[Any]:
        try:
            self._sql.execute("BEGIN IMMEDIATE")
            changes = self._sql.total_changes
            answers = [job() for job in jobs]
            if self._sql.total_changes == changes:
                self._sql.execute("COMMIT")  # nothing was written, so nothing waits for the disk
            elif (error := away(self._commit_now)) is not None:
                raise error
        except Exception as error:  # noqa: BLE001 - handed to the caller whose job it was
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if len(jobs) > 1:
                return [self._run_all([job], away)[0] for job in jobs]
            return [self._translated(error)]
        return answers

    def _commit_now(self) -> sqlite3.Error | None:
        """Commit; what goes wrong is returned: gevent's pool prints a traceback of what is raised there."""
        try:
            self._sql.commit()
        except sqlite3.Error as error:
            return error
        return None

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.OperationalError):
            return StoreUnavailable(f"{self._path}: {error}; look at the disk's space, mode and health")
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
            return StoreError(f"{self._path}: {error}; restore a backup, or run sqlite3 with .recover")
        return error

    # in

    def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """See the contract; one transaction for all of *postings*."""
        return self._transact(lambda: [self._post(posting) for posting in postings])

    def _post(self, posting: Posting) -> Receipt:
        event = posting.event
        if event is not None:
            row = event_to_row(event, event_to_document(event))
            if not self._sql.execute(INSERT_EVENT, row).rowcount and (first := self._first(event)):
                return first
        ids, duplicate = [], False
        for task in posting.tasks:
            stored = self._insert(task)
            ids.append(stored)
            duplicate = duplicate or stored != task.id
        if event is not None and ids != event.task_ids:  # a held key: the event names the holder
            document = encode({**event_to_document(event), "task_ids": ids})
            self._sql.execute("UPDATE event SET document = ? WHERE id = ?", (document, event.id.binary))
        return Receipt(ids, event.id if event else None, duplicate)

    def _first(self, event: Event) -> Receipt | None:
        found = self._sql.execute("SELECT document FROM event WHERE key = ?", (event.key,)).fetchone()
        first = event_from_document(decode(found[0])) if found else event
        return Receipt(first.task_ids, first.id, duplicate=True) if first.id != event.id else None

    def _insert(self, task: MonQTask) -> ObjectId:
        if not self._sql.execute(INSERT_TASK, task_to_row(task)).rowcount and task.key is not None:
            holder = self._sql.execute(
                "SELECT id FROM task WHERE key = ? AND key IS NOT NULL AND state IN ('ready', 'busy')",
                (task.key,),
            ).fetchone()
            return ObjectId(holder[0]) if holder else task.id
        return task.id

    # claim

    def claim(self, worker: Worker, names: Collection[str], limit: int, now: datetime) -> Claimed:
        """See the contract; one index seek for each task name and priority that waits."""
        return self._transact(lambda: self._claim(worker, names, limit, to_ms(now) or 0))

    def _claim(self, worker: Worker, names: Collection[str], limit: int, now: int) -> Claimed:
        due: list[tuple[int, int, int]] = []  # rank, time_queue, seq: the order of claiming
        ahead: list[int] = []
        for name in self._waiting_names():
            if name in names:
                self._look(name, limit, now, due, ahead)
        due.sort()
        taken = [seq for _, _, seq in due[:limit]]
        tasks = self._take(worker, taken, now) if taken else []
        return Claimed(tasks, from_ms(min(ahead)) if ahead and len(tasks) < limit else None)

    def _waiting_names(self) -> list[str]:
        names: list[str] = []
        last = ""
        while found := self._sql.execute(
            "SELECT task_name FROM task INDEXED BY task_lane WHERE state = 'ready' AND task_name > ? "
            "ORDER BY task_name LIMIT 1",
            (last,),
        ).fetchone():
            last = found[0]
            names.append(last)
        return names

    def _look(
        self, name: str, limit: int, now: int, due: list[tuple[int, int, int]], ahead: list[int]
    ) -> None:
        """Walk the priorities of *name* from the highest down until *limit* due tasks are found."""
        rank = -(2**63)
        missing = limit
        while missing > 0 and (
            found := self._sql.execute(
                "SELECT rank FROM task INDEXED BY task_lane "
                "WHERE state = 'ready' AND task_name = ? AND rank > ? ORDER BY rank LIMIT 1",
                (name, rank),
            ).fetchone()
        ):
            rank = found[0]
            rows = self._sql.execute(
                "SELECT time_queue, seq FROM task INDEXED BY task_lane "
                "WHERE state = 'ready' AND task_name = ? AND rank = ? ORDER BY time_queue, seq LIMIT ?",
                (name, rank, missing),
            ).fetchall()
            for time_queue, seq in rows:
                if time_queue > now:
                    ahead.append(time_queue)
                    break
                due.append((rank, time_queue, seq))
                missing -= 1

    def _take(self, worker: Worker, taken: list[int], now: int) -> list[MonQTask]:
        rows = self._sql.execute(
            "UPDATE task SET state = 'busy', worker = ?, process = ?, time_start = ?, time_stop = NULL, "
            "generation = generation + 1, attempt = attempt + 1 "
            f"WHERE seq IN (SELECT value FROM json_each(?)) RETURNING seq, {COLUMNS}",
            (worker.id, worker.process, now, json.dumps(taken)),
        ).fetchall()
        by_seq = {row[0]: task_from_row(row[1:]) for row in rows}
        tasks = [by_seq[seq] for seq in taken]
        for task in tasks:
            if task.event_id is not None:
                task.event = self._delivery(task.event_id)
        return tasks

    def _delivery(self, event_id: ObjectId) -> Event | None:
        row = self._sql.execute(
            "SELECT document FROM event WHERE id = ? AND hook IS NOT NULL", (event_id.binary,)
        ).fetchone()
        return event_from_document(decode(row[0])) if row else None

    # hold and end

    def report(self, reports: Sequence[Report]) -> list[bool]:
        """See the contract; the fence is in the WHERE clause."""
        return self._transact(
            lambda: [self._report(report) for report in reports], patience=REPORT_PATIENCE_SECONDS
        )

    def _report(self, report: Report) -> bool:
        columns, values = assignments(report.fields)
        task_id, worker, generation = report.claim
        changed = self._sql.execute(
            f"UPDATE task SET {columns} WHERE id = ? AND state = 'busy' AND worker = ? AND generation = ?",
            (*values, task_id.binary, worker, generation),
        ).rowcount
        return changed == 1

    def renew(self, worker: Worker, lease_seconds: float) -> None:
        """Nothing to do: the file's lock is the lease, and it dies with the process."""

    def orphans(self, worker: Worker, limit: int) -> list[MonQTask]:
        """Busy tasks of every other worker: holding the lock proves that those are dead."""
        rows = self._read(
            f"SELECT {COLUMNS} FROM task WHERE state = 'busy' AND worker != ? ORDER BY seq LIMIT ?",
            (worker.id, limit),
        )
        return [task_from_row(row) for row in rows]

    # see

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """See the contract."""
        row = self._look_up(f"SELECT {COLUMNS} FROM task WHERE id = ?", task_id.binary)
        return task_from_row(row) if row else None

    def find(self, which: Filter, limit: int, before: ObjectId | None = None) -> list[MonQTask]:
        """See the contract."""
        pages = [
            self._page(dataclasses.replace(which, states=states), limit, before)
            for states in one_by_one(which.states)
        ]
        return sorted((task for page in pages for task in page), key=lambda task: task.id, reverse=True)[
            :limit
        ]

    def _page(self, which: Filter, limit: int, before: ObjectId | None) -> list[MonQTask]:
        """One state at a time, so that an index gives the order and no sort is needed."""
        where, values = where_clause(which)
        if before is not None:
            where += " AND id < ?"
            values.append(before.binary)
        rows = self._read(
            f"SELECT {COLUMNS} FROM task WHERE {where} ORDER BY id DESC LIMIT ?",
            [*values, limit],
        )
        return [task_from_row(row) for row in rows]

    def count(self, which: Filter) -> dict[str, int]:
        """See the contract."""
        where, values = where_clause(which)
        return dict(self._read(f"SELECT state, count(*) FROM task WHERE {where} GROUP BY state", values))

    def waiting(self) -> dict[str, int]:
        """See the contract."""
        return dict(
            self._read("SELECT task_name, count(*) FROM task WHERE state = 'ready' GROUP BY task_name")
        )

    def event(self, event_id: ObjectId) -> Event | None:
        """See the contract."""
        row = self._look_up("SELECT document FROM event WHERE id = ?", event_id.binary)
        return event_from_document(decode(row[0])) if row else None

    # operate and forget

    def move(self, ids: Sequence[ObjectId], states: Collection[State], fields: Mapping[str, Any]) -> int:
        """See the contract."""
        columns, values = assignments(fields)
        sql = f"UPDATE OR IGNORE task SET {columns} WHERE id = ? AND state IN ({quoted(states)})"
        return self._scan(
            lambda: sum(self._sql.execute(sql, (*values, task_id.binary)).rowcount for task_id in ids)
        )

    def delete(self, ids: Sequence[ObjectId], states: Collection[State]) -> int:
        """See the contract."""
        sql = f"DELETE FROM task WHERE id = ? AND state IN ({quoted(states)})"
        return self._scan(lambda: sum(self._sql.execute(sql, (task_id.binary,)).rowcount for task_id in ids))

    def prune(self, now: datetime, limit: int) -> int:
        """See the contract."""
        values = (to_ms(now), limit)

        def job() -> int:
            tasks = self._sql.execute(
                "DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE expire_at <= ? AND "
                "state NOT IN ('ready', 'busy') LIMIT ?)",
                values,
            ).rowcount
            events = self._sql.execute(
                "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE expire_at <= ? AND NOT EXISTS "
                "(SELECT 1 FROM task WHERE task.event_id = event.id AND task.state IN ('ready', 'busy')) "
                "LIMIT ?)",
                values,
            ).rowcount
            return tasks + events

        return self._scan(job)

    # bell

    def ring(self) -> None:
        """Nobody else can listen: the file belongs to this process."""

    def listen(self, seconds: float) -> Heard:
        """Never called: `shared` is False."""
        raise StoreError("embedded store: no other daemon can ring here")


def _unusable(folder: Path, error: OSError) -> str:
    return f"[monqbus] data_dir: cannot write to {folder}: {error.strerror}; choose a folder of this user"
