"""The spool: an embedded file that takes deliveries while MongoDB is away.

It is an embedded store like any other, so it is as durable and knows a repeated delivery; beside that
it is a queue: what came first leaves first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from bson import ObjectId

from ..errors import StoreFull
from ..model import Event, MonQTask, Posting, Receipt
from .sqlite.rows import REFERS
from .sqlite.salvage import event_of_row, id_of, read_tasks
from .sqlite.store import SqliteStore, is_large

# an event may have megabytes: a hundred of them must not be in memory at once
BATCH_BYTES: Final = 4 * 1024**2
TASKS_OF: Final = f"WHERE event_id = ? AND {REFERS} ORDER BY seq"


class Spool(SqliteStore):
    """Postings of deliveries in order of arrival, about *most* bytes of them; with 0 it takes none.

    Belongs to one daemon. The file keeps its size when it empties; its room is used again.
    """

    def __init__(self, path: Path, *, most: int, min_free: int = 0) -> None:
        super().__init__(path, daemon=True, min_free=min_free)
        self._path = path
        self.most = most
        self._page_size = self._used = self._size = 0
        # the file could not be told yet: events, and how many tasks they had
        self._forgotten: dict[ObjectId, int] = {}
        self._unreadable: dict[int, str] = {}
        self._untold: list[str] = []

    @property
    def size(self) -> int:
        """How many postings are in it, as far as their commits have ended."""
        return self._size

    @property
    def unreadable(self) -> int:
        """How many of them nobody can read; they stay in the file, and are in `size`."""
        return len(self._unreadable)

    def complaints(self) -> list[str]:
        """What cannot be read of those that were found to be unreadable since the last call."""
        told, self._untold = self._untold, []
        return told

    @property
    def is_full(self) -> bool:
        """Whether it takes nothing more until something has left."""
        return self._used >= self.most

    def open(self) -> None:
        """See SqliteStore.open; also counts what an earlier run has left behind."""
        super().open()
        self._connection.scan(self._measure)

    def recount(self) -> None:
        """Correct the size: a `keep` that was given up may have stored its posting after all."""
        if self._forgotten:
            self.forget(())
        self._connection.scan(self._measure)

    def keep(self, posting: Posting) -> Receipt:
        """Store a delivery's *posting*; durable when it returns. Blocks for at most CALL_SECONDS.

        The same delivery again changes nothing and returns the first ids as a duplicate. Raises
        StoreFull when there is no room for it, StoreUnavailable when the disk fails.
        """
        if self.is_full:
            raise StoreFull(
                f"{self._path}: expected room for a delivery, got {self._used} of {self.most} bytes taken; "
                "bring the store back, or raise [http] spool"
            )

        def job() -> Receipt:
            receipt = self._post(posting)
            self._used = self._bytes()
            return receipt

        receipt = self._connection.take_in(job, is_large=is_large(posting))
        was_there = receipt.repeated or receipt.replayed
        if posting.event is not None and receipt.event_id == posting.event.id and not was_there:
            self._size += 1
        return receipt

    def oldest(self, most: int, without: Collection[ObjectId] = ()) -> list[Posting]:
        """Up to *most* postings, first come first, passing over the events in *without*.

        What cannot be read is passed over, too, see `complaints`. Fewer when they are large: at least
        one, and no more than about BATCH_BYTES.
        """
        return self._connection.scan(lambda: self._oldest(most, {*without, *self._forgotten}))

    def forget(self, postings: Sequence[Posting]) -> None:
        """Delete *postings*, which another store has now; one that has got tasks meanwhile stays.

        While the file cannot be written they are only not given out any more, so that those behind them
        can leave as well: it was deleted perhaps, and is gone with this process.
        """
        self._forgotten.update(
            (posting.event.id, len(posting.tasks)) for posting in postings if posting.event
        )
        forgotten = dict(self._forgotten)

        def job() -> int:
            sql = self._connection.sql
            keys = [
                (event_id.binary,) for event_id, count in forgotten.items() if self._count(event_id) == count
            ]
            sql.executemany(f"DELETE FROM task WHERE event_id = ? AND {REFERS}", keys)
            gone = sql.executemany("DELETE FROM event WHERE id = ?", keys).rowcount
            self._used = self._bytes()
            return gone

        gone = self._connection.scan(job)  # first: others are kept while it waits, and counted
        self._size -= gone
        self._forgotten = {key: count for key, count in self._forgotten.items() if key not in forgotten}

    def _count(self, event_id: ObjectId) -> int:
        """How many tasks of an event there are."""
        query = f"SELECT count(*) FROM task WHERE event_id = ? AND {REFERS}"
        (count,) = self._connection.sql.execute(query, (event_id.binary,)).fetchone()
        return int(count)

    def _oldest(self, most: int, without: Collection[ObjectId]) -> list[Posting]:
        events: dict[int, Event] = {}
        size = 0
        rows = self._connection.sql.execute(
            "SELECT seq, CAST(id AS BLOB), CAST(document AS BLOB) FROM event ORDER BY seq"
        )
        for seq, raw_id, document in rows:
            if seq in self._unreadable or id_of(raw_id, seq) in without:
                continue
            if len(events) == most or (events and size + len(document) > BATCH_BYTES):
                break
            event = event_of_row(seq, raw_id, document)
            if event.fault:
                self._pass_over(seq, event.fault)
                continue
            size += len(document)
            events[seq] = event
        rows.close()
        postings = []
        for seq, event in events.items():
            tasks = read_tasks(self._connection.sql, TASKS_OF, (event.id.binary,))
            if fault := self._fault(event, tasks):
                self._pass_over(seq, f"{fault} (of a task of event {event.id})")
            else:
                postings.append(Posting(tasks, event))
        return postings

    def _fault(self, event: Event, tasks: Sequence[MonQTask]) -> str:
        """What is wrong with the tasks of *event*: handed over without one of them it would be lost."""
        for task in tasks:
            if task.fault:
                return task.fault
        for task_id in set(event.task_ids) - {task.id for task in tasks}:
            for other in read_tasks(self._connection.sql, "WHERE id = ?", (task_id.binary,)):
                if other.fault or other.event_id in (None, event.id):  # else it held the key
                    return other.fault or f"state: expected ready, got {other.state!r}"
        return ""

    def _pass_over(self, seq: int, reason: str) -> None:
        self._unreadable[seq] = reason
        self._untold.append(reason)

    def _measure(self) -> None:
        (self._size,) = self._connection.sql.execute("SELECT count(*) FROM event").fetchone()
        (self._page_size,) = self._connection.sql.execute("PRAGMA page_size").fetchone()
        self._used = self._bytes()

    def _bytes(self) -> int:
        """How many bytes of the file are taken, what was deleted not among them."""
        (pages,) = self._connection.sql.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.sql.execute("PRAGMA freelist_count").fetchone()
        return int((pages - free) * self._page_size)
