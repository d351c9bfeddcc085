"""One run of one task: its greenlet, its timeout, its interrupts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent.event import Event

from ..errors import Interrupt, TimedOut
from ..model import MonQTask, Report
from .output import Output

Progress = Callable[[Report], None]


class Run:
    """A claimed task in a slot. At most one Interrupt ever reaches its greenlet."""

    def __init__(self, task: MonQTask, started: float) -> None:
        self.task = task
        self.started = started
        self.output = Output(task)
        self.interrupted: Interrupt | None = None
        self.is_over = False
        self.left = Event()
        """Set when the slot is free again: the handler's code runs no more."""
        self.slot: gevent.Greenlet | None = None
        """What the pool has begun for it."""
        self._greenlet: gevent.Greenlet | None = None

    def enter(self) -> None:
        """Called by the greenlet that runs the task, before anything else."""
        self._greenlet = gevent.getcurrent()

    def interrupt(self, reason: Interrupt) -> None:
        """Throw *reason* into the handler, unless it is over or was interrupted before."""
        if self.interrupted is not None or self.is_over:
            return
        self.interrupted = reason
        if self._greenlet is not None:  # else it has not begun, and will look before it does
            self._greenlet.kill(reason, block=False)

    @contextmanager
    def limited_to(self, seconds: float) -> Iterator[None]:
        """Interrupt with TimedOut after *seconds*."""
        timer = gevent.get_hub().loop.timer(seconds)
        timer.start(self.interrupt, TimedOut())
        try:
            yield
        finally:
            timer.stop()
            timer.close()


class RunningTask:
    """`c.task`: what a handler may know and say about its own run."""

    def __init__(self, run: Run, report: Progress) -> None:
        self._run = run
        self._report = report

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run.task, name)

    @property
    def log(self) -> str:
        """What this run has printed and logged so far."""
        return self._run.output.text() or ""

    def progress(self, fraction: float, text: str = "") -> None:
        """Show how far this run is: *fraction* 0.0 to 1.0 and a short text. Does not block."""
        note = {
            "fraction": max(0.0, min(1.0, float(fraction))),
            "text": str(text)[:200].encode("utf-8", "backslashreplace").decode(),
        }
        self._run.task.progress = note
        self._report(Report(self._run.task.claim, {"progress": note}))
