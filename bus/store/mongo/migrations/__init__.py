"""The migrations of the MongoDB store, in order: each makes the next schema version of the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pymongo.database import Database

from . import v2_event_kind, v3_delivery_log, v4_serial

Step = tuple[int, Callable[[Database[dict[str, Any]], Callable[[], None]], None]]
"""The version that a step makes, and its function.

It is given what to call after each bounded part: that keeps its lease. It may be cut at any moment and is
then begun again, even while an earlier one still writes: each part must do nothing where it was done.
Daemons of the version before go on beside it, so what they write and read must stay right.
"""

STEPS: Final[Sequence[Step]] = (
    (2, v2_event_kind.migrate),
    (3, v3_delivery_log.migrate),
    (4, v4_serial.migrate),
)
"""Every step, oldest first. One that was released never changes: databases were upgraded by it."""
