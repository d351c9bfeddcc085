"""The circuit breaker of a task: when it opens, and what its pause says. Pure values, no I/O.

Open, it is a pause of the task's name with a `probe`: nobody claims the task, but one is tried each so many
seconds until one succeeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

KIND: Final = "failures"
"""Of the records that count them, one for each task that has failed lately."""
EXAMPLE: Final = "10 failures in 1m"
EXPECTED: Final = f"1 to 1000 failures in 1s to 1d, such as {EXAMPLE}"
MOST_FAILURES: Final = 1000
LONGEST_SECONDS: Final = 86_400.0
DEFAULT_PROBE: Final = 30.0
BY: Final = "open_after"

_TEXT: Final = re.compile(r"([0-9]{1,4}) failures? in ([0-9]{1,9})(s|m|h|d)")
_UNIT_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Threshold(NamedTuple):
    """It opens at so many *failures* within *seconds*."""

    failures: int
    seconds: float


def threshold_of(text: str) -> Threshold:
    """The threshold that *text* says. Raises ValueError with what was expected."""
    match = _TEXT.fullmatch(" ".join(text.split()))
    found = Threshold(int(match[1]), int(match[2]) * _UNIT_SECONDS[match[3]]) if match else Threshold(0, 0.0)
    if not 1 <= found.failures <= MOST_FAILURES or not 1 <= found.seconds <= LONGEST_SECONDS:
        raise ValueError(f"expected {EXPECTED}")
    return found


def counted(
    fields: Mapping[str, Any], new: Iterable[datetime], threshold: Threshold, now: datetime
) -> list[datetime]:
    """The moments of the failures that count at *now*: those in *fields* and the *new* ones."""
    known = fields.get("at")
    found = [one for one in known if isinstance(one, datetime)] if isinstance(known, list) else []
    window = timedelta(seconds=threshold.seconds)
    recent = sorted(one for one in (*found, *new) if now - window < one < now + window)
    return recent[-threshold.failures :]


def reason(text: str, error: str, probe: float) -> str:
    """Why the tasks wait, for whoever finds them waiting."""
    return f"{text}, the last one: {error or 'no reason'}; one is tried every {probe:g} s"
