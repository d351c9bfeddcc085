"""One request to a hook as the delivery log has it. Pure values, no I/O.

An accepted delivery is its event, filtered or not: nothing else is stored of it, and its record is made from
that when somebody asks. Records of their own have those that stored nothing: the refused ones, repetitions,
and answered handshakes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple

from bson import ObjectId

from .errors import BadFilter
from .filter_checks import require_moment, require_text
from .model import ACCEPTED, DELIVERY, FILTERED, Event, EventFilter
from .safe_text import shown

Outcome = Literal["accepted", "filtered", "repeated", "answered", "refused"]

REPEATED: Final = "repeated"
ANSWERED: Final = "answered"
REFUSED: Final = "refused"
OF_EVENTS: Final = (ACCEPTED, FILTERED)
OUTCOMES: Final[tuple[Outcome, ...]] = (ACCEPTED, FILTERED, REPEATED, ANSWERED, REFUSED)


@dataclass(slots=True)
class Delivery:
    """What is known of one delivery. `received` is when it was answered, or its event stored.

    `seconds` is how long its answer took, `size` its body's bytes as far as they were read. `headers` are
    without what may be secret, `parameters` are the names of those in the URL. `body` is there of a refused
    one only, and only where the daemon is told to keep it. `event_id` is the event that it became, or
    repeated; `omitted` is how many more like it came within seconds and have no record.
    """

    id: ObjectId
    received: datetime
    outcome: Outcome
    status: int
    hook: str = ""
    method: str = ""
    path: str = ""
    peer: str = ""
    code: str = ""
    reason: str = ""
    seconds: float = 0.0
    size: int = 0
    request: str = ""
    delivery: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    parameters: list[str] = field(default_factory=list)
    body: bytes = b""
    event_id: ObjectId | None = None
    omitted: int = 0
    # of an accepted one, by its event
    topic: str = ""
    task_ids: list[ObjectId] = field(default_factory=list)

    @property
    def is_by_stranger(self) -> bool:
        """Anybody may cause such a one: these have a ring to themselves, so they push out no others."""
        return self.outcome in (REFUSED, ANSWERED)


def accepted(event: Event) -> Delivery:
    """The record of the delivery that became *event*."""
    return Delivery(
        id=event.id,
        received=event.received,
        outcome=FILTERED if event.is_filtered else ACCEPTED,
        status=202,
        hook=event.hook or "",
        path=f"/hooks/{event.hook}",
        peer=event.peer,
        size=len(event.body),
        delivery=event.delivery,
        headers=event.headers,
        parameters=list(event.query),
        event_id=event.id,
        topic=event.topic,
        task_ids=event.task_ids,
        reason=event.fault,
    )


class Keep(NamedTuple):
    """How much of the log stays: nothing from *before*, of each kind at most so many records and bytes."""

    before: datetime
    most: int
    size: int


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries an operator means; every given part must match. Raises BadFilter.

    *topic* is that of an event, so only accepted ones have one. *status* is that of the answer, 0 means any.
    """

    hook: str = ""
    topic: str = ""
    delivery: str = ""
    outcome: str = ""
    status: int = 0
    older: datetime | None = None
    newer: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what no store may be asked."""
        for part in ("hook", "topic", "delivery"):
            require_text(part, getattr(self, part))
        for part in ("older", "newer"):
            require_moment(part, getattr(self, part))
        if self.outcome not in ("", *OUTCOMES):
            raise BadFilter(f"outcome: expected {', '.join(OUTCOMES)}, got {shown(self.outcome)}")
        is_status = type(self.status) is int and (not self.status or 100 <= self.status <= 599)
        if not is_status:
            raise BadFilter(f"status: expected a number from 100 to 599, got {shown(self.status)}")

    @property
    def is_empty(self) -> bool:
        """True when it means every delivery there is."""
        return self == DeliveryFilter()

    @property
    def of_events(self) -> EventFilter | None:
        """Which events are deliveries that match; None for none."""
        if self.outcome not in ("", *OF_EVENTS) or self.status not in (0, 202):
            return None
        return EventFilter(
            topic=self.topic,
            hook=self.hook,
            kind=DELIVERY,
            delivery=self.delivery,
            outcome=self.outcome,
            older=self.older,
            newer=self.newer,
        )

    @property
    def has_records(self) -> bool:
        """Whether deliveries that stored nothing may match."""
        return self.outcome not in OF_EVENTS and self.status != 202 and not self.topic
