"""The spool: takes deliveries into an embedded file of its own while a shared store is away.

It is an embedded store like any other, so it is as durable and knows a repeated delivery; beside that
it is a queue: what came first leaves first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from bson import ObjectId

from ..codec import decode
from ..errors import StoreFull
from ..model import Event, MonQTask, Posting, Receipt
from .documents import event_from_document
from .sqlite import SqliteStore
from .sqlite_rows import COLUMNS, REFERS, task_from_row

# an event may have megabytes: a hundred of them must not be in memory at once
BATCH_BYTES: Final = 4 * 1024**2


class Spool(SqliteStore):
    """Postings of deliveries in order of arrival, about *most* bytes of them; with 0 it takes none.

    Belongs to one daemon. The file keeps its size when it empties; its room is used again.
    """

    def __init__(self, path: Path, *, most: int, min_free: int = 0) -> None:
        super().__init__(path, daemon=True, min_free=min_free)
        self._path = path
        self.most = most
        self._page_size = self._used = self._size = 0

    @property
    def size(self) -> int:
        """How many postings are in it, as far as their commits have ended."""
        return self._size

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

        receipt = self._connection.take_in(job)
        if posting.event is not None and receipt.event_id == posting.event.id:
            self._size += 1
        return receipt

    def oldest(self, most: int, without: Collection[ObjectId] = ()) -> list[Posting]:
        """Up to *most* postings, first come first, passing over the events in *without*.

        Fewer when they are large: at least one, and no more than about BATCH_BYTES.
        """
        return self._connection.scan(lambda: self._oldest(most, without))

    def forget(self, postings: Sequence[Posting]) -> None:
        """Delete *postings*, which another store has now; one that has got tasks meanwhile stays."""
        given = {posting.event.id: len(posting.tasks) for posting in postings if posting.event}

        def job() -> int:
            sql = self._connection.sql
            keys = [event_id.binary for event_id, count in given.items() if self._count(event_id) == count]
            sql.execute(f"DELETE FROM task WHERE event_id IN ({_holes(keys)}) AND {REFERS}", keys)
            gone = sql.execute(f"DELETE FROM event WHERE id IN ({_holes(keys)})", keys).rowcount
            self._used = self._bytes()
            return gone

        gone = self._connection.scan(job)  # first: others are kept while it waits, and counted
        self._size -= gone

    def _count(self, event_id: ObjectId) -> int:
        """How many tasks of an event there are."""
        query = f"SELECT count(*) FROM task WHERE event_id = ? AND {REFERS}"
        (count,) = self._connection.sql.execute(query, (event_id.binary,)).fetchone()
        return int(count)

    def _oldest(self, most: int, without: Collection[ObjectId]) -> list[Posting]:
        events: list[Event] = []
        size = 0
        for raw_id, document in self._connection.sql.execute("SELECT id, document FROM event ORDER BY seq"):
            if ObjectId(raw_id) in without:
                continue
            size += len(document)
            if len(events) == most or (events and size > BATCH_BYTES):
                break
            events.append(event_from_document(decode(document)))
        tasks = self._tasks_of(events)
        return [Posting(tasks[event.id], event) for event in events]

    def _tasks_of(self, events: list[Event]) -> dict[ObjectId | None, list[MonQTask]]:
        keys = [event.id.binary for event in events]
        tasks: dict[ObjectId | None, list[MonQTask]] = defaultdict(list)
        for row in self._connection.sql.execute(
            f"SELECT {COLUMNS} FROM task WHERE event_id IN ({_holes(keys)}) AND {REFERS} ORDER BY seq", keys
        ):
            task = task_from_row(row)
            tasks[task.event_id].append(task)
        return tasks

    def _measure(self) -> None:
        (self._size,) = self._connection.sql.execute("SELECT count(*) FROM event").fetchone()
        (self._page_size,) = self._connection.sql.execute("PRAGMA page_size").fetchone()
        self._used = self._bytes()

    def _bytes(self) -> int:
        """How many bytes of the file are taken, what was deleted not among them."""
        (pages,) = self._connection.sql.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.sql.execute("PRAGMA freelist_count").fetchone()
        return int((pages - free) * self._page_size)


def _holes(keys: Sequence[bytes]) -> str:
    return ", ".join("?" * len(keys))
