"""The migrations of the embedded file, in order: each makes the next schema version of the one before."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from . import v2_event_columns, v3_event_kind, v4_records, v5_delivery_log, v6_serial

Step = tuple[int, Callable[[sqlite3.Connection], None]]
"""The version that a step makes, and its function. It runs inside a transaction and must not end that."""

STEPS: Final[Sequence[Step]] = (
    (2, v2_event_columns.migrate),
    (3, v3_event_kind.migrate),
    (4, v4_records.migrate),
    (5, v5_delivery_log.migrate),
    (6, v6_serial.migrate),
)
"""Every step, oldest first. One that was released never changes: files were made with it."""
