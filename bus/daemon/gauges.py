"""Measures what stands in no counter, at the moment of a scrape."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import __version__
from ..clock import Clock
from ..engine.lanes import Lanes
from ..engine.recorder import Recorder
from ..maintenance.queue_depth import QueueDepth
from ..maintenance.store_monitor import StoreMonitor
from ..maintenance.unknown_tasks import UnknownTasks
from ..metrics import Counts
from .services import Services

if TYPE_CHECKING:
    from ..store import Spool

Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Gauges:
    """What each gauge shows now. Nothing here blocks or asks a store: loops have asked it before.

    *store_kind* is ``sqlite`` or ``mongodb``, *spool* None where there is none; *connections* gives how many
    are open, *is_ready* what `/readyz` says.
    """

    counts: Counts
    clock: Clock
    store_kind: str
    store_monitor: StoreMonitor
    spool: Spool | None
    services: Services
    queue_depth: QueueDepth
    unknown_tasks: UnknownTasks
    lanes: Lanes
    recorder: Recorder
    connections: Callable[[], int]
    is_ready: Callable[[], bool]
    started: float = field(default=0.0)

    def __call__(self) -> Mapping[str, Values]:
        """The values by metric and labels."""
        return {**self._daemon(), **self._tasks(), **self._slots(), **self._spool()}

    def _daemon(self) -> Mapping[str, Values]:
        failing = sum(one["state"] in ("dead", "failing") for one in self.services.describe())
        return {
            "monqbus_build_info": {(__version__, platform.python_version(), self.store_kind): 1},
            "monqbus_start_time_seconds": {(): self.started},
            "monqbus_ready": {(): self.is_ready()},
            "monqbus_services_failing": {(): failing},
            "monqbus_http_connections": {(): self.connections()},
            "monqbus_store_up": {(): self.store_monitor.complaint is None},
        }

    def _tasks(self) -> Mapping[str, Values]:
        waiting, names = self.unknown_tasks.waiting, self.counts.tasks
        ready: dict[tuple[str, ...], float] = {}
        for name, backlog in waiting.items():
            label = (names[name],)
            ready[label] = ready.get(label, 0) + backlog.depth
        oldest = min((one.oldest for one in waiting.values() if one.oldest is not None), default=None)
        age = (self.clock.now() - oldest).total_seconds() if oldest is not None else 0.0
        counted = self.queue_depth.ready
        return {
            "monqbus_tasks": {
                **({("ready",): counted} if counted is not None else {}),
                ("busy",): len(self.lanes.running),
            },
            "monqbus_ready_tasks": ready,
            "monqbus_oldest_ready_task_age_seconds": {(): max(0.0, age)},
            "monqbus_unrecorded_ends": {(): self.recorder.depth},
        }

    def _slots(self) -> Mapping[str, Values]:
        slots = self.lanes.slots
        return {
            "monqbus_slots": {(lane,): size for lane, (size, _) in slots.items()},
            "monqbus_slots_taken": {(lane,): taken for lane, (_, taken) in slots.items()},
        }

    def _spool(self) -> Mapping[str, Values]:
        return {} if self.spool is None else {"monqbus_spool_deliveries": {(): self.spool.size}}
