"""The embedded store: the contract on one SQLite file, one connection, commits in one native thread.

WAL with ``synchronous=FULL``: a commit is on the disk when it returns, power cut included (measured;
NORMAL loses acknowledged rows). What gathers while one commit is under way becomes the next one. One
connection in one process also stays clear of the WAL-reset race of SQLite before 3.51.3.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bson import ObjectId

from ...codec import encode
from ...delivery_record import Delivery, DeliveryFilter, Keep
from ...errors import NotStorable, StoreError, no_transactions
from ...limits import Limit
from ...model import (
    ENDED,
    Claim,
    Claimed,
    Event,
    EventFilter,
    FairShare,
    Filter,
    Instance,
    MonQTask,
    Posting,
    Receipt,
    Record,
    Report,
    State,
)
from ..contract import EVERY_EVENT, Backlog, CountedBy, Heard, Line, Notice
from ..documents import event_to_document, later, require_own, unclaimed, waiting
from ..set_aside import SetAside
from .backup import back_up
from .claims import Claims
from .connection import Connection
from .delivery_log import DeliveryRing
from .file import MEMORY
from .filter import holes
from .pruning import Pruning
from .reads import Reads
from .records import Records
from .rows import (
    HAS_EVENT,
    HAS_TASK,
    INSERT_EVENT,
    assignments,
    conditions,
    event_to_row,
    to_ms,
)
from .salvage import id_of, place, read_events
from .serial import insert_task

__all__ = ["MEMORY", "SqliteStore"]

# An end rides along with the next post or claim: alone it would make the next sender wait for its commit
REPORT_PATIENCE_SECONDS = 0.003


LARGE_BYTES: Final = 1024 * 1024
"""A body of more is written in the native thread: one of 25 MiB takes 60 ms before its commit."""


class SqliteStore:
    """Implements store.contract.Store on a file that belongs to one process at a time.

    It takes nothing new while less than *min_free* bytes of its disk are free. One that *looks* changes
    nothing and makes no file, and the file keeps its schema version; with *examine* it reads and checks the
    whole file when it is opened.
    """

    shared = False

    def __init__(
        self,
        path: Path | str,
        *,
        daemon: bool,
        min_free: int = 0,
        looks: bool = False,
        examine: bool = False,
    ) -> None:
        self._connection = Connection(path, daemon=daemon, min_free=min_free, looks=looks or examine)
        self._daemon = daemon
        self._aside = SetAside()
        self._claims = Claims(self._connection, self._aside)
        self._looking = Reads(self._connection)
        self._ring = DeliveryRing(self._connection)
        self._examine = examine
        self._pruning = Pruning()
        self._records = Records(self._connection)

    # life

    def hosts(self) -> Collection[str]:
        """None: its file is here."""
        return ()

    def open(self) -> None:
        """Take the lock, create what is missing. Raises ConfigError, StoreError."""
        self._connection.open(examine=self._examine)

    def close(self) -> None:
        """Close the file and release the lock."""
        self._connection.close()

    @property
    def schema_version(self) -> int:
        """That of the opened file: an earlier one than ours when it was opened to be examined."""
        (version,) = self._sql.execute("PRAGMA user_version").fetchone()
        return int(version)

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
        some_large = any(map(is_large, postings))
        return self._connection.take_in(lambda: [self._post(one) for one in postings], is_large=some_large)

    def _post(self, posting: Posting) -> Receipt:
        event = posting.event
        if event is not None:
            row = event_to_row(event, event_to_document(event))
            if not self._sql.execute(INSERT_EVENT, row).rowcount and (first := self._first(event)):
                return self._posted_before(posting, event, first)
        named, ids, repeated = [task.id for task in posting.tasks], [], False
        for task in posting.tasks:
            stored, is_new = self._insert(task)
            ids.append(stored)
            repeated = repeated or (stored == task.id and not is_new)
        if event is not None and ids != named:  # a held key: the event names the holder
            self._rewrite(dataclasses.replace(event, task_ids=ids))
        return Receipt(ids, event.id if event else None, ids != named, repeated)

    def _posted_before(self, posting: Posting, event: Event, first: Event) -> Receipt:
        """For an event that is stored: its tasks were stored with it, or it had none and gets some now."""
        named = [task.id for task in posting.tasks]
        is_own = first.id == event.id
        if named and not first.task_ids and isinstance(first.id, ObjectId):
            return self._replay(first, posting.tasks, event)
        if named and named == first.task_ids:  # asked again
            return Receipt(named, first.id, repeated=is_own, replayed=not is_own)
        return Receipt(first.task_ids, first.id, not is_own or first.task_ids != named, is_own)

    def _replay(self, first: Event, tasks: Sequence[MonQTask], event: Event) -> Receipt:
        """Give *first* the *tasks* that came with *event*, the same delivery: it had no handler then."""
        kept = dataclasses.replace(event, id=first.id) if first.fault else first
        kept.topic, kept.is_filtered = event.topic, False
        kept.task_ids = [self._insert(unclaimed(task, first.id))[0] for task in tasks]
        kept.expire_at = later(first.expire_at, event.expire_at)
        self._rewrite(kept)
        return Receipt(kept.task_ids, first.id, replayed=True)

    def _rewrite(self, event: Event) -> None:
        document = encode(event_to_document(event))
        moment, filtered = to_ms(event.expire_at), int(event.is_filtered)
        values = (document, moment, event.topic, len(event.task_ids), filtered, event.id.binary)
        self._sql.execute(
            "UPDATE event SET document = ?, expire_at = ?, topic = ?, task_count = ?, filtered = ? "
            "WHERE id = ?",
            values,
        )

    def _first(self, event: Event) -> Event | None:
        """The event that stands there in place of *event*: itself, or the first of its key."""
        found = read_events(
            self._sql,
            "WHERE id = ? OR key = ? OR (guard = ? AND guard IS NOT NULL) "
            "ORDER BY id = ? DESC, key IS ? DESC LIMIT 1",
            (event.id.binary, event.unique_key, event.guard, event.id.binary, event.unique_key),
        )
        return found[0] if found else None

    def _insert(self, task: MonQTask) -> tuple[ObjectId, bool]:
        """The id under which *task* is stored, its own or that of its key's holder; whether it is new."""
        is_new = insert_task(self._sql, task)
        return (task.id if is_new else self._standing(task)), is_new

    def _standing(self, task: MonQTask) -> ObjectId:
        """The id of what stands there in place of *task*: itself, or the holder of its key."""
        if task.key is not None and not self._has(task):
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

    def post_within(
        self, session: Any, postings: Sequence[Posting], committed: Callable[[], None]
    ) -> list[Receipt]:
        """Never: this store belongs to one daemon, and no transaction of others reaches into it."""
        raise no_transactions()

    # claim, hold and end

    def claim(
        self,
        instance: Instance,
        names: Collection[str],
        limit: int,
        now: datetime,
        fair: FairShare | None = None,
        *,
        bound: Limit | None = None,
    ) -> Claimed:
        """See the contract; one index seek for each task name and priority that waits."""
        return self._claims.claim(instance, names, limit, now, fair, bound=bound)

    def report(self, reports: Sequence[Report]) -> list[bool]:
        """See the contract; the fence is in the WHERE clause."""
        answers = self._connection.write(
            lambda: [
                self._report_whole(report) if report.postings else self._report(report) for report in reports
            ],
            patience=REPORT_PATIENCE_SECONDS,
        )
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [answer is True for answer in answers]

    def _report_whole(self, report: Report) -> bool | Exception:
        """Write *report* with its postings or nothing of it; its error where a value cannot be stored."""
        self._sql.execute("SAVEPOINT report")
        try:
            held = self._set(report)
            if held:
                for posting in report.postings:
                    self._post(waiting(posting))
        except (NotStorable, sqlite3.DataError, OverflowError) as error:
            self._sql.execute("ROLLBACK TO report")
            self._sql.execute("RELEASE report")
            return (
                error if isinstance(error, NotStorable) else NotStorable(f"posting: {error}; make it smaller")
            )
        self._sql.execute("RELEASE report")
        return held or self._stands(report)

    def _report(self, report: Report) -> bool:
        return self._set(report) or self._stands(report)

    def _set(self, report: Report) -> bool:
        columns, values = assignments(report.fields)
        task_id, worker, generation = report.claim
        changed = self._sql.execute(
            f"UPDATE task SET {columns} WHERE id = ? AND state = 'busy' AND worker = ? AND generation = ?",
            (*values, task_id.binary, worker, generation),
        ).rowcount
        return changed == 1

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

    def renew(self, instance: Instance, lease_seconds: float) -> int:
        """Nothing to do: the file's lock is the lease, and it dies with the process."""
        return 0

    def held(self, instance: Instance) -> list[Claim]:
        """See the contract."""
        return self._claims.held(instance)

    def instances(self) -> list[Instance]:
        """None: the only daemon there can be is the one that asks."""
        return []

    def orphans(self, instance: Instance, limit: int) -> list[MonQTask]:
        """Busy tasks of every other instance: holding the lock proves that those are dead."""
        return self._claims.orphans(instance, limit)

    # see

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """See the contract."""
        return self._looking.get(task_id)

    def find(
        self, filter: Filter, limit: int, cursor: ObjectId | None = None, *, brief: bool = False
    ) -> list[MonQTask]:
        """See the contract."""
        return self._looking.find(filter, limit, cursor, brief=brief)

    def ids(self, filter: Filter, limit: int, cursor: ObjectId | None = None) -> list[ObjectId]:
        """See the contract."""
        return self._looking.ids(filter, limit, cursor)

    def line(self, serial: str, limit: int, *, newest: bool = False) -> Line:
        """See the contract."""
        return self._looking.line(serial, limit, newest=newest)

    def count(self, filter: Filter, by: CountedBy = "state") -> dict[str, int]:
        """See the contract."""
        return self._looking.count(filter, by)

    def depth(self, most: int) -> int:
        """See the contract."""
        return self._looking.depth(most)

    def waiting(self) -> dict[str, Backlog]:
        """See the contract."""
        return self._looking.waiting()

    def event(self, event_id: ObjectId) -> Event | None:
        """See the contract."""
        return self._looking.event(event_id)

    def events(
        self, limit: int, cursor: ObjectId | None = None, filter: EventFilter = EVERY_EVENT
    ) -> list[Event]:
        """See the contract."""
        return self._looking.events(limit, cursor, filter)

    # the delivery log

    def log_deliveries(self, records: Sequence[Delivery], keep: Keep | None = None) -> int:
        """See the contract."""
        return self._ring.write(records, keep)

    def deliveries(
        self, filter: DeliveryFilter, limit: int, cursor: ObjectId | None = None
    ) -> list[Delivery]:
        """See the contract."""
        return self._ring.find(filter, limit, cursor)

    def delivery(self, record_id: ObjectId) -> Delivery | None:
        """See the contract."""
        return self._ring.get(record_id)

    # elsewhere

    def adopt(self, tasks: Sequence[MonQTask], events: Sequence[Event]) -> None:
        """See the contract."""

        def job() -> None:
            for event in events:
                row = event_to_row(event, event_to_document(event))
                if not self._sql.execute(INSERT_EVENT, row).rowcount:
                    require_own("event", event, self._sql.execute(HAS_EVENT, (event.id.binary,)).fetchone())
            for task in tasks:
                if not insert_task(self._sql, task):
                    require_own("task", task, self._sql.execute(HAS_TASK, (task.id.binary,)).fetchone())

        self._connection.scan(job)

    def backup(self, path: Path) -> None:
        """See the contract."""
        back_up(self._connection, path, daemon=self._daemon)

    # operate and forget

    def move(self, ids: Sequence[ObjectId], states: Collection[State], fields: Mapping[str, Any]) -> int:
        """See the contract."""
        columns, values = assignments(fields)
        sql = f"UPDATE OR IGNORE task SET {columns} WHERE {{}} AND state IN ({holes(states)})"
        return self._connection.scan(lambda: sum(self._change(sql, values, one, states) for one in ids))

    def delete(self, ids: Sequence[ObjectId], states: Collection[State]) -> int:
        """See the contract."""
        sql = f"DELETE FROM task WHERE {{}} AND state IN ({holes(states)})"
        return self._connection.scan(lambda: sum(self._change(sql, (), one, states) for one in ids))

    def _change(self, sql: str, values: Sequence[Any], task_id: ObjectId, states: Collection[State]) -> int:
        where, value = place(task_id)
        return self._sql.execute(sql.format(where), (*values, value, *states)).rowcount

    def prune(self, now: datetime, limit: int) -> int:
        """See the contract."""
        return self._connection.scan(lambda: self._pruning.prune(self._sql, to_ms(now) or 0, limit))

    # records

    def records(self, kind: str) -> list[Record]:
        """See the contract."""
        return self._records.records(kind)

    def keep_records(self, records: Sequence[Record]) -> list[bool]:
        """See the contract."""
        return self._records.keep_records(records)

    # bell

    def ring(self, names: Collection[str] = ()) -> None:
        """Nothing to do: no other process can listen, the file belongs to this one."""

    def listen(self, seconds: float) -> Heard:
        """Never called: `shared` is False."""
        raise StoreError("embedded store: no other daemon can ring here")


def is_large(posting: Posting) -> bool:
    """Whether the statements that store *posting* would hold the hub."""
    return posting.event is not None and len(posting.event.body) > LARGE_BYTES
