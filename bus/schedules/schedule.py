"""A schedule as it is declared, in the file or above a task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from .moments import Moments

Missed = Literal["skip", "once", "all"]
Overlap = Literal["allow", "skip", "queue"]
MISSED: Final = get_args(Missed)
OVERLAP: Final = get_args(Overlap)
KIND: Final = "schedule"
"""The kind of the event of a tick: its key is the schedule's name and the scheduled moment."""


@dataclass(frozen=True)
class Schedule:
    """At each of *moments* either the *task* is posted or an event of *topic* is published. Seconds.

    *where* is the place of the declaration, for messages.
    """

    name: str
    moments: Moments
    task: str = ""
    topic: str = ""
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    priority: int | None = None
    jitter: float = 0.0
    missed: Missed = "once"
    missed_within: float = 3600.0
    overlap: Overlap = "allow"
    lateness: float = 60.0
    where: str = ""
    is_decorated: bool = False
    """It stands above a task of an app, not in the configuration."""

    @property
    def title(self) -> str:
        """What messages call it: as it is declared."""
        return f"@schedule {self.name}" if self.is_decorated else f"[schedule:{self.name}]"

    @property
    def event_topic(self) -> str:
        """The topic of its ticks' events; one of a task has a topic that no handler is meant for."""
        return self.topic or f"{KIND}.{self.name}"

    @property
    def is_queue(self) -> bool:
        """Whether a tick waits until the run before it has ended."""
        return self.overlap == "queue"

    def key(self, moment: datetime) -> str:
        """What makes the tick of *moment* one, whoever comes to store it."""
        return f"{self.name}@{moment:%Y-%m-%dT%H:%M:%SZ}"

    def delay(self, moment: datetime) -> timedelta:
        """How much later than *moment* its task is to run: a part of *jitter*, the same for every daemon."""
        digest = hashlib.sha256(self.key(moment).encode()).digest()
        return timedelta(milliseconds=int(self.jitter * 1000 * int.from_bytes(digest[:4], "big") / 2**32))
