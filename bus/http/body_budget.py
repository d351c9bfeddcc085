"""Bounds the memory that all request bodies take together."""

from __future__ import annotations

from collections import Counter
from typing import Final

from ..clock import Clock
from ..errors import Refused
from . import problem
from .deadline_reader import DeadlineReader

SLOW_BYTES_PER_SECOND: Final = 32 * 1024
GRACE_SECONDS: Final = 1.0
SMALL_BYTES: Final = 64 * 1024
"""A body up to this size may use the last eighth of the room, which larger ones leave free."""

_CLOCK = Clock()


class BodyBudget:
    """At most *most* bytes, set aside before they are read and given back after the answer.

    One address has at most *each* of them; "" is who is not counted. Who announces much and sends
    little would keep the room from everybody: while it is full, bodies that come slower than
    SLOW_BYTES_PER_SECOND are given up, and only then a new one is refused. Without need nobody is
    hurried: until then the deadline of a body is enough.
    """

    def __init__(self, most: int, each: int) -> None:
        self.used = 0
        self._most = most
        self._each = each
        self._most_large = max(most - most // 8, min(each, most))
        self._used_by: Counter[str] = Counter()
        self._arriving: dict[Share, None] = {}

    def share(self, reader: DeadlineReader, who: str = "") -> Share:
        """What one request of *who*, read from *wire*, takes of it: nothing yet."""
        return Share(self, reader, who)

    def take(self, share: Share, count: int) -> None:
        """Set *count* bytes aside for *share*. Never blocks; raises Refused(503) when there is no room."""
        who = share.who
        if who and self._used_by[who] + count > self._each:
            self._give_up_the_slow(share, self._used_by[who] + count - self._each, who)
            if self._used_by[who] + count > self._each:
                raise _refused("this address has all the memory that it may have")
        most = self._most if share.size + count <= SMALL_BYTES else self._most_large
        if self.used + count > most:
            self._give_up_the_slow(share, self.used + count - most)
            if self.used + count > most:
                raise _refused("no memory is free for it")
        self._arriving[share] = None
        self._add(share, count)

    def take_inflated(self, share: Share, count: int) -> None:
        """Set *count* bytes aside for what the body of *share*, which is there, has in it. As `take`.

        Its address is not asked: whoever may send a body may send it compressed.
        """
        missing = self.used + count - self._most_large
        if missing > 0:
            self._give_up_the_slow(share, missing)
            if self.used + count > self._most_large:
                raise _refused("no memory is free to inflate it")
        self.used += count
        share.inflated += count

    def arrived(self, share: Share) -> None:
        """*share* is complete: it stays as it is until it is given back."""
        self._arriving.pop(share, None)

    def give_back(self, share: Share) -> None:
        """What *share* took is free again."""
        self.arrived(share)
        self._add(share, -share.size)
        self.used -= share.inflated
        share.inflated = 0

    def _add(self, share: Share, count: int) -> None:
        self.used += count
        share.size += count
        if share.who and count:
            self._used_by[share.who] += count
            if not self._used_by[share.who]:
                del self._used_by[share.who]

    def _give_up_the_slow(self, newcomer: Share, missing: int, who: str = "") -> None:
        """Hang up on slow senders, of *who* or of all, until *missing* bytes are free or none is left."""
        now = _CLOCK.monotonic()
        for share in [one for one in self._arriving if one is not newcomer and one.is_slow(now)]:
            if missing <= 0:
                return
            if who in ("", share.who):
                missing -= share.size
                share.give_up()


class Share:
    """What one request's body takes of the room, and how fast it comes."""

    __slots__ = ("_bodies", "_from", "_reader", "_since", "inflated", "size", "who")

    def __init__(self, bodies: BodyBudget, reader: DeadlineReader, who: str) -> None:
        self.size = 0
        self.inflated = 0
        self.who = who
        self._bodies = bodies
        self._reader = reader
        self._from = reader.received
        self._since = _CLOCK.monotonic()

    def take(self, count: int) -> None:
        """See BodyBudget.take."""
        self._bodies.take(self, count)

    def take_inflated(self, count: int) -> None:
        """See BodyBudget.take_inflated."""
        self._bodies.take_inflated(self, count)

    def is_slow(self, now: float) -> bool:
        """Whether what came until *now* came at a rate that may cost it its place."""
        seconds = now - self._since
        came = self._reader.received - self._from
        return seconds > GRACE_SECONDS and came < seconds * SLOW_BYTES_PER_SECOND

    def give_up(self) -> None:
        """Give everything back and tell the reader, who answers 503."""
        self.give_back()
        self._reader.hang_up(_refused("it came slowly while memory was short"))

    def arrived(self) -> None:
        """See BodyBudget.arrived."""
        self._bodies.arrived(self)

    def give_back(self) -> None:
        """See BodyBudget.give_back; doing it twice is once."""
        self._bodies.give_back(self)


def _refused(why: str) -> Refused:
    return Refused(503, "bodies_full", f"body: {why}, send it again", problem.retry_after(_CLOCK))
