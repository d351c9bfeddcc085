"""The filter options of a command as a model.Filter."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta
from typing import cast

from bson import ObjectId
from bson.errors import InvalidId

from ..clock import UTC
from ..errors import UsageError
from ..model import STATES, Filter, State

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def filter_of(options: argparse.Namespace, now: datetime) -> Filter:
    """What the options ask for. Raises UsageError."""
    return Filter(
        ids=tuple(task_id(text) for text in getattr(options, "ids", ())),
        states=_states(options.state),
        name=options.name or "",
        topic=options.topic or "",
        error=_regex(options.error),
        older=_moment("--older", options.older, now),
        newer=_moment("--newer", options.newer, now),
    )


def task_id(text: str) -> ObjectId:
    """The id that *text* spells. Raises UsageError."""
    try:
        return ObjectId(text)
    except InvalidId:
        raise UsageError(
            f"ID: expected 24 hexadecimal digits, got {text!r}; `monqbus list` shows ids"
        ) from None


def _states(text: str | None) -> tuple[State, ...]:
    states = tuple(word.strip() for word in text.split(",")) if text else ()
    for state in states:
        if state not in STATES:
            raise UsageError(f"--state: expected {', '.join(STATES)}, got {state!r}")
    return cast("tuple[State, ...]", states)


def _regex(text: str | None) -> str:
    try:
        re.compile(text or "")
    except re.error as error:
        raise UsageError(f"--error: expected a regular expression, got {text!r}: {error}") from None
    return text or ""


def _moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """A duration before *now*, or an RFC 3339 time."""
    if text is None:
        return None
    if match := _DURATION.fullmatch(text):
        return now - timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(
            f"{option}: expected a duration like 90s or 3d, or a time like 2026-01-31T12:00:00Z, got {text!r}"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
