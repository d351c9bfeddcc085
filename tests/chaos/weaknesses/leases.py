"""Leases that run out soon, and daemons that do not keep to theirs."""

from __future__ import annotations

from typing import Any

from bus.maintenance import rescuer
from bus.maintenance.heartbeat import Heartbeat
from bus.store import Store

SHORT_SECONDS = 3.0
PAUSE_SECONDS = 0.5


def short() -> None:
    """No weakness: leases of 3 s, where the configuration wants 10, and orphans are looked for often."""
    build = Heartbeat.__init__

    def hasty(self: Heartbeat, *words: Any, **more: Any) -> None:
        build(self, *words, **{**more, "lease_seconds": SHORT_SECONDS})

    Heartbeat.__init__ = hasty
    rescuer.PAUSE_SECONDS = PAUSE_SECONDS


def eager() -> None:
    """No weakness: orphans are looked for often, so that an overlap of a moment is seen."""
    rescuer.PAUSE_SECONDS = PAUSE_SECONDS


def eager_without_own_fence() -> None:
    """A daemon whose lease is over lets its handlers go on; orphans as in eager."""
    eager()
    build = Heartbeat.__init__

    def fenceless(self: Heartbeat, *words: Any, **more: Any) -> None:
        build(self, *words, **{**more, "fence": lambda *_: None})

    Heartbeat.__init__ = fenceless


def short_and_never_renewed() -> None:
    """A daemon goes on as if its lease lived, but renews it only once."""
    short()

    def silent(self: Heartbeat, store: Store, seconds: float) -> None:
        pass

    Heartbeat._renew_quietly = silent
    Heartbeat.is_safe = property(lambda _: True)
    Heartbeat.tick = lambda _: 1.0
