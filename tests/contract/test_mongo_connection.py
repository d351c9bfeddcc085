"""The connection of the MongoDB store, as every part of it uses it."""

from __future__ import annotations

from contextlib import closing

from bus.store.mongo import MongoStore
from bus.store.mongo.schema import EVENTS, TASKS


def test_a_collection_is_made_once(mongo_address: str) -> None:
    """The driver makes and checks a new one at each look: a twentieth of all that a task costs its client."""
    with closing(MongoStore(mongo_address, daemon=False)) as store:
        store.open()
        with store._connection.call() as database:
            first = database[TASKS]
        with store._connection.call() as database:
            again, other = database[TASKS], database[EVENTS]

        assert first is again
        assert (TASKS, EVENTS) == (first.name, other.name)
        assert store._connection.database.write_concern == first.write_concern
