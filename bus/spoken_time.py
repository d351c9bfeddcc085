"""Times as people write them: a number of seconds, a duration like 90s, or an RFC 3339 time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from .rfc3339 import moment_in_utc

LONGEST_DAYS: Final = 36_500

_UNIT_SECONDS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|w|)")


def seconds_of(text: str) -> float | None:
    """The seconds that *text* spells: ``90``, ``1.5``, ``90s`` or ``3d``; None for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    found = float(match[1]) * _UNIT_SECONDS[match[2]]
    return found if found <= LONGEST_DAYS * 86_400 else None


def moment_of(text: str) -> datetime | None:
    """The RFC 3339 time that *text* is, in UTC where it names no zone; None for anything else."""
    try:
        return moment_in_utc(text)
    except ValueError:
        return None


def moment_before(text: str, now: datetime) -> datetime | None:
    """The moment a duration with its unit before *now*, or the time that *text* is; None for neither."""
    found = seconds_of(text) if text[-1:].isalpha() else None
    return now - timedelta(seconds=found) if found is not None else moment_of(text)
