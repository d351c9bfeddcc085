"""The feed between daemons: a capped collection of hints, tailed.

The tail uses plain commands: the driver's tailable cursor swallows the errors that say that
hints were missed, and stays with a former primary after a stepdown. A `getMore` that always goes
to the present primary is told there that its cursor is unknown, and that is the answer wanted.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, NamedTuple

import pymongo
from bson import Int64
from pymongo import WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ...clock import Clock
from ...errors import StoreError
from ..contract import Heard
from .connection import Connection, Document
from .schema import FEED, prepare_feed, seed_feed

RING_SECONDS: Final = 1.0
OPEN_SECONDS: Final = 2.0
EVERYTHING: Final = 100_000
UNLIMITED: Final = 0  # to pymongo.timeout
HINT: Final[Document] = {"_id": 0, "hint": {"$literal": 1}}  # whatever else somebody has put into one
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
        self._ring_again = False

    def prepare(self) -> None:
        """Create the collection if it is missing."""
        with self._connection.call() as database:
            prepare_feed(database)

    def ring(self) -> None:
        """Insert one hint. Never raises. In the daemon it never blocks, and rings merge meanwhile."""
        if not self._daemon:
            self._insert()
            return
        self._ring_again = True
        if self._ringing is None or self._ringing.dead:
            import gevent

            self._ringing = gevent.spawn(self._insert_until_silent)

    def listen(self, seconds: float) -> Heard:
        """See the contract. For one greenlet only. A dead tail is opened again before "lost" is said."""
        heard: Heard = "lost" if self._tail is None else self._hear(self._tail, seconds)
        if heard == "lost":
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
        while self._ring_again:
            self._ring_again = False
            self._insert()

    def _insert(self) -> None:
        with suppress(StoreError), self._connection.call(RING_SECONDS) as database:
            database[FEED].with_options(write_concern=HINT_CONCERN).insert_one({"by": self._me})

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
            return "lost"
        if not answer["cursor"]["id"]:
            return "lost"
        return "rang" if answer["cursor"]["nextBatch"] else "quiet"

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
