"""Answers /readyz: whether the daemon is ready, and why not, from the last state of its services."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import StoreUnavailable
from ..maintenance.pause_monitor import PauseMonitor
from ..maintenance.program_monitor import ProgramMonitor
from ..maintenance.queue_depth import QueueDepth
from ..maintenance.spooler import Spooler
from ..maintenance.store_monitor import StoreMonitor
from ..maintenance.watchdog import Watchdog
from .services import Services

Given = TypeVar("Given")
Got = TypeVar("Got")


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` and `monqbus doctor` say. Nothing here blocks or asks a store.

    *store_monitor* is the one of the store, *spooler* None where there is no spool, *closed_hooks* gives
    the reason of each by its name.
    """

    store_monitor: StoreMonitor
    spooler: Spooler | None
    services: Services
    queue_depth: QueueDepth
    watchdog: Watchdog
    program_monitor: ProgramMonitor
    pause_monitor: PauseMonitor
    is_stopping: Callable[[], bool]
    closed_hooks: Callable[[], Mapping[str, str]]

    def complaint(self) -> str | None:
        """Why no delivery should be sent here: a sentence, or None when all is well."""
        if self.is_stopping():
            return "draining: this daemon is stopping"
        return (
            self._store_complaint()
            or self.services.complaint
            or self.queue_depth.complaint
            or self.watchdog.complaint
        )

    def remark(self) -> str | None:
        """What is worth saying although deliveries may come."""
        spooler = self.spooler.remark if self.spooler is not None else None
        closed = [f"hook:{name} is closed: {fault}" for name, fault in self.closed_hooks().items()]
        remarks = (spooler, *closed, self.program_monitor.remark, self.pause_monitor.remark)
        return "; ".join(filter(None, remarks)) or None

    def describe(self) -> Mapping[str, Any]:
        """All of it, what is paused, and how every service is."""
        return {
            "reason": self.complaint(),
            "remark": self.remark(),
            "pauses": self.pause_monitor.describe(),
            "services": self.services.describe(),
        }

    def observed(self, publish: Callable[[Given], Got]) -> Callable[[Given], Got]:
        """*publish*, whose outcome is seen at once and not only when the store is asked again."""
        store_monitor, spooler = self.store_monitor, self.spooler

        def observe(given: Given) -> Got:
            try:
                got = publish(given)
            except StoreUnavailable as error:
                store_monitor.doubt(error)
                raise
            if store_monitor.complaint is not None and (spooler is None or not spooler.is_open):
                store_monitor.trust()
            return got

        return observe

    def _store_complaint(self) -> str | None:
        """The store's, unless the spool stands in for it."""
        if self.spooler is not None and self.spooler.is_open:
            return self.spooler.complaint
        return self.store_monitor.complaint
