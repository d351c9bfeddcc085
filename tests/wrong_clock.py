"""A wall clock that is set while a daemon runs: wrong_clock.c, for processes started with it."""

from __future__ import annotations

import struct
from pathlib import Path

from tests import shims

SOURCE = Path(__file__).with_suffix(".c")


class WrongClock:
    """The wall clock of processes that are started with `environ`; at first it is right."""

    def __init__(self, folder: Path) -> None:
        self._skew = folder / "skew"
        self.set(0)
        self.environ = {"LD_PRELOAD": str(shims.compiled(SOURCE, folder)), "SKEW": str(self._skew)}

    def set(self, seconds: int) -> None:
        """Let it show what is *seconds* after the true time."""
        with self._skew.open("r+b" if self._skew.exists() else "wb") as file:  # the same file: it is mapped
            file.write(struct.pack("=q", seconds))
