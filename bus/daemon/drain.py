"""Drains at the end: running tasks may finish until the deadline, ends are written, the rest goes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gevent.event import Event

from ..clock import Clock
from ..engine.lanes import Lanes
from ..engine.recorder import Recorder
from ..errors import Drained, StoreError
from ..model import Report, ready_again
from ..store.contract import Queue
from ..telemetry import emit

RECORD_SECONDS: Final = 5.0
DOORS_SECONDS: Final = 5.0
LEAVING_SECONDS: Final = 1.0
LAST_SECONDS: Final = 1.0
"""What connections get for their last answer although the drain time is over."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Stops the work of one daemon within its drain time.

    Deliveries are stored and answered until the ends are written; the next daemon runs them. *announce* lets
    every answer be its connection's last, *close_doors* stops the public listener, in at most so many
    seconds; *hurry* is set when nobody may wait any longer; *retire* lets all other loops but the recorder's
    end with their present tick.
    """

    lanes: Lanes
    recorder: Recorder
    retire: Callable[[], None]
    store: Queue
    clock: Clock
    hurry: Event
    announce: Callable[[], None]
    close_doors: Callable[[float], None]

    def run(self, seconds: float) -> None:
        """Claimer, running tasks for at most *seconds* while the lease lives on, their ends, then doors."""
        lanes, running, released = self.lanes, len(self.lanes.running), self.recorder.released
        emit(
            "daemon.draining",
            running=running,
            seconds_left=seconds,
            hint="a signal a second later stops at once",
        )
        lanes.stop_claiming()
        self.announce()
        deadline = self.clock.monotonic() + seconds
        lanes.stop()  # a claim that was under way may still have brought tasks
        while lanes.is_busy and not self.hurry.wait(0.01) and self.clock.monotonic() < deadline:
            pass
        self._interrupt()
        if self.recorder.loop.health.death is not None:
            self.recorder.loop.start()  # a handler has killed it; its ends are there
        recorded_by = self.clock.monotonic() + RECORD_SECONDS
        self.recorder.drain(RECORD_SECONDS)
        left = max(LAST_SECONDS, deadline - self.clock.monotonic())
        self.close_doors(min(left, DOORS_SECONDS))
        if any(run.interrupted is None for run in lanes.running):
            self._interrupt()  # begun by a delivery that was being stored when the signal came
        unrecorded = self._record_the_last(recorded_by - self.clock.monotonic())
        released = self.recorder.released - released
        if not unrecorded:  # else the store is away
            released += self._give_back_the_stubborn()
        finished = max(0, running - released - unrecorded)
        emit("daemon.stopped", finished=finished, released=released, unrecorded=unrecorded)

    def _interrupt(self) -> None:
        """End what runs; a handler that swallows it is left behind after a moment."""
        self.lanes.interrupt(None, Drained)
        self.lanes.drain(LEAVING_SECONDS)

    def _record_the_last(self, seconds: float) -> int:
        """Write the ends that wait; how many could not be written in *seconds* while the store was away."""
        self.retire()
        self.recorder.drain(seconds)
        self.recorder.loop.stop(LEAVING_SECONDS)
        return self.recorder.abandon()

    def _give_back_the_stubborn(self) -> int:
        """Release tasks whose handlers swallow every interrupt: they must not wait for a lease to end."""
        reports = [Report(run.task.claim, ready_again(run.task.attempt - 1)) for run in self.lanes.running]
        try:
            return sum(self.store.report(reports)) if reports else 0
        except StoreError as error:
            emit("store.failed", doing="releasing", waiting=len(reports), error=error)
            return 0
