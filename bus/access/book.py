"""The book of users, tokens, sessions and links: records of the store, read at most once a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from ..clock import UTC, Clock
from ..errors import StoreError
from ..model import Record

KIND: Final = "access"
"""Of the records; the name of one is its word, a space, and the name or id of what it is about."""
Word = Literal["user", "token", "session", "link", "key"]
FRESH_SECONDS: Final = 1.0
"""So much later at most another daemon of a shared store heeds a change."""
AWAY_SECONDS: Final = 300.0
"""For so long what was read last counts on while the store does not answer."""
AT_ONCE_SECONDS: Final = 0.05


class Records(Protocol):
    """What is needed of the store; see store.contract.Records."""

    def records(self, kind: str) -> list[Record]:
        """Every record of *kind*."""

    def keep_records(self, records: Sequence[Record]) -> list[bool]:
        """Store each from the version that was read."""


class Book:
    """What the store holds about access. Blocks as the store does; raises StoreUnavailable when away."""

    def __init__(self, store: Records, clock: Clock, monotonic: Callable[[], float] | None = None) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic or clock.monotonic
        self._read: dict[str, Record] = {}
        self._read_at: float | None = None
        self._is_stale = False

    def now(self) -> datetime:
        """The queue's time, by which everything here ends."""
        return self._clock.now()

    def all(self, word: Word) -> dict[str, Record]:
        """The records of *word* by their name behind it."""
        self._refresh(FRESH_SECONDS)
        return {
            name.partition(" ")[2]: one for name, one in self._read.items() if name.startswith(f"{word} ")
        }

    def get(self, word: Word, name: str) -> Record | None:
        """One record; what is not there is looked for anew, another daemon may just have made it."""
        self._refresh(FRESH_SECONDS)
        found = self._read.get(f"{word} {name}")
        if found is None:
            self._refresh(AT_ONCE_SECONDS)
            found = self._read.get(f"{word} {name}")
        return found

    def keep(self, *records: Record) -> list[bool]:
        """As Store.keep_records; what comes after it sees what was written."""
        try:
            return self._store.keep_records(records)
        finally:
            self._is_stale = True

    def keep_if_it_goes(self, one: Record) -> None:
        """Write what nobody waits for, such as when a token was last used."""
        with suppress(StoreError):
            self.keep(one)

    def _refresh(self, seconds: float) -> None:
        now = self._monotonic()
        age = None if self._read_at is None else now - self._read_at
        if age is not None and age < seconds and not self._is_stale:
            return
        self._is_stale = False  # before: what is written meanwhile may be missing in what comes
        try:
            self._read = {one.name: one for one in self._store.records(KIND)}
        except StoreError:
            if age is None or age > AWAY_SECONDS:
                raise
            return
        self._read_at = now


def record(word: Word, name: str, fields: Mapping[str, Any], version: int = 0) -> Record:
    """What is written to the book."""
    return Record(KIND, f"{word} {name}", fields, version)


def moment(value: object) -> datetime | None:
    """*value* as a moment, None for anything else, whoever has written it."""
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else None


def is_over(one: Record, now: datetime) -> bool:
    """Whether the time of *one* is over; one that does not say when has none left."""
    expires = moment(one.fields.get("expires"))
    return expires is None or expires <= now


def text(one: Record, field: str) -> str:
    """A field of *one* as text, "" for anything else."""
    value = one.fields.get(field)
    return value if isinstance(value, str) else ""
