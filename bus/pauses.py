"""Pauses: what an operator holds up, until when and why. Pure values, no I/O.

A pause names tasks, or schedules, by a whole name in which each ``*`` stands for any text. One of a hook
holds up the tasks of that hook's handlers. It is kept as a record of the store. Nobody claims a task that is
paused (`engine/lanes`), and a schedule that is paused stores no tick (`maintenance/scheduler`); each daemon
knows them by `maintenance/pause_monitor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from bson import ObjectId

from .clock import UTC
from .errors import BadFilter
from .model import WILDCARD, Record
from .safe_text import shown

KIND: Final = "pause"
"""Of the records that pauses are kept as."""
What = Literal["task", "schedule", "hook"]
TASK: Final = "task"
SCHEDULE: Final = "schedule"
HOOK: Final = "hook"
KINDS: Final = (TASK, SCHEDULE, HOOK)
LONGEST_NAME: Final = 128
LONGEST_REASON: Final = 1000
UNREAD_REASON: Final = "the record of this pause cannot be read"
_MARKS: Final = frozenset("_.:-" + WILDCARD)


@dataclass(frozen=True, slots=True)
class Pause:
    """Holds up the tasks, or schedules, of *name* from *since* until *until*; None: until it is resumed.

    *by* is whoever asked for it, as far as that was said. *tasks* are the names that the pause of a hook
    holds up. *version* is that of its record.

    A circuit breaker that is open is a pause with a *probe*: at *probe_at* a task is tried, and so many
    seconds later the next one; *trying* is the last one that was. When an operator pauses its name, it is a
    pause like any other.
    """

    what: What
    name: str
    reason: str
    since: datetime | None = None
    until: datetime | None = None
    by: str = ""
    version: int = 0
    tasks: tuple[str, ...] = ()
    probe: float | None = None
    probe_at: datetime | None = None
    trying: ObjectId | None = None

    @property
    def title(self) -> str:
        """What is paused, for people."""
        if self.what == TASK:
            return "all tasks" if self.name == WILDCARD else self.name
        return f"{self.what} {self.name}"

    @property
    def sentence(self) -> str:
        """Why, since when, until when, and by whom."""
        parts = [self.reason]
        if self.since is not None:
            parts.append(f"since {_second(self.since)}")
        if self.until is not None:
            parts.append(f"until {_second(self.until)}")
        if self.by:
            parts.append(f"by {self.by}")
        return f"{parts[0]} ({', '.join(parts[1:])})" if parts[1:] else parts[0]

    def covers(self, what: str, name: str) -> bool:
        """Whether it holds up the task, or schedule, of this name."""
        if self.what == HOOK:
            return (what == HOOK and name == self.name) or (what == TASK and name in self.tasks)
        return what == self.what and fits(self.name, name)

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended by itself."""
        return self.until is not None and self.until <= now

    @property
    def record(self) -> Record:
        """What it is kept as."""
        fields: dict[str, Any] = {
            "reason": self.reason,
            "since": self.since,
            "until": self.until,
            "by": self.by,
        }
        if self.tasks:
            fields["tasks"] = list(self.tasks)
        if self.probe is not None:
            fields |= {"probe": self.probe, "probe_at": self.probe_at, "trying": self.trying}
        return Record(KIND, f"{self.what} {self.name}", fields, self.version)

    @property
    def row(self) -> dict[str, Any]:
        """Its parts by name."""
        return {
            "what": self.what,
            "name": self.name,
            "reason": self.reason,
            "since": self.since,
            "until": self.until,
            "by": self.by,
            **({"tasks": list(self.tasks)} if self.what == HOOK else {}),
            **({"probe": self.probe, "probe_at": self.probe_at} if self.probe is not None else {}),
        }


def pause_of(record: Record) -> Pause | None:
    """The pause that *record* is; None for one that names neither tasks nor schedules nor a hook.

    One whose fields cannot be read holds: an operator has meant something to wait.
    """
    what, _, name = record.name.partition(" ")
    if what not in KINDS or not name:
        return None
    fields = record.fields
    reason, by, tasks = fields.get("reason"), fields.get("by"), fields.get("tasks")
    probe, trying = fields.get("probe"), fields.get("trying")
    return Pause(
        cast("What", what),
        name,
        reason if isinstance(reason, str) else UNREAD_REASON,
        _moment(fields.get("since")),
        _moment(fields.get("until")),
        by if isinstance(by, str) else "",
        record.version,
        tuple(one for one in tasks if isinstance(one, str)) if isinstance(tasks, list) else (),
        float(probe) if isinstance(probe, (int, float)) and what == TASK else None,
        _moment(fields.get("probe_at")),
        trying if isinstance(trying, ObjectId) else None,
    )


def pauses_of(records: Iterable[Record]) -> list[Pause]:
    """The pauses that *records* are, in their order."""
    return [pause for record in records if (pause := pause_of(record)) is not None]


def covering(pauses: Iterable[Pause], what: str, name: str) -> Pause | None:
    """The first of *pauses* that holds up the task, or schedule, of this name."""
    return next((pause for pause in pauses if pause.covers(what, name)), None)


def counted(pauses: Iterable[Pause], waiting: Mapping[str, int]) -> int:
    """How many tasks, of those that are *waiting* by name, are held up."""
    held = [pause for pause in pauses if pause.what != SCHEDULE]
    return sum(number for name, number in waiting.items() if covering(held, TASK, name))


def fits(pattern: str, name: str) -> bool:
    """Whether *name* is *pattern*, in which each ``*`` stands for any text. Takes linear time."""
    first, *rest = pattern.split(WILDCARD)
    if not rest:
        return pattern == name
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(rest[-1]) and name.endswith(rest[-1])


def require(what: object, name: object, reason: object) -> None:
    """Raise BadFilter when no pause can have these."""
    if what not in KINDS:
        raise BadFilter(f"what: expected one of {', '.join(KINDS)}, got {shown(what)}")
    require_name(name)
    if not isinstance(reason, str) or not reason.strip() or len(reason) > LONGEST_REASON:
        raise BadFilter(
            f"reason: expected 1 to {LONGEST_REASON} characters, got {shown(reason)}; "
            "whoever finds the work waiting reads it"
        )
    if reason.encode("utf-8", "replace").decode() != reason or "\x00" in reason:
        raise BadFilter(f"reason: expected text, got {shown(reason)}")


def require_name(name: object) -> None:
    """Raise BadFilter when no task and no schedule can have *name*."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= LONGEST_NAME
        or not all((letter.isascii() and letter.isalnum()) or letter in _MARKS for letter in name)
    ):
        raise BadFilter(
            f"name: expected a whole name of 1 to {LONGEST_NAME} letters, digits, _ . : and -, "
            f"in which * stands for any text, got {shown(name)}"
        )


def _moment(value: object) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else None


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
