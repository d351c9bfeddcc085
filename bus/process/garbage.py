"""Keeps Python from looking for garbage while the program imports its own modules."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage in the block; afterwards as before.

    What modules make stays. The looks for garbage in it were a tenth of a daemon's start.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
