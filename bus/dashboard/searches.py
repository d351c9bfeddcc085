"""What a URL asks for as a filter, and back: a search can be kept as a bookmark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from bson import ObjectId
from bson.errors import InvalidId

from ..delivery_record import DeliveryFilter
from ..errors import BadFilter, Refused
from ..model import READY, STATES, EventFilter, Filter, State
from ..regex import literal
from ..spoken_time import moment_before
from . import text

PARKED: Final = "parked"
TASK_FIELDS: Final = ("name", "topic", "error", "state", "newer", "older", "ended_newer", "ended_older")
EVENT_FIELDS: Final = ("topic", "hook", "kind", "delivery", "outcome", "newer", "older")
DELIVERY_FIELDS: Final = ("hook", "topic", "delivery", "outcome", "status", "newer", "older")
ONCE: Final = frozenset({"cursor", "done", "number"})
_MOMENTS: Final = ("newer", "older", "ended_newer", "ended_older")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:*-]{1,128}")
_ERROR: Final = re.compile(r"[A-Z][A-Za-z]*")
"""A class of errors; tasks are not called so."""


def tasks(query: Mapping[str, str], now: datetime) -> Filter:
    """The filter of tasks. Raises Refused(400), which says what was expected."""
    given = _parts(query, TASK_FIELDS, now)
    states = tuple(dict.fromkeys(word for word in given.pop("state", "").split(",") if word))
    if PARKED in states and len(states) > 1:
        raise _bad(
            f"state: expected {PARKED} alone, got {text.cell(','.join(states))}; it is a part of {READY}"
        )
    try:
        return Filter(
            states=cast("tuple[State, ...]", (READY,) if states == (PARKED,) else states),
            parked=states == (PARKED,),
            **given,
        )
    except BadFilter as error:
        raise _bad(str(error)) from error


def events(query: Mapping[str, str], now: datetime) -> EventFilter:
    """The filter of events. Raises Refused(400)."""
    try:
        return EventFilter(**_parts(query, EVENT_FIELDS, now))
    except BadFilter as error:
        raise _bad(str(error)) from error


def deliveries(query: Mapping[str, str], now: datetime) -> DeliveryFilter:
    """The filter of deliveries. Raises Refused(400)."""
    given = _parts(query, DELIVERY_FIELDS, now)
    if "status" in given:
        status = given["status"]
        if not (status.isascii() and status.isdigit() and len(status) == 3):
            raise _bad(f"status: expected a number from 100 to 599, got {text.cell(status)}")
        given["status"] = int(status)
    try:
        return DeliveryFilter(**given)
    except BadFilter as error:
        raise _bad(str(error)) from error


def cursor(query: Mapping[str, str]) -> ObjectId | None:
    """Behind which item the page begins. Raises Refused(400)."""
    if "cursor" not in query:
        return None
    try:
        return ObjectId(query["cursor"])
    except InvalidId:
        got = text.cell(query["cursor"])
        raise _bad(f"cursor: expected an id of 24 hexadecimal digits, got {got}") from None


def without_place(query: Mapping[str, str]) -> dict[str, str]:
    """The search itself: without where its page begins, and what was told once."""
    return {name: value for name, value in query.items() if name not in ONCE}


def anything(words: str) -> dict[str, str]:
    """What the one box for everything means: a state, a name with wildcards, or a part of an error."""
    if words in (*STATES, PARKED):
        return {"state": words}
    if _NAME.fullmatch(words) and not _ERROR.fullmatch(words):
        return {"name": words if "*" in words else f"*{words}*"}
    return {"error": literal(words)}


def _parts(query: Mapping[str, str], known: tuple[str, ...], now: datetime) -> dict[str, Any]:
    """The parameters that are parts of a filter; an unknown one, left unread, would widen what is meant."""
    unknown = sorted(query.keys() - {*known, *ONCE})
    if unknown:
        raise _bad(f"query: expected {', '.join(known)}, got {text.cell(unknown[0])}")
    given: dict[str, Any] = {name: query[name] for name in known if name in query}
    for name in _MOMENTS:
        if name in given:
            moment = moment_before(given[name], now)
            if moment is None:
                expected = "expected a duration like 90s or 3d, or a time like 2026-01-31T12:00:00Z"
                raise _bad(f"{name}: {expected}, got {text.cell(given[name])}")
            given[name] = moment
    return given


def _bad(sentence: str) -> Refused:
    return Refused(400, "bad_filter", sentence)
