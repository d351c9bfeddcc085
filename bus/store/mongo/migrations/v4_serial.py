"""Version 4: tasks with a serial key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymongo.database import Database


def migrate(_: Database[dict[str, Any]], keep: Callable[[], None]) -> None:
    """Nothing to change: no task had a key, and the indexes were made when the store was opened.

    The version keeps daemons of version 3 from starting: they would let a retried task overtake others.
    """
    keep()
