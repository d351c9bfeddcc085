"""The feed between daemons: a capped collection of hints, tailed.

The tail uses plain commands: the driver's tailable cursor swallows the errors that say that
hints were missed, and stays with a former primary after a stepdown. A `getMore` that always goes
to the present primary is told there that its cursor is unknown, and that is the answer wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final, NamedTuple

import pymongo
from bson import Int64
from pymongo import WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ...clock import Clock
from ...errors import StoreError
from ..contract import Heard, hint_of
from .connection import Connection, Document
from .schema import FEED, prepare_feed, seed_feed

RING_SECONDS: Final = 1.0
OPEN_SECONDS: Final = 2.0
EVERYTHING: Final = 100_000
UNLIMITED: Final = 0  # to pymongo.timeout
NAMES: Final = "of"
MOST_NAMES: Final = 20  # a ring for more is one for all: the feed is small
_NUMBERS: Final = {"$filter": {"input": f"${NAMES}", "cond": {"$eq": [{"$type": "$$this"}, "int"]}}}
HINT: Final[Document] = {"_id": 0, NAMES: {"$cond": [{"$isArray": f"${NAMES}"}, _NUMBERS, None]}}
"""Numbers, whatever else somebody has put into one: they can always be read."""
HINT_CONCERN: Final = WriteConcern(w=0)  # a hint that got lost costs a poll, one that is awaited each post


class Tail(NamedTuple):
    """An open cursor on the server and the session it belongs to."""

    session: ClientSession
    cursor: Int64


class Feed:
    """Rings other daemons and receives their rings, not its own."""

    def __init__(self, connection: Connection, *, daemon: bool) -> None:
        self._connection = connection
        self._daemon = daemon
        self._me = Clock().new_id()
        self._tail: Tail | None = None
        self._ringing: Any = None
        self._to_ring: list[Collection[str]] = []

    def prepare(self) -> None:
        """Create the collection if it is missing."""
        with self._connection.call() as database:
            prepare_feed(database)

    def ring(self, names: Collection[str]) -> None:
        """Insert one hint. Never raises. In the daemon it never blocks, and rings merge meanwhile."""
        if not self._daemon:
            self._insert([names])
            return
        self._to_ring.append(names)
        if self._ringing is None or self._ringing.dead:
            import gevent

            self._ringing = gevent.spawn(self._insert_until_silent)

    def listen(self, seconds: float) -> Heard:
        """See the contract. For one greenlet only. A dead tail is opened again before "lost" is said."""
        heard = Heard("lost") if self._tail is None else self._hear(self._tail, seconds)
        if heard.word == "lost":
            self._reopen()
        return heard

    def close(self) -> None:
        """Close the tail on the server too."""
        tail, self._tail = self._tail, None
        if tail is not None:
            with suppress(StoreError), self._connection.call(RING_SECONDS) as database:
                database.command("killCursors", FEED, cursors=[tail.cursor], session=tail.session)
            tail.session.end_session()

    def _insert_until_silent(self) -> None:
        while self._to_ring:
            rings, self._to_ring = self._to_ring, []
            self._insert(rings)

    def _insert(self, rings: Sequence[Collection[str]]) -> None:
        hint: Document = {"by": self._me}
        names = set[str]().union(*rings)
        if all(rings) and len(names) <= MOST_NAMES:
            hint[NAMES] = [hint_of(name) for name in names]
        with suppress(StoreError), self._connection.call(RING_SECONDS) as database:
            database[FEED].with_options(write_concern=HINT_CONCERN).insert_one(hint)

    def _hear(self, tail: Tail, seconds: float) -> Heard:
        patience = min(seconds, self._connection.silence_seconds * 0.8)
        try:
            # a deadline of the driver would replace maxTimeMS, which is how long the server waits
            with pymongo.timeout(UNLIMITED):
                answer: Document = self._connection.database.command(
                    "getMore", tail.cursor, collection=FEED, batchSize=EVERYTHING,
                    maxTimeMS=max(1, int(patience * 1000)), session=tail.session,
                )  # fmt: skip
        except PyMongoError:
            return Heard("lost")
        if not answer["cursor"]["id"]:
            return Heard("lost")
        batch = answer["cursor"]["nextBatch"]
        return Heard("rang", _hints(batch)) if batch else Heard("quiet")

    def _reopen(self) -> None:
        if self._tail is not None:
            self._tail.session.end_session()
            self._tail = None
        with self._connection.call(OPEN_SECONDS) as database:
            prepare_feed(database)
            self._tail = self._open(database)
            if self._tail is None:
                seed_feed(database)
                self._tail = self._open(database)

    def _open(self, database: Database[Document]) -> Tail | None:
        """A tail behind the newest hint: the first batch of so small a collection is all of it."""
        session = database.client.start_session(causal_consistency=False)
        answer: Document = database.command(
            "find", FEED, filter={"by": {"$ne": self._me}}, tailable=True, awaitData=True,
            batchSize=EVERYTHING, session=session, projection=HINT,
        )  # fmt: skip
        if cursor := answer["cursor"]["id"]:
            return Tail(session, Int64(cursor))
        session.end_session()
        return None


def _hints(batch: Sequence[Document]) -> frozenset[int] | None:
    """What all of *batch* rings for; None as soon as one does not say so, as those of older versions."""
    numbers: list[list[int]] = [document.get(NAMES) or [] for document in batch]
    return frozenset(chain.from_iterable(numbers)) if all(numbers) else None
