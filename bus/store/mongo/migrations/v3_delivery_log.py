"""Version 3: the delivery log. Its collection is made here, so that who only looks finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.database import Database

DELIVERIES: Final = "monq_delivery"


def migrate(database: Database[dict[str, Any]], keep: Callable[[], None]) -> None:
    """Make the index of the two rings; without effect where it is. Daemons of version 2 know neither."""
    keys = [("by_stranger", ASCENDING), ("_id", ASCENDING), ("room", ASCENDING)]
    database[DELIVERIES].create_index(keys, name="monqbus_ring")
    keep()
