"""Tails the feed of a shared store and wakes the claimers. A hint only: nothing depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..engine.loop import Loop
from ..errors import StoreError
from ..store.contract import Heard, Queue
from ..telemetry import emit

AWAIT_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 5.0


class Listener:
    """One greenlet that blocks in `store.listen`; a lost feed means one full claim pass.

    *wake* is told which names of tasks a ring may be for.
    """

    def __init__(self, store: Queue, wake: Callable[[Callable[[str], bool]], None]) -> None:
        self.loop = Loop("listener", self.tick, AWAIT_SECONDS)
        self._store = store
        self._wake = wake
        self._pause = FIRST_PAUSE_SECONDS

    def tick(self) -> float:
        """Wait for one hint."""
        try:
            heard = self._store.listen(AWAIT_SECONDS)
        except StoreError as error:
            self.loop.health.fail(error)
            heard = Heard("lost")
        if heard.word == "quiet":
            return 0
        self._wake(heard.is_about)
        if heard.word == "rang":
            self._pause = FIRST_PAUSE_SECONDS
            return 0
        emit("feed.reopened", pause=self._pause)
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return pause
