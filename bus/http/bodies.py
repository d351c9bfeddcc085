"""How much memory the bodies of all requests take together, and who makes room when it is full."""

from __future__ import annotations

from typing import Final

from ..clock import Clock
from ..errors import Refused
from . import problem
from .wire import Wire

SLOW_BYTES_PER_SECOND: Final = 32 * 1024
GRACE_SECONDS: Final = 1.0

_CLOCK = Clock()


class Bodies:
    """At most *most* bytes, set aside before they are read and given back after the answer.

    Who announces much and sends little would keep the room from everybody: while it is full, bodies
    that come slower than SLOW_BYTES_PER_SECOND are given up, and only then a new one is refused.
    Without need nobody is hurried: until then the deadline of a body is enough.
    """

    def __init__(self, most: int) -> None:
        self.used = 0
        self._most = most
        self._arriving: dict[Share, None] = {}

    def share(self, wire: Wire) -> Share:
        """What one request, read from *wire*, takes of it: nothing yet."""
        return Share(self, wire)

    def take(self, share: Share, count: int) -> None:
        """Set *count* bytes aside for *share*. Never blocks; raises Refused(503) when there is no room."""
        missing = self.used + count - self._most
        if missing > 0:
            missing -= self._give_up_the_slow(share, missing)
        if missing > 0:
            detail = "body: no memory is free for it, send it again"
            raise Refused(503, "bodies_full", detail, problem.retry_after(_CLOCK))
        self._arriving[share] = None
        self.used += count
        share.size += count

    def arrived(self, share: Share) -> None:
        """*share* is complete: it stays as it is until it is given back."""
        self._arriving.pop(share, None)

    def give_back(self, share: Share) -> None:
        """What *share* took is free again."""
        self.arrived(share)
        self.used -= share.size
        share.size = 0

    def _give_up_the_slow(self, newcomer: Share, missing: int) -> int:
        """Hang up on slow senders until *missing* bytes are free; how many that made."""
        now, freed = _CLOCK.monotonic(), 0
        for share in [one for one in self._arriving if one is not newcomer and one.is_slow(now)]:
            if freed >= missing:
                break
            freed += share.size
            share.give_up()
        return freed


class Share:
    """What one request's body takes of the room, and how fast it comes."""

    __slots__ = ("_bodies", "_came", "_since", "_wire", "size")

    def __init__(self, bodies: Bodies, wire: Wire) -> None:
        self.size = 0
        self._bodies = bodies
        self._wire = wire
        self._came = 0
        self._since = _CLOCK.monotonic()

    def take(self, count: int) -> None:
        """See Bodies.take."""
        self._bodies.take(self, count)

    def came(self, count: int) -> None:
        """*count* more bytes have been read."""
        self._came += count

    def is_slow(self, now: float) -> bool:
        """Whether what came until *now* came at a rate that may cost it its place."""
        seconds = now - self._since
        return seconds > GRACE_SECONDS and self._came < seconds * SLOW_BYTES_PER_SECOND

    def give_up(self) -> None:
        """Give everything back and tell the reader, who answers 503."""
        self.give_back()
        detail = "body: came slowly while memory was short, send it again"
        self._wire.hang_up(Refused(503, "bodies_full", detail, problem.retry_after(_CLOCK)))

    def arrived(self) -> None:
        """See Bodies.arrived."""
        self._bodies.arrived(self)

    def give_back(self) -> None:
        """See Bodies.give_back; doing it twice is once."""
        self._bodies.give_back(self)
