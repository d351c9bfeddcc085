"""Checks that collections and indexes are still those of the start, and recreates what it can.

Other programs and people drop, rename, convert and index collections while a daemon uses them. MongoDB makes
a collection anew at the next insert, without a word and without its indexes: deliveries are
acknowledged, and no claim finds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...clock import Clock
from ...errors import StoreError, StoreUnavailable
from ...telemetry import ToldOnce
from ..contract import Notice
from .connection import Connection
from .schema import (
    BODIES,
    DELIVERIES,
    EVENTS,
    FEED,
    INDEX_SECONDS,
    RECORDS,
    TASKS,
    WORKERS,
    Found,
    There,
    altered_indexes,
    collections,
    create_indexes,
    foreign_indexes,
    indexes,
    missing_indexes,
    prepare_feed,
    seed_feed,
    unfit,
)

LOOK_SECONDS: Final = 3.0
_LOST: Final[Mapping[str, str]] = {
    TASKS: "tasks that were acknowledged may be lost",
    EVENTS: "events may be lost, and deliveries that come again are not recognised",
    BODIES: "the bodies of large deliveries may be lost",
    DELIVERIES: "the log of refused deliveries is gone",
    WORKERS: "the leases are gone, and other daemons may begin what runs here",
    RECORDS: "how far schedules have come is forgotten; what was missed until now does not run any more",
}


class Integrity:
    """Knows the collections by their UUID; a `complaint` stands for as long as nothing new may be taken."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.complaint = ""
        self._connection = connection
        self._clock = clock
        self._looked_at = float("-inf")
        self._known: dict[str, Any] = {}
        self._told = ToldOnce()
        self._warned = ToldOnce()
        self._news: list[Notice] = []

    def begin(self) -> None:
        """Take the collections that are there now as ours. Raises StoreError for indexes that are not."""
        with self._connection.call() as database:
            if problem := _complaint_of(altered_indexes(indexes(database))):
                raise StoreError(self._named(problem))
            self._compare(collections(database))
        self._news.clear()
        self._looked_at = self._clock.monotonic()

    def require(self) -> None:
        """Raise StoreUnavailable while nothing new may be taken."""
        if self.complaint:
            raise StoreUnavailable(self.complaint)

    def glance(self) -> None:
        """For a process that nobody tends: whether the collections can keep anything. Mends nothing."""
        if self._clock.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._clock.monotonic()
            with self._connection.call() as database:
                self.complaint = self._named(unfit(database.name, collections(database)))

    def look(self) -> Sequence[Notice]:
        """Compare and mend, every LOOK_SECONDS; what has changed. Blocks while indexes are built."""
        if self._clock.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._clock.monotonic()
            try:
                self._look()
            except StoreError:
                if not self._news:
                    raise
        news, self._news = self._news, []
        return news

    def _look(self) -> None:
        with self._connection.call() as database:
            found = collections(database)
            self._compare(found)
            if problem := unfit(database.name, found):
                self._complain(self._named(problem))
                return
            there = indexes(database)
        self._warn(foreign_indexes(there))
        has_feed = FEED in found and found[FEED]["options"].get("capped")
        missing = missing_indexes(there)
        if missing and not self.complaint:  # or it says already why they cannot be made
            self._complain(self._named(f"missing indexes: {', '.join(missing)}; they are made anew"))
        if missing or not has_feed:
            mended = self._mend(missing)
            if mended is None:
                return
            there = mended
        self._complain(self._named(_complaint_of(altered_indexes(there))))

    def _mend(self, missing: Sequence[str]) -> There | None:
        """Make what is missing; the indexes that there are then, None when the server refused."""
        try:
            with self._connection.call(INDEX_SECONDS) as database:
                if missing:
                    create_indexes(database)
                there = indexes(database)
            with self._connection.call() as database:
                prepare_feed(database)
                seed_feed(database)  # whoever could not claim tries again at once
        except StoreUnavailable:
            raise
        except StoreError as error:
            # the server's words name the build, so they differ from try to try
            self._complain(str(error), about=f"cannot make {', '.join(missing) or FEED}")
            return None
        self._tell("store.restored", what=", ".join(missing) or FEED)
        return there

    def _compare(self, found: Found) -> None:
        """Tell of collections that are others than before; those of now are known from here on."""
        for name, loss in _LOST.items():
            uuid = found[name]["info"].get("uuid") if name in found else None
            known = self._known.get(name)
            if known is not None and uuid != known:
                error = (
                    f"{name}: dropped, renamed or replaced while this daemon used it: {loss}; "
                    "see who did it, and restore a backup if it was not meant"
                )
                self._tell("store.altered", collection=name, error=error)
            self._known[name] = uuid

    def _warn(self, foreign: list[str]) -> None:
        for warning in self._warned.now(foreign):
            self._tell("store.warned", warning=warning)

    def _named(self, problem: str) -> str:
        return f"{self._connection.name}: {problem}" if problem else ""

    def _complain(self, complaint: str, about: str = "") -> None:
        """Nothing new is taken because of it; told once for what it is *about*."""
        self.complaint = complaint
        if self._told.now([about or complaint] if complaint else []):
            self._tell("store.altered", error=complaint)

    def _tell(self, fact: str, **fields: Any) -> None:
        self._news.append(Notice(fact, fields))


def _complaint_of(altered: Sequence[str]) -> str:
    if not altered:
        return ""
    return f"indexes are not what monqbus makes: {', '.join(altered)}; drop them, a daemon makes its own"
