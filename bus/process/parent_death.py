"""Ends a child process when its parent dies (PR_SET_PDEATHSIG), and adopts orphans. Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36

_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Let the kernel send *number* to this process when *parent* is gone; ends it if that is so already.

    For a child right after its fork, or between fork and exec. The kernel forgets it when the process
    changes its user, so that comes first. It is about the parent's *thread* that forked.
    """
    tie(number)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)


def tie(number: int = signal.SIGKILL) -> None:
    """As `die_with`, for whoever looks after the parent's death in a way of its own."""
    _prctl(PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, in place of init; execve keeps it so."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}, {value}): {os.strerror(error)}")
