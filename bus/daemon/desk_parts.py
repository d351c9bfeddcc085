"""The desk of one daemon: its pages, and what they are told of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from ..access import Route
from ..access.audit import Audit
from ..admin import Admin
from ..apps import registry
from ..clock import Clock
from ..config import Config
from ..dashboard import SAMPLE_SECONDS, Desk, History, Live, Running, dashboard_routes
from ..engine.lanes import Lanes
from ..engine.loop import Loop
from ..maintenance.watchdog import Watchdog
from ..metrics import Counts
from ..operations import Operations
from .readiness import Readiness

if TYPE_CHECKING:
    from ..store import Store


class Shown(Protocol):
    """The parts of a daemon that its pages show and steer."""

    @property
    def admin(self) -> Admin:
        """What can be asked."""

    @property
    def operations(self) -> Operations:
        """What can be done."""

    @property
    def config(self) -> Config:
        """As it is now."""

    @property
    def clock(self) -> Clock:
        """The queue's time."""

    @property
    def store(self) -> Store:
        """Only of what kind it is."""

    @property
    def lanes(self) -> Lanes:
        """What runs."""

    @property
    def readiness(self) -> Readiness:
        """How it is."""

    @property
    def watchdog(self) -> Watchdog:
        """Who has held up the hub."""


class DeskParts:
    """The pages of *parts*; *counts* are counted anyway, for /metrics."""

    def __init__(self, parts: Shown, counts: Counts, audit: Audit, is_over: Callable[[], bool]) -> None:
        self._parts = parts
        self._audit = audit
        self._live = Live(parts.clock, is_over)
        self._started = parts.clock.now()
        self.history = History(counts, parts.clock)
        self.loop = Loop("history", self.history.tick, SAMPLE_SECONDS, parts.clock)

    def routes(self) -> list[Route]:
        """The routes of all pages."""
        return dashboard_routes(self._desk)

    @cached_property
    def _desk(self) -> Desk:
        parts = self._parts
        return Desk(
            admin=parts.admin,
            operations=parts.operations,
            audit=self._audit,
            registry=registry.registry,
            config=lambda: parts.config,
            clock=parts.clock,
            history=self.history,
            live=self._live,
            status=parts.readiness.describe,
            running=self._running,
            slots=lambda: parts.lanes.slots,
            hub_block=lambda: parts.watchdog.latest,
            is_shared=parts.store.shared,
            started=self._started,
        )

    def _running(self) -> Sequence[Running]:
        """What runs here now. Never blocks."""
        now = self._parts.clock.monotonic()
        return [
            Running(run.task, title, max(0.0, now - run.started), run.output.text)
            for title, run in self._parts.lanes.titled
        ]
