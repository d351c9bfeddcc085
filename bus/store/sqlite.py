"""The embedded store: one SQLite file, one connection, commits in one native thread.

WAL with ``synchronous=FULL``: a commit is on the disk when it returns, power cut included (measured;
NORMAL loses acknowledged rows). What gathers while one commit is under way becomes the next one. One
connection in one process also stays clear of the WAL-reset race of SQLite before 3.51.3.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bson import ObjectId

from ..clock import Clock
from ..codec import encode
from ..errors import StoreError
from ..model import (
    ENDED,
    STATES,
    Claim,
    Claimed,
    Event,
    Filter,
    MonQTask,
    Posting,
    Receipt,
    Report,
    State,
    Worker,
)
from .aside import Aside
from .contract import Heard, Notice
from .documents import event_to_document, require_own
from .fields import ASIDE
from .salvage import opened
from .sqlite_backup import back_up
from .sqlite_connection import Connection
from .sqlite_file import MEMORY
from .sqlite_filter import one_by_one, quoted, where_clause
from .sqlite_rows import (
    COLUMNS,
    HAS_EVENT,
    HAS_TASK,
    INSERT_EVENT,
    INSERT_TASK,
    LATEST_MS,
    BadRow,
    assignments,
    conditions,
    event_to_row,
    from_ms,
    task_from_row,
    task_to_row,
    to_ms,
)
from .sqlite_salvage import (
    any_text,
    behind,
    event_of_row,
    handle,
    id_of,
    is_about_a_row,
    misplaced,
    order_of,
    place,
    read_events,
    read_tasks,
    read_with_care,
    set_aside,
)

__all__ = ["MEMORY", "SqliteStore"]

NOBODYS: Final = f"worker: expected text, got null; {ASIDE}, then retry"
# An end rides along with the next post or claim: alone it would make the next sender wait for its commit
REPORT_PATIENCE_SECONDS = 0.003


class SqliteStore:
    """Implements store.contract.Store on a file that belongs to one process at a time.

    It takes nothing new while less than *min_free* bytes of its disk are free; with *examine* the
    whole file is read and checked when it is opened.
    """

    shared = False

    def __init__(self, path: Path | str, *, daemon: bool, min_free: int = 0, examine: bool = False) -> None:
        self._connection = Connection(path, daemon=daemon, min_free=min_free)
        self._daemon = daemon
        self._clock = Clock()
        self._aside = Aside()
        self._examine = examine

    # life

    def open(self) -> None:
        """Take the lock, create what is missing. Raises ConfigError, StoreError."""
        self._connection.open(examine=self._examine)

    def close(self) -> None:
        """Close the file and let the lock go."""
        self._connection.close()

    def ping(self) -> None:
        """Write one number: reading would succeed on a full disk too."""
        self._connection.ping()

    def tend(self) -> Sequence[Notice]:
        """See the contract: asks how much room there is, keeps the reserve; what was set aside."""
        return [*self._connection.tend(), *self._aside.news()]

    @property
    def _sql(self) -> sqlite3.Connection:
        return self._connection.sql

    # in

    def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """See the contract; one transaction for all of *postings*."""
        return self._connection.take_in(lambda: [self._post(posting) for posting in postings])

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
        found = read_events(self._sql, "WHERE key = ?", (event.key,))
        first = found[0] if found else event
        return Receipt(first.task_ids, first.id, duplicate=True) if first.id != event.id else None

    def _insert(self, task: MonQTask) -> ObjectId:
        is_new = self._sql.execute(INSERT_TASK, task_to_row(task)).rowcount
        if not is_new and task.key is not None and not self._has(task):
            holder = self._sql.execute(
                "SELECT CAST(id AS BLOB), seq FROM task "
                "WHERE key = ? AND key IS NOT NULL AND state IN ('ready', 'busy')",
                (task.key,),
            ).fetchone()
            return id_of(*holder) if holder else task.id
        return task.id

    def _has(self, task: MonQTask) -> bool:
        """Whether it is stored under its own id: asked again, its key may be another's by now."""
        return self._sql.execute(HAS_TASK, (task.id.binary,)).fetchone() is not None

    # claim

    def claim(self, worker: Worker, names: Collection[str], limit: int, now: datetime) -> Claimed:
        """See the contract; one index seek for each task name and priority that waits."""
        at = to_ms(now) or 0

        def job() -> Claimed:
            try:
                return self._claim(worker, names, limit, at)
            except Exception as error:
                if not is_about_a_row(error):
                    raise
            for task_id, reason in misplaced(self._sql):
                self._set_aside(task_id, reason, at)
            return self._claim(worker, names, limit, at)

        return self._connection.write(job)

    def _claim(self, worker: Worker, names: Collection[str], limit: int, now: int) -> Claimed:
        due: list[tuple[float, int, int]] = []  # rank, time_queue, seq: the order of claiming
        ahead: list[int] = []
        for name in self._waiting_names():
            if type(name) is not str:
                raise BadRow
            if name in names:
                self._look(name, limit, now, due, ahead)
        due.sort()
        taken = [seq for _, _, seq in due[:limit]]
        tasks = self._take(worker, taken, now) if taken else []
        return Claimed(tasks, from_ms(min(*ahead, LATEST_MS)) if ahead and len(tasks) < limit else None)

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
        self, name: str, limit: int, now: int, due: list[tuple[float, int, int]], ahead: list[int]
    ) -> None:
        """Walk the priorities of *name* from the highest down until *limit* due tasks are found."""
        rank = -math.inf
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
        seqs = json.dumps(taken)
        try:
            rows = self._sql.execute(
                "UPDATE task SET state = 'busy', worker = ?, process = ?, time_start = ?, time_stop = NULL, "
                "generation = generation + 1, attempt = attempt + 1 "
                f"WHERE seq IN (SELECT value FROM json_each(?)) RETURNING seq, {COLUMNS}",
                (worker.id, worker.process, now, seqs),
            ).fetchall()
            by_seq = {row[0]: task_from_row(row[1:]) for row in rows}
        except Exception as error:
            if not is_about_a_row(error):
                raise
            # the update itself is whole before its first row is given (sqlite.org/lang_returning.html)
            by_seq = self._read_with_care("WHERE seq IN (SELECT value FROM json_each(?))", (seqs,), now)
        tasks = [by_seq[seq] for seq in taken if seq in by_seq]
        for task in tasks:
            if task.event_id is not None:
                task.event = self._delivery(task.event_id)
        broken = [task for task in tasks if task.event is not None and task.event.fault]
        for task in broken:
            self._set_aside(task.id, task.event.fault if task.event is not None else "", now)
        return [task for task in tasks if task not in broken] if broken else tasks

    def _read_with_care(self, tail: str, values: Sequence[Any], now: int) -> dict[int, MonQTask]:
        """The tasks of a query by their seq; those that cannot be read are set aside."""
        sound: dict[int, MonQTask] = {}
        for seq, task in read_with_care(self._sql, tail, values):
            if task.fault:
                self._set_aside(handle(seq), task.fault, now)
            else:
                sound[seq] = task
        return sound

    def _set_aside(self, task_id: Any, reason: str, now: int) -> None:
        set_aside(self._sql, task_id, reason, now)
        self._aside.add(task_id, reason)

    def _delivery(self, event_id: ObjectId) -> Event | None:
        row = self._sql.execute(
            "SELECT seq, CAST(document AS BLOB) FROM event WHERE id = ? AND hook IS NOT NULL",
            (event_id.binary,),
        ).fetchone()
        return event_of_row(row[0], event_id.binary, row[1]) if row else None

    # hold and end

    def report(self, reports: Sequence[Report]) -> list[bool]:
        """See the contract; the fence is in the WHERE clause."""
        return self._connection.write(
            lambda: [self._report(report) for report in reports], patience=REPORT_PATIENCE_SECONDS
        )

    def _report(self, report: Report) -> bool:
        columns, values = assignments(report.fields)
        task_id, worker, generation = report.claim
        changed = self._sql.execute(
            f"UPDATE task SET {columns} WHERE id = ? AND state = 'busy' AND worker = ? AND generation = ?",
            (*values, task_id.binary, worker, generation),
        ).rowcount
        return changed == 1 or self._stands(report)

    def _stands(self, report: Report) -> bool:
        """True when the row says so already: the end was written before, and its answer got lost.

        Only an end is known again: two rescuers make a task ready in the same words.
        """
        if report.fields.get("state") not in ENDED:
            return False
        where, values = conditions({"worker": report.claim.worker, **report.fields})
        return bool(
            self._sql.execute(
                f"SELECT 1 FROM task WHERE id = ? AND generation = ? AND {where}",
                (report.claim.id.binary, report.claim.generation, *values),
            ).fetchone()
        )

    def renew(self, worker: Worker, lease_seconds: float) -> int:
        """Nothing to do: the file's lock is the lease, and it dies with the process."""
        return 0

    def held(self, worker: Worker) -> list[Claim]:
        """See the contract."""
        tail, now = "WHERE state = 'busy' AND worker = ?", to_ms(self._clock.now()) or 0

        def job() -> list[Claim]:
            with any_text(self._sql) as tolerant:
                sql = f"SELECT seq, id, generation FROM task {tail}"
                rows = tolerant.execute(sql, (worker.id,)).fetchall()
            held = [(id_of(raw_id, seq), generation) for seq, raw_id, generation in rows]
            if all(opened(task_id) is None and type(number) is int for task_id, number in held):
                return [Claim(task_id, worker.id, number) for task_id, number in held]
            return [task.claim for task in self._read_with_care(tail, (worker.id,), now).values()]

        return self._connection.scan(job)

    def workers(self) -> list[Worker]:
        """Nobody: the one daemon that can be is the one that asks."""
        return []

    def orphans(self, worker: Worker, limit: int) -> list[MonQTask]:
        """Busy tasks of every other worker: holding the lock proves that those are dead."""
        # without a worker it is nobody's, and nobody would ever end it
        tail = "WHERE state = 'busy' AND worker IS NOT ? ORDER BY seq LIMIT ?"
        now = to_ms(self._clock.now()) or 0

        def job() -> list[MonQTask]:
            tasks = read_tasks(self._sql, tail, (worker.id, limit))
            if not any(task.fault or task.worker is None for task in tasks):
                return tasks
            sound = self._read_with_care(tail, (worker.id, limit), now)
            for seq, task in sound.items():
                if task.worker is None:
                    self._set_aside(handle(seq), f"worker: expected text, got null; {ASIDE}, then retry", now)
            return [task for task in sound.values() if task.worker is not None]

        return self._connection.scan(job)

    # see

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """See the contract."""
        where, value = place(task_id)
        found = self._connection.write(lambda: read_tasks(self._sql, f"WHERE {where}", (value,)))
        return found[0] if found else None

    def find(self, which: Filter, limit: int, before: ObjectId | None = None) -> list[MonQTask]:
        """See the contract."""
        pages = [
            self._page(dataclasses.replace(which, states=states), limit, before)
            for states in one_by_one(which.states)
        ]
        if len(pages) == 1:
            return pages[0]
        return sorted((task for page in pages for task in page), key=lambda task: order_of(task.id))[:limit]

    def _page(self, which: Filter, limit: int, before: ObjectId | None) -> list[MonQTask]:
        """One state at a time, so that an index gives the order and no sort is needed."""
        where, values = where_clause(which)
        if before is not None:
            condition, value = behind(before)
            where += f" AND {condition}"
            values.append(value)
        tail = f"WHERE {where} ORDER BY id DESC LIMIT ?"
        return self._connection.scan(lambda: read_tasks(self._sql, tail, [*values, limit]))

    def count(self, which: Filter) -> dict[str, int]:
        """See the contract."""
        where, values = where_clause(which)
        rows = self._read(f"SELECT state, count(*) FROM task WHERE {where} GROUP BY state", values)
        return {state: count for state, count in rows if state in STATES}

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query that may read much, whatever text is in them."""

        def job() -> list[tuple[Any, ...]]:
            with any_text(self._sql) as tolerant:
                return tolerant.execute(sql, values).fetchall()

        return self._connection.scan(job)

    def depth(self, most: int) -> int:
        """See the contract."""
        inner = "SELECT 1 FROM task INDEXED BY task_state WHERE state = 'ready' LIMIT ?"
        ((count,),) = self._connection.read(f"SELECT count(*) FROM ({inner})", (most,))
        return int(count)

    def waiting(self) -> dict[str, int]:
        """See the contract."""
        rows = self._read("SELECT task_name, count(*) FROM task WHERE state = 'ready' GROUP BY task_name")
        return {name: count for name, count in rows if isinstance(name, str)}

    def event(self, event_id: ObjectId) -> Event | None:
        """See the contract."""
        where, value = place(event_id)
        found = self._connection.write(lambda: read_events(self._sql, f"WHERE {where}", (value,)))
        return found[0] if found else None

    def events(self, limit: int, before: ObjectId | None = None) -> list[Event]:
        """See the contract."""
        condition, values = ("1", list[Any]())
        if before is not None:
            condition, value = behind(before)
            values.append(value)
        tail = f"WHERE {condition} ORDER BY id DESC LIMIT ?"
        return self._connection.scan(lambda: read_events(self._sql, tail, [*values, limit]))

    # elsewhere

    def adopt(self, tasks: Sequence[MonQTask], events: Sequence[Event]) -> None:
        """See the contract."""

        def job() -> None:
            for event in events:
                row = event_to_row(event, event_to_document(event))
                if not self._sql.execute(INSERT_EVENT, row).rowcount:
                    require_own("event", event, self._sql.execute(HAS_EVENT, (event.id.binary,)).fetchone())
            for task in tasks:
                if not self._sql.execute(INSERT_TASK, task_to_row(task)).rowcount:
                    require_own("task", task, self._sql.execute(HAS_TASK, (task.id.binary,)).fetchone())

        self._connection.scan(job)

    def backup(self, path: Path) -> None:
        """See the contract."""
        back_up(self._connection, path, daemon=self._daemon)

    # operate and forget

    def move(self, ids: Sequence[ObjectId], states: Collection[State], fields: Mapping[str, Any]) -> int:
        """See the contract."""
        columns, values = assignments(fields)
        sql = f"UPDATE OR IGNORE task SET {columns} WHERE {{}} AND state IN ({quoted(states)})"
        return self._connection.scan(lambda: sum(self._change(sql, values, task_id) for task_id in ids))

    def _change(self, sql: str, values: Sequence[Any], task_id: ObjectId) -> int:
        where, value = place(task_id)
        return self._sql.execute(sql.format(where), (*values, value)).rowcount

    def delete(self, ids: Sequence[ObjectId], states: Collection[State]) -> int:
        """See the contract."""
        sql = f"DELETE FROM task WHERE {{}} AND state IN ({quoted(states)})"
        return self._connection.scan(lambda: sum(self._change(sql, (), task_id) for task_id in ids))

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

        return self._connection.scan(job)

    # bell

    def ring(self) -> None:
        """Nobody else can listen: the file belongs to this process."""

    def listen(self, seconds: float) -> Heard:
        """Never called: `shared` is False."""
        raise StoreError("embedded store: no other daemon can ring here")
