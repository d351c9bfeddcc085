"""The embedded store: one SQLite file, one connection, commits in one native thread.

WAL with ``synchronous=FULL``: a commit is on the disk when it returns, power cut included (measured;
NORMAL loses acknowledged rows). What gathers while one commit is under way becomes the next one. One
connection in one process also stays clear of the WAL-reset race of SQLite before 3.51.3.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bson import ObjectId

from ..codec import decode, encode
from ..errors import StoreError
from ..model import ENDED, Claim, Claimed, Event, Filter, MonQTask, Posting, Receipt, Report, State, Worker
from .contract import Heard, Notice
from .documents import (
    event_from_document,
    event_to_document,
    later,
    may_need_delivery,
    require_own,
    unclaimed,
)
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
    REFERS,
    assignments,
    conditions,
    event_to_row,
    from_ms,
    task_from_row,
    task_to_row,
    to_ms,
)

__all__ = ["MEMORY", "SqliteStore"]

# An end rides along with the next post or claim: alone it would make the next sender wait for its commit
REPORT_PATIENCE_SECONDS = 0.003
PRUNED_PAGE: Final = 500
# looked at in one call, however few of them may go: it takes some 50 ms, and the next call goes on there
MOST_LOOKED_AT: Final = 20 * PRUNED_PAGE
START: Final = (-(2**63), 0)


class SqliteStore:
    """Implements store.contract.Store on a file that belongs to one process at a time.

    It takes nothing new while less than *min_free* bytes of its disk are free; with *examine* the
    whole file is read and checked when it is opened.
    """

    shared = False

    def __init__(self, path: Path | str, *, daemon: bool, min_free: int = 0, examine: bool = False) -> None:
        self._connection = Connection(path, daemon=daemon, min_free=min_free)
        self._daemon = daemon
        self._examine = examine
        self._pruned_to = START  # expire_at, seq

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
        """See the contract: asks how much room there is, and keeps the reserve."""
        return self._connection.tend()

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
            if not self._sql.execute(INSERT_EVENT, row).rowcount:
                return self._posted_before(posting, event)
        named = [task.id for task in posting.tasks]
        ids = [self._insert(task) for task in posting.tasks]
        if event is not None and ids != named:  # a held key: the event names the holder
            self._rewrite(dataclasses.replace(event, task_ids=ids))
        return Receipt(ids, event.id if event else None, duplicate=ids != named)

    def _posted_before(self, posting: Posting, event: Event) -> Receipt:
        """For an event that is stored: its tasks were stored with it, or it had none and gets some now."""
        first = self._first(event)
        named = [task.id for task in posting.tasks]
        is_own = first.id == event.id
        if named and not first.task_ids:
            return self._replay(first, posting.tasks, event)
        if named and named == first.task_ids:
            return Receipt(named, first.id, replayed=not is_own)  # asked again
        return Receipt(first.task_ids, first.id, duplicate=not is_own or bool(named))

    def _replay(self, first: Event, tasks: Sequence[MonQTask], event: Event) -> Receipt:
        """Give *first* the *tasks* that came with *event*, the same delivery: it had no handler then."""
        first.topic = event.topic
        first.task_ids = [self._insert(unclaimed(task, first.id)) for task in tasks]
        first.expire_at = later(first.expire_at, event.expire_at)
        self._rewrite(first)
        return Receipt(first.task_ids, first.id, replayed=True)

    def _rewrite(self, event: Event) -> None:
        document = encode(event_to_document(event))
        values = (document, to_ms(event.expire_at), event.id.binary)
        self._sql.execute("UPDATE event SET document = ?, expire_at = ? WHERE id = ?", values)

    def _first(self, event: Event) -> Event:
        """The event that stands where *event* could not be stored."""
        (document,) = (
            self._sql.execute("SELECT document FROM event WHERE id = ?", (event.id.binary,)).fetchone()
            or self._sql.execute("SELECT document FROM event WHERE key = ?", (event.key,)).fetchone()
        )
        return event_from_document(decode(document))

    def _insert(self, task: MonQTask) -> ObjectId:
        is_new = self._sql.execute(INSERT_TASK, task_to_row(task)).rowcount
        if not is_new and task.key is not None and not self._has(task):
            holder = self._sql.execute(
                "SELECT id FROM task WHERE key = ? AND key IS NOT NULL AND state IN ('ready', 'busy')",
                (task.key,),
            ).fetchone()
            return ObjectId(holder[0]) if holder else task.id
        return task.id

    def _has(self, task: MonQTask) -> bool:
        """Whether it is stored under its own id: asked again, its key may be another's by now."""
        return self._sql.execute(HAS_TASK, (task.id.binary,)).fetchone() is not None

    # claim

    def claim(self, worker: Worker, names: Collection[str], limit: int, now: datetime) -> Claimed:
        """See the contract; one index seek for each task name and priority that waits."""
        return self._connection.write(lambda: self._claim(worker, names, limit, to_ms(now) or 0))

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
                task.is_bereft = self._is_bereft(task)
        return tasks

    def _delivery(self, event_id: ObjectId) -> Event | None:
        row = self._sql.execute(
            "SELECT document FROM event WHERE id = ? AND hook IS NOT NULL", (event_id.binary,)
        ).fetchone()
        return event_from_document(decode(row[0])) if row else None

    def _is_bereft(self, task: MonQTask) -> bool:
        """Whether the delivery that *task* is about is gone; what was published is in its arguments."""
        if task.event is not None or not may_need_delivery(task) or task.event_id is None:
            return False
        return self._sql.execute(HAS_EVENT, (task.event_id.binary,)).fetchone() is None

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
        rows = self._connection.read(
            "SELECT id, generation FROM task WHERE state = 'busy' AND worker = ?", (worker.id,)
        )
        return [Claim(ObjectId(task_id), worker.id, generation) for task_id, generation in rows]

    def workers(self) -> list[Worker]:
        """Nobody: the one daemon that can be is the one that asks."""
        return []

    def orphans(self, worker: Worker, limit: int) -> list[MonQTask]:
        """Busy tasks of every other worker: holding the lock proves that those are dead."""
        rows = self._connection.read(
            f"SELECT {COLUMNS} FROM task WHERE state = 'busy' AND worker != ? ORDER BY seq LIMIT ?",
            (worker.id, limit),
        )
        return [task_from_row(row) for row in rows]

    # see

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """See the contract."""
        row = self._connection.look_up(f"SELECT {COLUMNS} FROM task WHERE id = ?", task_id.binary)
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
        rows = self._connection.read(
            f"SELECT {COLUMNS} FROM task WHERE {where} ORDER BY id DESC LIMIT ?",
            [*values, limit],
        )
        return [task_from_row(row) for row in rows]

    def count(self, which: Filter) -> dict[str, int]:
        """See the contract."""
        where, values = where_clause(which)
        return dict(
            self._connection.read(f"SELECT state, count(*) FROM task WHERE {where} GROUP BY state", values)
        )

    def depth(self, most: int) -> int:
        """See the contract."""
        inner = "SELECT 1 FROM task INDEXED BY task_state WHERE state = 'ready' LIMIT ?"
        ((count,),) = self._connection.read(f"SELECT count(*) FROM ({inner})", (most,))
        return int(count)

    def waiting(self) -> dict[str, int]:
        """See the contract."""
        return dict(
            self._connection.read(
                "SELECT task_name, count(*) FROM task WHERE state = 'ready' GROUP BY task_name"
            )
        )

    def event(self, event_id: ObjectId) -> Event | None:
        """See the contract."""
        row = self._connection.look_up("SELECT document FROM event WHERE id = ?", event_id.binary)
        return event_from_document(decode(row[0])) if row else None

    def events(self, limit: int, before: ObjectId | None = None) -> list[Event]:
        """See the contract."""
        where, values = ("WHERE id < ?", [before.binary]) if before is not None else ("", [])
        sql = f"SELECT document FROM event {where} ORDER BY id DESC LIMIT ?"
        return [event_from_document(decode(row[0])) for row in self._connection.read(sql, [*values, limit])]

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
        sql = f"UPDATE OR IGNORE task SET {columns} WHERE id = ? AND state IN ({quoted(states)})"
        return self._connection.scan(
            lambda: sum(self._sql.execute(sql, (*values, task_id.binary)).rowcount for task_id in ids)
        )

    def delete(self, ids: Sequence[ObjectId], states: Collection[State]) -> int:
        """See the contract."""
        sql = f"DELETE FROM task WHERE id = ? AND state IN ({quoted(states)})"
        return self._connection.scan(
            lambda: sum(self._sql.execute(sql, (task_id.binary,)).rowcount for task_id in ids)
        )

    def prune(self, now: datetime, limit: int) -> int:
        """See the contract."""
        values = (to_ms(now), limit)

        def job() -> int:
            tasks = self._sql.execute(
                "DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE expire_at <= ? AND "
                "state NOT IN ('ready', 'busy') LIMIT ?)",
                values,
            ).rowcount
            return tasks + self._prune_events(to_ms(now) or 0, limit)

        return self._connection.scan(job)

    def _prune_events(self, now: int, limit: int) -> int:
        """Go on where the last call stopped, passing over events that a task may still need."""
        gone: list[int] = []
        looked_at = 0
        while len(gone) < limit and looked_at < MOST_LOOKED_AT:
            page = self._sql.execute(
                "SELECT expire_at, seq, EXISTS (SELECT 1 FROM task "
                f"WHERE task.event_id = event.id AND {REFERS}) FROM event "
                "WHERE expire_at <= ? AND (expire_at, seq) > (?, ?) ORDER BY expire_at, seq LIMIT ?",
                (now, *self._pruned_to, PRUNED_PAGE),
            ).fetchall()
            for expire_at, seq, is_needed in page:
                self._pruned_to = (expire_at, seq)
                if not is_needed:
                    gone.append(seq)
                if len(gone) == limit:
                    break
            else:
                if len(page) < PRUNED_PAGE:
                    self._pruned_to = START
                    break
            looked_at += len(page)
        self._sql.execute(
            "DELETE FROM event WHERE seq IN (SELECT value FROM json_each(?))", (json.dumps(gone),)
        )
        return len(gone)

    # bell

    def ring(self) -> None:
        """Nobody else can listen: the file belongs to this process."""

    def listen(self, seconds: float) -> Heard:
        """Never called: `shared` is False."""
        raise StoreError("embedded store: no other daemon can ring here")
