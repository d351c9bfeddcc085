"""Groups failed tasks by what went wrong: the handler, and the error without what differs each time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bson import ObjectId

from .model import MonQTask
from .regex import literal
from .safe_text import shortened

LONGEST: Final = 160
_DIFFERS: Final = re.compile(
    r"(?P<uuid>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b)"
    r"|(?P<hex>\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{16,}\b)"
    r"|(?P<text>'[^'\n]*'|\"[^\"\n]*\")"
    r"|(?P<number>\d+(?:\.\d+)?)"
)
_ANY: Final = {
    "uuid": ("<uuid>", r"[0-9a-fA-F-]{36}"),
    "hex": ("<hex>", r"[0-9a-fA-Fx]+"),
    "text": ("<text>", r".*"),
    "number": ("<n>", r"[0-9.]+"),
}


@dataclass(slots=True)
class Failure:
    """The tasks of *name* that failed with what *error* stands for: *count* of those that were looked at.

    *pattern* is a regular expression of Filter.error that finds them, *latest* the end of the newest of them,
    *example* its id, *ends* their ends, newest first.
    """

    name: str
    error: str
    pattern: str
    example: ObjectId
    latest: datetime | None
    count: int
    ends: list[datetime]


def error_of(task: MonQTask) -> str:
    """The last line of what a failed task says."""
    text = task.result if isinstance(task.result, str) else task.fault
    found = [line for line in text.splitlines() if line.strip()]
    return found[-1].strip() if found else ""


def normalised(error: str) -> tuple[str, str]:
    """*error* with a word in place of what differs each time, and the expression that finds all like it."""
    words: list[str] = []
    pattern: list[str] = []
    place, short = 0, error[:LONGEST]
    for match in _DIFFERS.finditer(short):
        between, kind = short[place : match.start()], match.lastgroup or "text"
        words += [between, _ANY[kind][0]]
        pattern += [literal(between), _ANY[kind][1]]
        place = match.end()
    words.append(short[place:])
    pattern.append(literal(short[place:]))
    return shortened("".join(words), LONGEST), "".join(pattern)


def grouped(tasks: Iterable[MonQTask]) -> list[Failure]:
    """*tasks*, newest first, by name and error: the largest group first."""
    groups: dict[tuple[str, str], Failure] = {}
    for task in tasks:
        error, pattern = normalised(error_of(task))
        ended = task.time_stop if isinstance(task.time_stop, datetime) else None
        group = groups.get((task.task_name, error))
        if group is None:
            group = Failure(task.task_name, error, pattern, task.id, ended, 0, [])
            groups[task.task_name, error] = group
        group.count += 1
        if ended is not None:
            group.ends.append(ended)
            group.latest = max(group.latest or ended, ended)
    return sorted(groups.values(), key=lambda one: (-one.count, one.name, one.error))
