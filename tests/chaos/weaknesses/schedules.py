"""Weaknesses of schedules: what makes a tick one, taken away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from bus.posting import PostOffice


def ticks_without_a_key() -> None:
    """Whoever comes second stores the tick again."""
    prepared: Callable[..., Any] = PostOffice._tick

    def keyless(self: PostOffice, schedule: Any, moment: datetime, key: str | None) -> Any:
        return prepared(self, schedule, moment, None)

    PostOffice._tick = keyless
