"""The filter options of a command as a filter of tasks, of events or of deliveries."""

from __future__ import annotations

import argparse
from dataclasses import fields
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from bson import ObjectId
from bson.errors import InvalidId

from ..delivery_record import DeliveryFilter
from ..errors import BadFilter, UsageError
from ..model import MOMENTS, READY, STATES, EventFilter, Filter, State
from .times import moment_before

PARKED: Final = "parked"
"""The word for a view of `ready`: tasks under a name that no app declares."""
SHOWN_BY_LIST: Final = "`monqbus list` shows ids"
_OPTIONS: Final = {"ids": "ID", "states": "--state"}
_Received = TypeVar("_Received", EventFilter, DeliveryFilter)


def filter_of(options: argparse.Namespace, now: datetime) -> Filter:
    """What the options ask for. Raises UsageError."""
    states = _states(options.state)
    ids = tuple(dict.fromkeys(_id(text, _meant(text)) for text in getattr(options, "ids", ())))
    moments: Any = {
        name: moment_before(_option(name), text, now) for name in MOMENTS if (text := getattr(options, name))
    }
    try:
        return Filter(
            ids=ids,
            states=cast("tuple[State, ...]", (READY,) if PARKED in states else states),
            parked=PARKED in states,
            name=options.name or "",
            topic=options.topic or "",
            error=options.error or "",
            **moments,
        )
    except BadFilter as error:
        option = _OPTIONS.get(error.part, _option(error.part))
        also = f" ({PARKED} is a word for itself)" if error.part == "states" else ""
        raise UsageError(f"{option}: {error.sentence}{also}") from error


def received_filter(kind: type[_Received], options: argparse.Namespace, now: datetime) -> _Received:
    """The filter of what was received: each field of *kind* is the option of its name. Raises UsageError."""
    parts = {part.name: value for part in fields(kind) if (value := getattr(options, part.name))}
    for name in ("older", "newer"):
        if name in parts:
            parts[name] = moment_before(_option(name), parts[name], now)
    try:
        return kind(**parts)
    except BadFilter as error:
        raise UsageError(f"{_option(error.part)}: {error.sentence}") from error


def _option(part: str) -> str:
    """The option that says this part of a filter."""
    return f"--{part.replace('_', '-')}"


def _meant(text: str) -> str:
    """What helps where *text* stands for a task and is no id: a state or a name is said by an option."""
    if text in STATES:
        return f"did you mean --state {text}?"
    return f"did you mean --name {text}?" if "." in text else SHOWN_BY_LIST


def task_id(text: str) -> ObjectId:
    """The id of a task that *text* spells. Raises UsageError."""
    return _id(text, SHOWN_BY_LIST)


def event_id(text: str) -> ObjectId:
    """The id of an event that *text* spells. Raises UsageError."""
    return _id(text, "the answer to a delivery names it, and `monqbus show` of its tasks")


def _id(text: str, where: str) -> ObjectId:
    try:
        return ObjectId(text)
    except InvalidId:
        raise UsageError(f"ID: expected 24 hexadecimal digits, got {text!r}; {where}") from None


def _states(text: str | None) -> tuple[str, ...]:
    """The words of ``--state``, in which `parked`, that only the command line knows, stands alone."""
    states = tuple(word.strip() for word in text.split(",")) if text else ()
    if PARKED in states and len(states) > 1:
        raise UsageError(f"--state: expected {PARKED} alone, got {text!r}; it is a part of ready")
    return states
