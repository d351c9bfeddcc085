"""Moments as RFC 3339 writes them, in options, in the configuration and in requests to the API."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Final

_MOMENT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)


def moment(text: str) -> datetime:
    """The moment that *text* is; one without an offset is naive. Raises ValueError.

    Seconds, the time of the day and the offset may be left out, fractions are cut to microseconds. What else
    `datetime.fromisoformat` takes, weeks or a date without dashes, depends on the version of Python.
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an RFC 3339 time, got {text!r:.40}")
    date, minute, second, fraction, offset = match.groups()
    zone = "+00:00" if offset in ("Z", "z") else offset or ""
    digits = f"{fraction or '':0<6}"[:6]
    return datetime.fromisoformat(f"{date}T{minute or '00:00'}{second or ':00'}.{digits}{zone}")


def moment_in_utc(text: str) -> datetime:
    """As `moment`, aware: without an offset it is of UTC. Raises ValueError."""
    found = moment(text)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
