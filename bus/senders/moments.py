"""The times that senders sign, as each writes them. Pure.

One form of each is taken: what another program could read differently is no time.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

from .sender import Unit

_WHOLE = re.compile(r"[0-9]{1,15}")
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_HTTP = re.compile(
    r"[A-Z][a-z]{2},? ([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) (?:GMT|UTC)"
)
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAYS: Final = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def seconds(text: str, unit: Unit) -> float | None:
    """The time *text* in Unix seconds; None when it is not written as *unit* says."""
    if unit in ("s", "ms"):
        if not _WHOLE.fullmatch(text):
            return None
        return int(text) / (1000 if unit == "ms" else 1)
    try:
        return _rfc3339(text) if unit == "rfc3339" else _http(text)
    except (ValueError, OverflowError):  # the 31st of February, the year 0
        return None


def written(moment: float, unit: Unit) -> str:
    """*moment*, in Unix seconds, as *unit* says."""
    if unit in ("s", "ms"):
        return str(int(moment * 1000) if unit == "ms" else int(moment))
    time = _EPOCH + timedelta(seconds=int(moment))
    if unit == "rfc3339":
        return time.strftime("%Y-%m-%dT%H:%M:%SZ")
    # not %a and %b: they speak the language of the machine
    day, month = _DAYS[time.weekday()], _MONTHS[time.month - 1]
    return f"{day}, {time.day:02} {month} {time.year} {time:%H:%M:%S} GMT"


def _rfc3339(text: str) -> float | None:
    match = _RFC3339.fullmatch(text)
    if not match:
        return None
    time, fraction, zone = match.groups()
    whole = datetime.fromisoformat(time.upper() + ("+00:00" if zone in "Zz" else zone))
    return (whole - _EPOCH).total_seconds() + float(f"0.{fraction or 0}")


def _http(text: str) -> float | None:
    match = _HTTP.fullmatch(text)
    if not match or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    time = datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, second, tzinfo=timezone.utc)
    return (time - _EPOCH).total_seconds()
