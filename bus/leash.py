"""Ties a child process to its parent's life: whatever kills the parent, the child goes too. Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Final

_SET_PDEATHSIG: Final = 1  # prctl(2)
_LIBC: Final = ctypes.CDLL(None)


def leash() -> Callable[[], None]:
    """What a child of the calling process calls first, between fork and exec or right after fork.

    The kernel forgets the tie when the child changes its user, so it is called after that. It is
    made by the calling *thread*: a child lives no longer than the thread that forked it.
    """
    parent = os.getpid()

    def tie() -> None:
        _LIBC.prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call above
            os.kill(os.getpid(), signal.SIGKILL)

    return tie
