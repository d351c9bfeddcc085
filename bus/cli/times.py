"""Times in options: a number of seconds, a duration like 90s, or an RFC 3339 time."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from .. import spoken_time
from ..errors import UsageError
from ..spoken_time import moment_of, seconds_of

_TIME: Final = "a time like 2026-01-31T12:00:00Z"


def seconds(option: str, text: str) -> float:
    """The seconds that *text* spells: ``90``, ``1.5``, ``90s`` or ``3d``. Raises UsageError."""
    if (found := seconds_of(text)) is None:
        raise UsageError(f"{option}: expected seconds or a duration like 90s or 3d, got {text!r}")
    return found


def seconds_until(option: str, text: str, now: datetime) -> float:
    """As `seconds`; a time counts from *now*, one that is past as 0. Raises UsageError."""
    if (found := seconds_of(text)) is not None:
        return found
    if (moment := moment_of(text)) is None:
        raise UsageError(f"{option}: expected seconds, a duration like 90s or 3d, or {_TIME}, got {text!r}")
    return max(0.0, (moment - now).total_seconds())


def moment_before(option: str, text: str, now: datetime) -> datetime:
    """The moment a duration before *now*, or the time that *text* is. Raises UsageError."""
    if (moment := spoken_time.moment_before(text, now)) is None:
        raise UsageError(f"{option}: expected a duration like 90s or 3d, or {_TIME}, got {text!r}")
    return moment
