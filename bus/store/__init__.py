"""Hands: the durable memory. Only this file names an adapter."""

from __future__ import annotations

from pathlib import Path

from .contract import CALL_SECONDS, Heard, Store

__all__ = ["CALL_SECONDS", "Heard", "Store", "open_memory_store", "open_store"]


def open_store(address: str, data_dir: Path, *, daemon: bool = False) -> Store:
    """The opened store behind *address*: ``sqlite`` (a file in *data_dir*) or a ``mongodb`` URI.

    A *daemon* is patched by gevent and groups its commits; any other process calls straight
    through. Raises StoreHeld, StoreUnavailable.
    """
    store: Store
    if address == "sqlite":
        from .sqlite import SqliteStore

        store = SqliteStore(data_dir / "monqbus.db", daemon=daemon)
    else:
        from .mongo import MongoStore

        store = MongoStore(address, daemon=daemon)
    store.open()
    return store


def open_memory_store() -> Store:
    """An opened embedded store without a file: it is gone when it is closed. For tests of handlers."""
    from .sqlite import MEMORY, SqliteStore

    store = SqliteStore(MEMORY, daemon=False)
    store.open()
    return store
