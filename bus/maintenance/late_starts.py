"""Tells of scheduled tasks that were stored in time and begin late, with the reason that is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from ..apps.registry import Registry
from ..clock import UTC, Clock
from ..model import MonQTask
from ..schedules import Schedule
from ..telemetry import emit

IT_WAS_PAUSED: Final = "it was paused"
UNKNOWN: Final = "it waited for a daemon that runs it; this one had slots free"


class Slots(Protocol):
    """What Lanes says of the slots for a name."""

    def crowd(self, name: str, since: datetime) -> str:
        """Why a task of *name* had to wait for a slot after *since*; "" when it had not."""


class LateStarts:
    """*was_paused* says whether a task of this name was paused since a moment."""

    def __init__(
        self,
        registry: Callable[[], Registry],
        clock: Clock,
        slots: Callable[[], Slots],
        was_paused: Callable[[str, datetime], bool],
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._slots = slots
        self._was_paused = was_paused

    def note(self, task: MonQTask) -> None:
        """A task that a schedule has posted begins. Never blocks."""
        moment, due = task.scheduled_for, task.time_queue
        if moment is None or task.attempt > 1 or (schedule := self._schedule_of(task)) is None:
            return
        lateness, late = timedelta(seconds=schedule.lateness), self._clock.now() - due
        stored = task.id.generation_time.astimezone(UTC)
        if late <= lateness or stored > moment + lateness:  # the second one was told when it was stored
            return
        was_paused = self._was_paused(task.task_name, due)
        reason = IT_WAS_PAUSED if was_paused else self._slots().crowd(task.task_name, due)
        emit(
            "schedule.late",
            schedule=schedule.name,
            count=1,
            scheduled_for=moment,
            late_seconds=round(late.total_seconds(), 1),
            reason=reason or UNKNOWN,
        )

    def _schedule_of(self, task: MonQTask) -> Schedule | None:
        schedules = self._registry().schedules.values()
        return next((one for one in schedules if one.event_topic == task.topic), None)
