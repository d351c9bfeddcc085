"""The only source of time, ids and chance.

Moments are aware UTC datetimes with whole milliseconds, because that is what BSON keeps; durations
are float seconds. Nothing else in ``bus`` calls ``datetime.now``, ``time.time`` or ``random``.

The wall clock may be set at any moment. A daemon's stored moments come from a SteadyClock, which is
not: docs/decisions/0018 says how it follows the wall clock, and how slowly.
"""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from datetime import datetime, timedelta, timezone
from itertools import count
from time import CLOCK_BOOTTIME, clock_gettime

from bson import ObjectId

UTC = timezone.utc


class _IdMaker:
    """Makes ids as the driver does, in half the time: of the second, five bytes of its own, and a number.

    One belongs to the process *pid* alone: not every program that forks tells Python of it.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._own = os.urandom(5)
        # in the lower half: so that it does not begin anew at zero within a second
        self._numbers = count(int.from_bytes(os.urandom(3), "big") >> 1)  # which threads may share

    def make(self) -> ObjectId:
        """The next one."""
        number = next(self._numbers) & 0xFFFFFF
        return ObjectId(_SECOND(int(time.time()) & 0xFFFFFFFF) + self._own + _SECOND(number)[1:])


_SECOND = struct.Struct(">I").pack


def _be_another_maker() -> None:
    """After a fork: ids must not be those of the parent, whatever its threads were doing with the lock.

    The driver looks for another process id at each new id. Two threads of a child that do so at once may
    both see the answer before the new number is drawn, and a lock that another thread held stays locked.
    """
    ObjectId._inc_lock = threading.Lock()
    ObjectId._pid = 0
    ObjectId._random()


_ids = _IdMaker()
os.register_at_fork(after_in_child=_be_another_maker)


def whole_ms(moment: datetime) -> datetime:
    """*moment* without the microseconds that a BSON date cannot hold."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Clock:
    """Wall time, monotonic time, fresh ids and a random fraction."""

    def __init__(self) -> None:
        self._sleep = time.sleep  # as it is now: a handler that replaces it does not stop the daemon's

    def now(self) -> datetime:
        """For stored moments, never for measuring how long something took."""
        return self.wall()

    def wall(self) -> datetime:
        """What the machine's clock shows: for what others compare with theirs."""
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)

    def horizon(self) -> datetime:
        """What was to be kept until before this moment may be forgotten."""
        return self.now()

    def boottime(self) -> float:
        """Seconds since the machine was started, those in which it slept too; setting the clock leaves it."""
        return clock_gettime(CLOCK_BOOTTIME)

    def monotonic(self) -> float:
        """Seconds that only go forward: for durations and deadlines."""
        return time.monotonic()

    def new_id(self) -> ObjectId:
        """An id that no other process makes; ids of one process are in order of making."""
        global _ids  # noqa: PLW0603 - each process has one
        ids = _ids
        if ids.pid != os.getpid():
            ids = _ids = _IdMaker()  # two threads may do so at once, each with bytes of its own
        return ids.make()

    def sleep(self, seconds: float) -> None:
        """Block this greenlet or thread. For pollers that nobody wakes; loops wait on their event."""
        self._sleep(seconds)

    def chance(self) -> float:
        """A random fraction, 0.0 ≤ x < 1.0."""
        return random.random()  # noqa: S311 - jitter, not a secret


class FrozenClock(Clock):
    """A clock that moves only when told to: the twin for tests."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        super().__init__()
        self._now = start
        self._elapsed = 0.0

    def wall(self) -> datetime:
        """The moment it stands at."""
        return self._now

    def boottime(self) -> float:
        """As `monotonic`."""
        return self._elapsed

    def monotonic(self) -> float:
        """Seconds it was advanced by so far."""
        return self._elapsed

    def sleep(self, seconds: float) -> None:
        """Advance by *seconds* at once."""
        self.advance(seconds)

    def chance(self) -> float:
        """Always one half."""
        return 0.5

    def advance(self, seconds: float) -> None:
        """Move both the wall clock and the monotonic one forward by *seconds*."""
        self._now = whole_ms(self._now + timedelta(seconds=seconds))
        self._elapsed += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock, forward or back, without any time passing."""
        self._now = whole_ms(self._now + timedelta(seconds=seconds))
