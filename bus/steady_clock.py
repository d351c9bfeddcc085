"""The queue's time: a clock for stored moments that does not jump when the machine's clock is set.

It goes at the pace of the time since boot and is drawn towards the wall clock: never backwards, and
not at once where the wall clock has jumped ahead. What was due stays due, and a moment in which the
clock was wrong is written nowhere. See docs/decisions/0018.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from .clock import UTC, Clock

STEP_SECONDS: Final = 1.0
TRUSTED_SECONDS: Final = 10.0
DOUBT_SECONDS: Final = 600.0
SLOWEST_PACE: Final = 7 / 8
HORIZON_PACE: Final = 2.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Mark(NamedTuple):
    """Where the queue's time stood, for the next daemon. All in seconds, moments since 1970.

    *at* is the queue's time, *horizon* that of pruning, *wall* the wall clock's, and *boottime* the
    time since *boot* at that moment; *doubted_at* since when a jump ahead was doubted, or None.
    """

    at: float
    horizon: float
    wall: float
    boottime: float
    boot: str
    doubted_at: float | None = None


class Sight(NamedTuple):
    """What a look at the wall clock showed.

    *stepped*: by how many seconds it was set since the look before, 0 when it was not. *followed*: by
    how many the queue's time has now jumped ahead after it. *ahead*: how many the queue's time is
    ahead of the wall clock; negative behind.
    """

    stepped: float
    followed: float
    ahead: float


class SteadyClock(Clock):
    """The queue's time on the wall clock of *source*, going on from *mark* if there is one.

    *boot* names the present boot of the machine: under the same one it is known how long nobody
    looked. `look` has to be called once a second.
    """

    def __init__(self, source: Clock, mark: Mark | None, boot: str) -> None:
        super().__init__()
        self._source = source
        self._boottime = source.boottime
        self._boot = boot
        wall, boottime = _seconds(source.wall()), source.boottime()
        self._doubted_at: float | None = None
        self._wall_at_boot = wall - boottime
        self._looked_at = boottime
        at = self._horizon = wall
        if mark is not None and mark.boot == boot and mark.boottime <= boottime:
            at, self._horizon = mark.at + boottime - mark.boottime, mark.horizon
            self._wall_at_boot, self._looked_at = mark.wall - mark.boottime, mark.boottime
            self._doubted_at = mark.doubted_at
        elif mark is not None:
            at, self._horizon = max(wall, mark.at), mark.horizon
            self._wall_at_boot = at - boottime
        self._line = (boottime, at, at)

    def now(self) -> datetime:
        """The queue's time: it never goes back, and jumps ahead only in `look`."""
        return datetime.fromtimestamp(int(self._at(self._boottime()) * 1000) / 1000, UTC)

    def wall(self) -> datetime:
        """See Clock.wall."""
        return self._source.wall()

    def horizon(self) -> datetime:
        """Never later than `now` and `wall`; of a jump ahead it makes up an hour in an hour."""
        return datetime.fromtimestamp(int(self._horizon * 1000) / 1000, UTC)

    def boottime(self) -> float:
        """See Clock.boottime."""
        return self._source.boottime()

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return self._source.monotonic()

    @property
    def ahead(self) -> float:
        """How many seconds the queue's time is ahead of the wall clock; negative behind it."""
        return self._at(self._source.boottime()) - _seconds(self._source.wall())

    def settle(self) -> None:
        """Go back to the wall clock at once: only while nothing waits by the queue's time."""
        wall = _seconds(self._source.wall())
        self._line = (self._source.boottime(), wall, wall)

    def look(self) -> Sight:
        """Compare with the wall clock, and go on from here: slower where it is ahead."""
        wall, boottime = _seconds(self._source.wall()), self._source.boottime()
        at = self._at(boottime)
        step = wall - boottime - self._wall_at_boot
        self._wall_at_boot = wall - boottime
        stepped = step if abs(step) >= STEP_SECONDS else 0.0
        followed = self._followed(wall - at, boottime, is_news=stepped != 0)
        if followed or 0 <= wall - at <= TRUSTED_SECONDS:
            at = wall
        self._line = (boottime, at, min(at, wall))
        made_up = self._horizon + HORIZON_PACE * (boottime - self._looked_at)
        self._horizon = min(made_up, at, wall)
        self._looked_at = boottime
        return Sight(stepped, followed, at - wall)

    def mark(self) -> Mark:
        """What the next daemon has to know, as of now."""
        boottime, wall = self._source.boottime(), _seconds(self._source.wall())
        return Mark(self._at(boottime), self._horizon, wall, boottime, self._boot, self._doubted_at)

    def _at(self, boottime: float) -> float:
        since, at, floor = self._line  # floor: where the wall clock was, if that was behind
        passed = boottime - since
        return at + passed if at == floor else max(at + passed * SLOWEST_PACE, floor + passed)

    def _followed(self, behind: float, boottime: float, *, is_news: bool) -> float:
        """How far to jump after a wall clock that is ahead: 0 unless it has been so for long enough."""
        if behind <= TRUSTED_SECONDS:
            self._doubted_at = None
            return 0.0
        if self._doubted_at is None or is_news:
            self._doubted_at = boottime
        if boottime - self._doubted_at < DOUBT_SECONDS:
            return 0.0
        self._doubted_at = None
        return behind


class LazySteadyClock(SteadyClock):
    """The same for a process that has nobody to look once a second: it looks when it is asked."""

    def now(self) -> datetime:
        """See SteadyClock.now."""
        if self._source.boottime() - self._line[0] >= STEP_SECONDS:
            self.look()
        return super().now()


def _seconds(moment: datetime) -> float:
    return (moment - _EPOCH) / timedelta(seconds=1)
