"""Which ticks of a schedule are to be stored now, and which have been missed."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Final, NamedTuple

from .schedule import Schedule

MOST_TICKS: Final = 1000
"""Of one look: more come at the next one."""
FIRST_WINDOW: Final = timedelta(minutes=1)


class Due(NamedTuple):
    """*ticks* are to be stored, in order; then everything up to *seen* is decided, and *next* comes after it.

    *late* of them, the first ones, come later than the schedule's `lateness`. *dropped* is how many were
    missed and are left out, counted up to MOST_TICKS.
    """

    ticks: list[datetime]
    seen: datetime
    next: datetime | None
    late: int = 0
    dropped: int = 0


def due(schedule: Schedule, seen: datetime, now: datetime) -> Due:
    """What is due at *now* of a schedule of which everything up to *seen* is decided.

    A tick is missed when it is found later than `lateness`. Of those that are not older than `missed_within`,
    `skip` stores none, `once` the last one, `all` each. A clock that was set back decides nothing again.
    """
    if now <= seen:
        return Due([], seen, _next(schedule, seen))
    on_time_after = max(seen, now - timedelta(seconds=schedule.lateness))
    late = _missed(schedule, max(seen, now - timedelta(seconds=schedule.missed_within)), on_time_after)
    ticks = late + _between(schedule, on_time_after, now, MOST_TICKS + 1)
    if len(ticks) > MOST_TICKS:
        ticks = ticks[:MOST_TICKS]
        decided = ticks[-1]
    else:
        decided = now
    late_count = sum(tick <= on_time_after for tick in ticks)
    missed = len(_between(schedule, seen, min(on_time_after, decided), MOST_TICKS + late_count))
    return Due(ticks, decided, _next(schedule, decided), late_count, missed - late_count)


def _missed(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    """Those between *after* and *until* that are stored although they come late."""
    if schedule.missed == "all":
        return _between(schedule, after, until, MOST_TICKS + 1)
    return _last(schedule, after, until) if schedule.missed == "once" else []


def _last(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    """The last moment between *after* and *until*, if there is one.

    From the end in growing windows: after a year away, a schedule of each second has missed 31 million.
    """
    window = FIRST_WINDOW
    while after < until:
        found = _between(schedule, max(after, until - window), until)
        if found or until - window <= after:
            return found[-1:]
        window *= 2
    return []


def _between(schedule: Schedule, after: datetime, until: datetime, most: int | None = None) -> list[datetime]:
    """The first *most* moments later than *after* and not later than *until*."""
    return list(islice(takewhile(lambda moment: moment <= until, schedule.moments.after(after)), most))


def _next(schedule: Schedule, after: datetime) -> datetime | None:
    return next(schedule.moments.after(after), None)
