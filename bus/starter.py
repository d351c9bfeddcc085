"""What posting asks of the engine: slots in which a task begins at once, and a spool for deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .errors import StoreUnavailable
from .model import Instance, MonQTask, Posting, Receipt


class Reserved(Protocol):
    """Slots that were set aside for tasks before they are stored."""

    def start(self, stored: Sequence[MonQTask]) -> None:
        """Run those of the tasks that were *stored*, as busy; the other slots are free again."""

    def doubt(self) -> None:
        """The tasks may or may not be stored as busy: release them once the store answers again."""


class Starter(Protocol):
    """What can run a task of this process at once: the engine's lanes."""

    instance: Instance

    def claims(self, name: str) -> bool:
        """Whether this daemon runs tasks of this name at all, and none of its pauses holds them up."""

    def reserve(self, tasks: Sequence[MonQTask]) -> Reserved | None:
        """Set slots aside for all of *tasks*; None when one may not overtake what waits, or none is free."""

    def expect(self, tasks: Sequence[MonQTask]) -> None:
        """*tasks* were stored as ready and wait to be claimed."""


class Spooler(Protocol):
    """What keeps deliveries while the store is away: the engine's spooler."""

    is_open: bool
    """Deliveries go through it, because the store is away or others still wait in it."""

    def begin(self, error: StoreUnavailable) -> None:
        """The store did not take a delivery: from now on this does."""

    def keep(self, posting: Posting) -> Receipt:
        """Keep *posting*, durable when it returns. Raises StoreUnavailable when it cannot."""
