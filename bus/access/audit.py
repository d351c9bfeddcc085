"""The audit: who has done what, when, from where, to how many. Records of the store, the last ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from ..clock import Clock
from ..errors import StoreError
from ..model import Record
from ..safe_text import shortened, without_surrogates
from ..telemetry import emit
from .book import Records, moment, text
from .visitor import Visitor

KIND: Final = "audit"
MOST: Final = 5_000
EXTRA: Final = 200
"""So many more than MOST are stored before the oldest go."""
TOGETHER_SECONDS: Final = 60.0
LONGEST_VALUE: Final = 300
MOST_VALUES: Final = 20


class Entry(NamedTuple):
    """*who* in *role* has done *action* to *about*, by *way* from *address*; *number* of what it changed."""

    at: datetime | None
    who: str
    role: str
    way: str
    address: str
    action: str
    about: Mapping[str, Any]
    number: int


class Audit:
    """Writes and lists them. An entry that cannot be stored is told as `audit.failed`; its action stands."""

    def __init__(self, store: Records, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._until_cut = 0
        self._last: tuple[Record, Entry] | None = None

    def note(
        self,
        visitor: Visitor,
        action: str,
        about: Mapping[str, Any] | None = None,
        number: int = 1,
        *,
        joins: bool = False,
    ) -> None:
        """Store what was just done; one that *joins* is a page of a bulk action, whose pages are one entry.

        Never raises.
        """
        entry = Entry(
            self._clock.now(),
            visitor.name,
            visitor.role.word,
            visitor.way.value,
            visitor.address,
            action,
            _kept(about or {}),
            number,
        )
        try:
            if not (joins and self._joined(entry)):
                self._add(entry)
        except StoreError as error:
            emit("audit.failed", action=action, who=visitor.name, error=str(error))

    def entries(self, limit: int, before: str = "") -> list[tuple[str, Entry]]:
        """The last ones, newest first, with their ids; those in front of the id *before*."""
        stored = sorted(self._store.records(KIND), key=lambda one: one.name, reverse=True)
        return [(one.name, _entry(one)) for one in stored if not before or one.name < before][:limit]

    def _joined(self, entry: Entry) -> bool:
        """Add to the last entry, when that is of the same action; whether it was."""
        if self._last is None:
            return False
        record, last = self._last
        is_same = last._replace(at=None, number=0) == entry._replace(at=None, number=0)
        if not is_same or last.at is None or entry.at is None:
            return False
        if (entry.at - last.at).total_seconds() > TOGETHER_SECONDS:
            return False
        both = entry._replace(number=last.number + entry.number)
        changed = Record(KIND, record.name, both._asdict(), record.version)
        if self._store.keep_records([changed]) != [True]:
            return False
        self._last = (Record(KIND, record.name, {}, record.version + 1), both)
        return True

    def _add(self, entry: Entry) -> None:
        one = Record(KIND, str(self._clock.new_id()), entry._asdict())
        self._store.keep_records([one])
        self._last = (Record(KIND, one.name, {}, 1), entry)
        if self._until_cut == 0:
            stored = sorted(self._store.records(KIND), key=lambda found: found.name)
            old = stored[: max(0, len(stored) - MOST)]
            if old:
                self._store.keep_records([Record(KIND, found.name, {}, found.version) for found in old])
            self._until_cut = EXTRA
        self._until_cut -= 1


def _entry(one: Record) -> Entry:
    fields = one.fields
    about, number = fields.get("about"), fields.get("number")
    return Entry(
        moment(fields.get("at")),
        text(one, "who"),
        text(one, "role"),
        text(one, "way"),
        text(one, "address"),
        text(one, "action"),
        about if isinstance(about, Mapping) else {},
        number if isinstance(number, int) else 0,
    )


def _kept(about: Mapping[str, Any]) -> dict[str, Any]:
    """*about* as it is stored: short, and no value of an unknown kind."""
    return {
        name: _short(value) for name, value in about.items() if value not in (None, "", (), [], {}, False)
    }


def _short(value: Any) -> Any:
    if isinstance(value, (bool, int, float, datetime)):
        return value
    if isinstance(value, (list, tuple)):
        shown = [_short(one) for one in value[:MOST_VALUES]]
        return [*shown, f"and {len(value) - MOST_VALUES} more"] if len(value) > MOST_VALUES else shown
    return shortened(without_surrogates(str(value)), LONGEST_VALUE)
