"""Which connection is closed when all places are taken: the one that has shown least for longest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from enum import IntEnum
from heapq import nsmallest
from typing import Final, Generic, Protocol, TypeVar

SMALLEST_LIST: Final = 16


class Stage(IntEnum):
    """Where a connection stands. The lower one gives way first, `WORKING` never."""

    LEAVING = 0
    """It has its last answer and is read for a moment longer."""
    SILENT = 1
    """It has not sent one whole head yet."""
    IDLE = 2
    """It has had an answer; the next request is not there, or not whole."""
    ARRIVING = 3
    """Its body is on its way; only while that comes slowly."""
    SENDING = 4
    """It does not take its answer."""
    WORKING = 5
    """Its request is being answered: something of a client's would be lost."""


GRACE_SECONDS: Final = {Stage.LEAVING: -1.0, Stage.SILENT: 0.05, Stage.IDLE: 0.5, Stage.SENDING: 1.0}
"""How long one may stand there before it costs the place.

Whoever had to wait for a place has sent its request meanwhile, and so 1,000 silent ones at 128 places
cost the next one a third of a second. Who is idle may just be sending.
"""


class Place(Protocol):
    """What a connection shows of itself: its `stage`, `since` when, and *who* it is counted for."""

    stage: Stage
    since: float
    who: str

    def may_give_way(self, now: float) -> bool:
        """Whether it may be closed for another one at *now*."""


Connection = TypeVar("Connection", bound=Place)


class Connections(Generic[Connection]):
    """Finds those of *connections* that give way. *connection_quota* says how many one address has.

    Among those at one stage the address with most connections is first, then who stands there longest.
    A look at all of them serves for many: what it found is kept as long as it is true.
    """

    def __init__(self, connections: Collection[Connection], connection_quota: Callable[[str], int]) -> None:
        self._connections = connections
        self._connection_quota = connection_quota
        self._found: deque[tuple[Connection, Stage, float]] = deque()

    def weakest(self, now: float) -> Connection | None:
        """Who gives way at *now*, None when nobody may be asked to. Never blocks."""
        return self._next() or (self._next() if self._look(now) else None)

    def _next(self) -> Connection | None:
        while self._found:
            connection, stage, since = self._found.popleft()
            if connection in self._connections and (connection.stage, connection.since) == (stage, since):
                return connection
        return None

    def _look(self, now: float) -> bool:
        ranked = nsmallest(
            SMALLEST_LIST + len(self._connections) // 16,
            (
                (one.stage, -self._connection_quota(one.who), one.since, number, one)
                for number, one in enumerate(self._connections)
                if one.may_give_way(now)
            ),
        )
        self._found.extend((one, stage, since) for stage, _, since, _, one in ranked)
        return bool(self._found)
