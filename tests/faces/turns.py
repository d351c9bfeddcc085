"""How long the hub is held, counted in work: calls of functions between two of its turns."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import gevent


class Stretch:
    """*calls*: the most, of Python's and of C's functions, that were made between two turns."""

    def __init__(self) -> None:
        self.calls = 0
        self.turns = 0
        self._since = 0

    def turn(self) -> None:
        self.turns += 1
        self.calls = max(self.calls, self._since)
        self._since = 0

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        self._since += event in ("call", "c_call")


@contextmanager
def counted() -> Iterator[Stretch]:
    """Count meanwhile, in all greenlets of this thread."""
    stretch = Stretch()
    turn = gevent.get_hub().loop.check()
    turn.start(stretch.turn)
    sys.setprofile(stretch.profile)
    try:
        yield stretch
    finally:
        sys.setprofile(None)
        stretch.turn()
        turn.stop()
        turn.close()
