"""Cuts long work into slices between which the hub turns.

A greenlet that never waits keeps the hub: reading what has already arrived, parsing and computing do
not wait. What they cost is counted in steps of about 2 µs, never in seconds.
"""

from __future__ import annotations

from typing import Final

import gevent
from gevent.lock import BoundedSemaphore

STEPS_A_TURN: Final = 512
REQUEST_STEPS: Final = 64
BYTES_A_STEP: Final = 4096
# not 0, which would only go to the end of this turn's list; no longer, or it would wait for a millisecond
_NEXT_TURN_SECONDS: Final = 1e-9


class Queue:
    """Those whose work is of one kind and takes more than a turn: one of them goes on in each turn.

    A hundred slices of a hundred greenlets in one turn would be as bad as one long one. Each kind has a
    queue of its own: whoever is verified does not wait behind strangers.
    """

    def __init__(self) -> None:
        self._turn = BoundedSemaphore(1)

    def step_back(self) -> None:
        """Let the hub turn. Blocks for as many turns as there are others in this queue, and one."""
        with self._turn:
            gevent.sleep(_NEXT_TURN_SECONDS)


_READING: Final = Queue()


class Meter:
    """Counts what one greenlet does between two turns of the hub; beyond STEPS_A_TURN it steps back."""

    __slots__ = ("_loop", "_steps", "_turn")

    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop
        self._turn = -1
        self._steps = 0

    def spend(self, steps: int) -> None:
        """Note *steps* of work; blocks until the next turn when this one has had enough."""
        turn = self._loop.iteration
        if turn != self._turn:
            self._turn = turn
            self._steps = 0
        self._steps += steps
        if self._steps > STEPS_A_TURN:
            _READING.step_back()
