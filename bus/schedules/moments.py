"""The moments of a schedule: a cron expression in its zone, every so often, or once.

All moments are aware UTC datetimes of whole seconds. `cronsim` reads expressions and walks daylight saving as
Debian's cron does (docs/decisions/0030): a fixed time that does not exist comes right after the gap, one that
exists twice comes the first time; where hour or minute is a wildcard, moments go by elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from ..clock import UTC

ALIASES: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS: Final = 5
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9990, 1, 1, tzinfo=UTC)
"""Nothing comes after it: the arithmetic of zones would leave Python's years."""


class Moments(Protocol):
    """When a schedule comes."""

    @property
    def text(self) -> str:
        """How it is written: two with the same text come at the same moments."""

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Every moment later than *moment*, in order; ends where none comes any more."""


def zone_of(name: str) -> tzinfo:
    """The zone of an IANA *name*. Blocks for its file once. Raises ValueError for one that is not there.

    UTC is there without any data: it is the default, and the executable finds its zones after it has begun.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError, a folder's name an OSError
        raise ValueError(name) from error
    except KeyError as error:
        raise ValueError(name) from error


@dataclass(frozen=True)
class Cron:
    """A cron *expression* of five fields, or one of ALIASES, in the time of *zone*. Raises ValueError."""

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse what is no expression; the error says which part."""
        zone_of(self.zone)
        self._walk(EPOCH)

    @property
    def text(self) -> str:
        """See Moments."""
        return f"cron {' '.join(self.expression.split())} {self.zone}"

    def after(self, moment: datetime) -> Iterator[datetime]:
        """See Moments."""
        last = moment
        for found in takewhile(lambda one: one < LAST, self._walk(moment)):
            at = found.astimezone(UTC)
            # the walk begins at a local time: in the hour that comes twice that may lie an hour before
            if at > last:
                last = at
                yield at

    def _walk(self, moment: datetime) -> CronSim:
        fields = ALIASES.get(self.expression.strip().lower(), self.expression).split()
        if len(fields) != FIELDS:
            raise ValueError(f"{len(fields)} fields")
        try:
            return CronSim(" ".join(fields), moment.astimezone(zone_of(self.zone)))
        except CronSimError as error:
            raise ValueError(str(error).lower()) from error


@dataclass(frozen=True)
class Every:
    """Every *seconds*, a whole number of at least 1, counted from *start*: by elapsed time."""

    seconds: int
    start: datetime = EPOCH

    @property
    def text(self) -> str:
        """See Moments."""
        start = "" if self.start == EPOCH else f" from {self.start.isoformat()}"
        return f"every {self.seconds}s{start}"

    def after(self, moment: datetime) -> Iterator[datetime]:
        """See Moments."""
        step = timedelta(seconds=self.seconds)
        at = self.start if moment < self.start else self.start + ((moment - self.start) // step + 1) * step
        while at < LAST:
            yield at
            at += step


@dataclass(frozen=True)
class At:
    """Once, at *moment*."""

    moment: datetime

    @property
    def text(self) -> str:
        """See Moments."""
        return f"at {self.moment.isoformat()}"

    def after(self, moment: datetime) -> Iterator[datetime]:
        """See Moments."""
        if self.moment > moment:
            yield self.moment


def next_moments(moments: Moments, after: datetime, count: int) -> list[datetime]:
    """The next *count* moments later than *after*; fewer when no more come."""
    return list(islice(moments.after(after), count))
