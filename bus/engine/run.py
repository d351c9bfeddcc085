"""One run of one task: its greenlet, its timeout, its interrupts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
from gevent.event import Event

from ..apps.running_task import Note, RunningTask
from ..errors import Interrupt, TimedOut
from ..model import MonQTask, Report
from .output import Output

Progress = Callable[[Report], None]


class Run:
    """A claimed task in a slot. At most one Interrupt ever reaches its greenlet."""

    def __init__(self, task: MonQTask, started: float) -> None:
        self.task = task
        self.claim = task.claim
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


def running_task(run: Run, report: Progress) -> RunningTask:
    """`c.task` of a *run* in this process; *report* takes its progress and does not block."""

    def show(note: Note) -> None:
        run.task.progress = note
        report(Report(run.task.claim, {"progress": note}))

    return RunningTask(run.task, lambda: run.output.text() or "", show)
