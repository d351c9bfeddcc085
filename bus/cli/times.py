"""Times in options: a number of seconds, a duration like 90s, or an RFC 3339 time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from ..errors import UsageError
from ..rfc3339 import moment_in_utc

LONGEST_DAYS: Final = 36_500

_UNIT_SECONDS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|w|)")
_TIME = "a time like 2026-01-31T12:00:00Z"


def seconds(option: str, text: str) -> float:
    """The seconds that *text* spells: ``90``, ``1.5``, ``90s`` or ``3d``. Raises UsageError."""
    if (found := _seconds(text)) is None:
        raise UsageError(f"{option}: expected seconds or a duration like 90s or 3d, got {text!r}")
    return found


def seconds_until(option: str, text: str, now: datetime) -> float:
    """As `seconds`; a time counts from *now*, one that is past as 0. Raises UsageError."""
    if (found := _seconds(text)) is not None:
        return found
    if (moment := _moment(text)) is None:
        raise UsageError(f"{option}: expected seconds, a duration like 90s or 3d, or {_TIME}, got {text!r}")
    return max(0.0, (moment - now).total_seconds())


def moment_before(option: str, text: str, now: datetime) -> datetime:
    """The moment a duration before *now*, or the time that *text* is. Raises UsageError."""
    found = _seconds(text) if text[-1:].isalpha() else None
    if found is not None:
        return now - timedelta(seconds=found)
    if (moment := _moment(text)) is None:
        raise UsageError(f"{option}: expected a duration like 90s or 3d, or {_TIME}, got {text!r}")
    return moment


def _seconds(text: str) -> float | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    found = float(match[1]) * _UNIT_SECONDS[match[2]]
    return found if found <= LONGEST_DAYS * 86_400 else None


def _moment(text: str) -> datetime | None:
    try:
        return moment_in_utc(text)
    except ValueError:
        return None
