"""The values of a schedule's section: expressions, zones, moments, and arguments as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import available_timezones

from .. import rfc3339, strict_json
from ..schedules import ALIASES, Cron, zone_of
from ..spelling import nearest
from .value_types import Unfit, ValueType, duration, quoted

LONGEST_EVERY: Final = "3650d"


def _read_cron(text: str) -> str:
    """The expression as it is written; nothing is none."""
    if not text:
        return ""
    if text.lower() == "@reboot":
        raise Unfit(remedy="post a task when an app is imported, or let systemd run `monqbus post`")
    try:
        Cron(text)
    except ValueError as error:
        remedy = "for more than once a minute write every = 10s" if str(error) == "6 fields" else ""
        raise Unfit(f"{quoted(text)} ({error})", remedy=remedy) from None
    return text


def _read_zone(text: str) -> str:
    try:
        zone_of(text)
    except ValueError:
        near = nearest(text, sorted(available_timezones()))
        raise Unfit(remedy=f"did you mean {near}?" if near else "") from None
    return text


def _read_every(text: str) -> int:
    """Whole seconds; 0 for none."""
    if not text:
        return 0
    seconds = duration("1s", LONGEST_EVERY).read(text)
    if seconds != int(seconds):
        raise Unfit(expected="whole seconds")
    return int(seconds)


def _read_moment(text: str) -> datetime | None:
    """A time with or without its offset; None for none."""
    if not text:
        return None
    try:
        found = rfc3339.moment(text)
    except ValueError:
        raise Unfit from None
    if found.microsecond or found.year < 1970:
        raise Unfit(expected="a time of whole seconds since 1970")
    return found


def _read_array(text: str) -> tuple[Any, ...]:
    return tuple(_json(text, list))


def _read_object(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _json(text, dict)
    return found


def _json(text: str, kind: type[Any]) -> Any:
    try:
        found = strict_json.parse(text.encode())
    except strict_json.BadJson as error:
        raise Unfit(f"{quoted(text)} ({error})") from None
    if not isinstance(found, kind):
        raise Unfit
    return found


CRON: Final = ValueType(
    f"a cron expression of five fields (minute hour day month weekday), or one of {', '.join(ALIASES)}",
    "15 3 * * *",
    _read_cron,
)
ZONE: Final = ValueType(
    "the name of a time zone of the IANA database that this machine has", "Europe/Berlin", _read_zone
)
EVERY: Final = ValueType(
    f"a duration in whole seconds from 1s to {LONGEST_EVERY} (unit s, m, h or d)", "15m", _read_every
)
MOMENT: Final = ValueType("an RFC 3339 time", "2026-12-24T18:00:00", _read_moment)
ARRAY: Final = ValueType("a JSON array", '["eu", 7]', _read_array)
OBJECT: Final = ValueType("a JSON object", '{"dry_run": true}', _read_object)
