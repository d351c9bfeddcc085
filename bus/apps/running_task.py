"""`c.task`: what a handler may know and say about its own run, in the daemon and in a worker alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..model import MonQTask
from ..safe_text import without_surrogates

LONGEST_TEXT: Final = 200

Note = dict[str, Any]


class RunningTask:
    """A *task* that runs. *log* gives what its run has printed so far, *show* takes its progress."""

    def __init__(self, task: MonQTask, log: Callable[[], str], show: Callable[[Note], None]) -> None:
        self._task = task
        self._log = log
        self._show = show

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    @property
    def log(self) -> str:
        """What this run has printed and logged so far."""
        return self._log()

    def progress(self, fraction: float, text: str = "") -> None:
        """Show how far this run is: *fraction* 0.0 to 1.0 and a short text. Does not wait for the store."""
        within = max(0.0, min(1.0, float(fraction)))
        self._show({"fraction": within, "text": without_surrogates(str(text)[:LONGEST_TEXT])})
