"""The filter options of a command as a model.Filter."""

from __future__ import annotations

import argparse
import re
from datetime import datetime
from typing import Final, cast

from bson import ObjectId
from bson.errors import InvalidId

from ..errors import UsageError
from ..model import READY, STATES, Filter, State
from .moments import moment_before

PARKED: Final = "parked"
"""The word for a view of `ready`: tasks under a name that no app declares."""


def filter_of(options: argparse.Namespace, now: datetime) -> Filter:
    """What the options ask for. Raises UsageError."""
    states = _states(options.state)
    return Filter(
        ids=tuple(dict.fromkeys(task_id(text) for text in getattr(options, "ids", ()))),
        states=cast("tuple[State, ...]", (READY,) if PARKED in states else states),
        parked=PARKED in states,
        name=options.name or "",
        topic=options.topic or "",
        error=_regex(options.error),
        older=moment_before("--older", options.older, now) if options.older else None,
        newer=moment_before("--newer", options.newer, now) if options.newer else None,
    )


def task_id(text: str) -> ObjectId:
    """The id of a task that *text* spells. Raises UsageError."""
    return _id(text, "`monqbus list` shows ids")


def event_id(text: str) -> ObjectId:
    """The id of an event that *text* spells. Raises UsageError."""
    return _id(text, "the answer to a delivery names it, and `monqbus show` of its tasks")


def _id(text: str, where: str) -> ObjectId:
    try:
        return ObjectId(text)
    except InvalidId:
        raise UsageError(f"ID: expected 24 hexadecimal digits, got {text!r}; {where}") from None


def _states(text: str | None) -> tuple[str, ...]:
    states = tuple(word.strip() for word in text.split(",")) if text else ()
    for state in states:
        if state not in (*STATES, PARKED):
            raise UsageError(f"--state: expected {', '.join(STATES)} or {PARKED}, got {state!r}")
    if PARKED in states and len(states) > 1:
        raise UsageError(f"--state: expected {PARKED} alone, got {text!r}; it is a part of ready")
    return states


def _regex(text: str | None) -> str:
    try:
        re.compile(text or "")
    except re.error as error:
        raise UsageError(f"--error: expected a regular expression, got {text!r}: {error}") from None
    return text or ""
