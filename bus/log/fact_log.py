"""Writes facts as log lines: one fact, one line, escaped.

Lines of one turn of the hub are written together; a busy daemon says thousands of them a second.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from json import dumps
from threading import get_native_id
from typing import Any, Protocol

from bson import ObjectId

from ..clock import Clock
from ..model import Event, MonQTask
from ..retry import Outcome
from ..safe_text import cached_if_short, harmless
from ..telemetry import FACTS

_PLAIN = re.compile(r"[\w.:/@+,-]+")
FIELD_LIMIT = 2000
_LEVELS = {number: logging.getLevelName(number) for number in (10, 20, 30, 40)}


def _flat(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The fields of a fact as a log reader wants them: nouns become their ids and names."""
    flat: list[tuple[str, Any]] = []
    for name, value in fields.items():
        if isinstance(value, MonQTask):
            flat += [("task", value.id), ("name", value.task_name)]
            if value.attempt > 1:
                flat.append(("attempt", value.attempt))
        elif isinstance(value, Outcome):
            if value.error:
                flat.append(("error", value.error))
            if value.fields.get("state") == "ready" and "time_queue" in value.fields:
                flat.append(("next", value.fields["time_queue"]))
        elif name == "seconds":
            flat.append(("ms", round(value * 1000, 1)))
        elif isinstance(value, Event):
            flat += [("event", value.id), ("topic", value.topic), ("tasks", len(value.task_ids))]
        elif isinstance(value, BaseException):
            flat.append((name, f"{type(value).__name__}: {value}"))
        else:
            flat.append((name, value))
    return flat


def _simple(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return harmless(str(value))[:FIELD_LIMIT]


@cached_if_short(4096)
def _quoted(text: str) -> str:
    """*text* as the value of a key=value pair; the same few names come again and again."""
    text = harmless(text)[:FIELD_LIMIT]
    return text if _PLAIN.fullmatch(text) else dumps(text, ensure_ascii=False)


@lru_cache(maxsize=2)  # all lines of a turn of the hub have one moment
def _clock_time(moment: datetime) -> str:
    return f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}.{moment.microsecond // 1000:03}"


def as_text(moment: datetime, level: str, fact: str, fields: Mapping[str, Any]) -> str:
    """One line for people: time, level, fact, key=value; what a task printed comes last and whole."""
    line = f"{_clock_time(moment)} {level:<7} {fact}"
    said = ""
    for name, value in _flat(fields):
        kind = type(value)
        if kind is ObjectId:  # a new one in nearly every line: nothing to quote, nothing to remember
            line += f" {name}={value}"
        elif name == "line":
            said = f" | {_simple(value)}"
        elif kind is str:
            line += f" {name}={_quoted(value)}"
        else:
            shown = _simple(value)
            line += f" {name}={_quoted(shown) if isinstance(shown, str) else shown}"
    return line + said


def as_json(moment: datetime, level: str, fact: str, fields: Mapping[str, Any]) -> str:
    """One JSON object for machines."""
    row = {"time": _simple(moment), "level": level.lower(), "fact": fact}
    row.update((name, _simple(value)) for name, value in _flat(fields))
    return dumps(row, ensure_ascii=False)


class Stream(Protocol):
    """Where lines go. `write` is called from any thread and never blocks the hub for long."""

    def write(self, text: str, /) -> Any:
        """Take *text*, whole lines of it."""


class FactLog:
    """The listener that writes lines to *stream*. *later* runs a function soon, for gathering.

    It belongs to the thread that makes it; what others say is written at once.
    """

    def __init__(
        self,
        stream: Stream,
        clock: Clock,
        *,
        level: str,
        log_format: str,
        later: Callable[[Callable[[], None]], Any],
    ) -> None:
        self._stream = stream
        self._clock = clock
        self.threshold: int = logging.getLevelName(level.upper())
        self._render = as_json if log_format == "json" else as_text
        self._later = later
        self._lines: list[str] = []
        self._thread = get_native_id()
        self._moment = clock.now()

    def __call__(self, fact: str, fields: Mapping[str, Any]) -> None:
        """Telemetry's listener."""
        number = FACTS[fact][0]
        if number >= self.threshold:
            self.say(_LEVELS[number], fact, fields)

    def say(self, level: str, fact: str, fields: Mapping[str, Any]) -> None:
        """Write one line at the end of this turn of the hub; from another thread at once."""
        if get_native_id() != self._thread:
            self._write([self._render(self._clock.now(), level, fact, fields)])
            return
        if not self._lines:
            self._later(self.flush)
            self._moment = self._clock.now()  # one look at the clock for all lines of one turn
        self._lines.append(self._render(self._moment, level, fact, fields))

    def say_now(self, fact: str, fields: Mapping[str, Any]) -> None:
        """Write one line before returning, from any thread, also while the hub stands still.

        What has gathered stays where it is: it is the hub's. The stream keeps lines whole, each
        comes in one write.
        """
        if FACTS[fact][0] >= self.threshold:
            self._stream.write(self.line(fact, fields))

    def flush(self) -> None:
        """Hand over what has gathered."""
        lines, self._lines = self._lines, []
        if lines:
            self._write(lines)

    def line(self, fact: str, fields: Mapping[str, Any]) -> str:
        """The line of a *fact* of this moment, with its end."""
        return self._render(self._clock.now(), _LEVELS[FACTS[fact][0]], fact, fields) + "\n"

    def _write(self, lines: list[str]) -> None:
        self._stream.write("\n".join(lines) + "\n")


class RecordHandler(logging.Handler):
    """Standard log records (of libraries and of code outside tasks) as journal lines."""

    def __init__(self, fact_log: FactLog) -> None:
        super().__init__()
        self._fact_log = fact_log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; its traceback follows escaped on the same line."""
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._fact_log.say(record.levelname, "log", fields)
