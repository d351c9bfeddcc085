"""Measures what stands in no counter, at the moment of a scrape."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from .. import __version__
from ..apps import registry
from ..clock import Clock
from ..config import Config
from ..engine.lanes import Lanes
from ..engine.recorder import Recorder
from ..http import Server
from ..maintenance.queue_depth import QueueDepth
from ..maintenance.store_monitor import StoreMonitor
from ..maintenance.unknown_tasks import UnknownTasks
from ..metrics import Counts
from .readiness import Readiness
from .services import Services

if TYPE_CHECKING:
    from ..store import Spool, Store

Values = Mapping[tuple[str, ...], float]


class Measured(Protocol):
    """What is measured of the parts of a daemon. Each is there when a scrape can come."""

    @property
    def clock(self) -> Clock:
        """The queue's time."""

    @property
    def store(self) -> Store:
        """Only of what kind it is."""

    @property
    def store_monitor(self) -> StoreMonitor:
        """Whether it takes work."""

    @property
    def spool(self) -> Spool | None:
        """None where there is none."""

    @property
    def services(self) -> Services:
        """Which parts are late or dead."""

    @property
    def queue_depth(self) -> QueueDepth:
        """How much is ready."""

    @property
    def unknown_tasks(self) -> UnknownTasks:
        """What is ready by name, and since when."""

    @property
    def lanes(self) -> Lanes:
        """The slots."""

    @property
    def recorder(self) -> Recorder:
        """What is not recorded yet."""

    @property
    def public(self) -> Server:
        """How many are connected."""

    @property
    def readiness(self) -> Readiness:
        """What `/readyz` says."""


def counts_for(config: Callable[[], Config]) -> Counts | None:
    """What is counted in a daemon of *config*, which a reload changes; None where nobody can ask for it."""
    if not config().admin.listen:
        return None
    return Counts(
        tasks=lambda: registry.registry().tasks,
        hooks=lambda: config().hooks,
        schedules=lambda: registry.registry().schedules,
    )


class Gauges:
    """What each gauge shows now. Nothing here blocks or asks a store: loops of *parts* have asked it."""

    def __init__(self, parts: Measured, counts: Counts) -> None:
        self._parts = parts
        self._names = counts.tasks
        self._started = parts.clock.wall().timestamp()

    def __call__(self) -> Mapping[str, Values]:
        """The values by metric and labels."""
        return {**self._daemon(), **self._tasks(), **self._slots(), **self._spool()}

    def _daemon(self) -> Mapping[str, Values]:
        parts = self._parts
        kind = "mongodb" if parts.store.shared else "sqlite"
        failing = sum(one["state"] in ("dead", "failing") for one in self._parts.services.describe())
        return {
            "monqbus_build_info": {(__version__, platform.python_version(), kind): 1},
            "monqbus_start_time_seconds": {(): self._started},
            "monqbus_ready": {(): parts.readiness.complaint() is None},
            "monqbus_services_failing": {(): failing},
            "monqbus_http_connections": {(): len(parts.public.connections)},
            "monqbus_store_up": {(): self._parts.store_monitor.complaint is None},
        }

    def _tasks(self) -> Mapping[str, Values]:
        waiting, names = self._parts.unknown_tasks.waiting, self._names
        ready: dict[tuple[str, ...], float] = {}
        for name, backlog in waiting.items():
            label = (names[name],)
            ready[label] = ready.get(label, 0) + backlog.depth
        oldest = min((one.oldest for one in waiting.values() if one.oldest is not None), default=None)
        age = (self._parts.clock.now() - oldest).total_seconds() if oldest is not None else 0.0
        counted = self._parts.queue_depth.ready
        return {
            "monqbus_tasks": {
                **({("ready",): counted} if counted is not None else {}),
                ("busy",): len(self._parts.lanes.running),
            },
            "monqbus_ready_tasks": ready,
            "monqbus_oldest_ready_task_age_seconds": {(): max(0.0, age)},
            "monqbus_unrecorded_ends": {(): self._parts.recorder.depth},
        }

    def _slots(self) -> Mapping[str, Values]:
        slots = self._parts.lanes.slots
        return {
            "monqbus_slots": {(lane,): size for lane, (size, _) in slots.items()},
            "monqbus_slots_taken": {(lane,): taken for lane, (_, taken) in slots.items()},
        }

    def _spool(self) -> Mapping[str, Values]:
        return {} if self._parts.spool is None else {"monqbus_spool_deliveries": {(): self._parts.spool.size}}
