"""Raises interrupts (timeout, cancel, drain) in a worker's handler only where they may land.

The daemon's interrupts come as signals, the timeout from this process's own timer. Python runs a
signal's handler between two instructions of the main thread, so one could land amid our own code.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import Final

from ..errors import Drained, Interrupt, Superseded, TimedOut, Withdrawn

INTERRUPTS: Final[Mapping[int, type[Interrupt]]] = {
    signal.SIGALRM: TimedOut,
    signal.SIGRTMIN + 1: Withdrawn,
    signal.SIGRTMIN + 2: Drained,
    signal.SIGRTMIN + 3: Superseded,
}
NUMBER_OF: Final[Mapping[type[Interrupt], int]] = {kind: number for number, kind in INTERRUPTS.items()}


class Interrupts:
    """Open while a handler runs. At most one Interrupt passes for each opening; the main thread's own."""

    def __init__(self) -> None:
        self.thrown: Interrupt | None = None
        self._is_open = False
        self._is_pending = False
        self._shields = 0
        self._main = get_ident()

    def guard(self) -> None:
        """Take over the signals, whatever the last handler has made of them. For the main thread only."""
        for number in INTERRUPTS:
            signal.signal(number, self._arrived)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)

    def open(self, seconds: float | None) -> None:
        """Let interrupts pass; TimedOut comes after *seconds*, None for never."""
        self.thrown, self._is_pending = None, False
        self._is_open = True
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def close(self) -> None:
        """Hold back every interrupt from now on."""
        self._is_open = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold an Interrupt back until the end of the block: what happens in it must not be cut in two."""
        if get_ident() != self._main:
            yield  # signals are handled in the main thread only
            return
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self._is_pending and not self._shields:
            self._is_pending = False
            raise self.thrown or Interrupt()

    def _arrived(self, number: int, _: FrameType | None) -> None:
        if not self._is_open or self.thrown is not None:
            return
        self.thrown = INTERRUPTS[number]()
        if self._shields:
            self._is_pending = True
        else:
            raise self.thrown
