"""Looks into a store from outside, whatever its daemons are doing or have died of.

The embedded file is copied with its log first and the copy is opened: looking changes nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bson import ObjectId

from bus.model import Event, Filter, MonQTask, State
from bus.store import Store, open_store

PAGE = 10_000
EMBEDDED = "sqlite"
Item = TypeVar("Item", Event, MonQTask)


def tasks(address: str, data: Path, *states: State) -> list[MonQTask]:
    """All tasks of the store at *address* (in *data* when embedded) in *states*, or in any."""
    with opened(address, data) as store:
        return _all(lambda before: store.find(Filter(states=states), PAGE, before))


def events(address: str, data: Path) -> list[Event]:
    """All events of the store at *address*."""
    with opened(address, data) as store:
        return _all(lambda before: store.events(PAGE, before))


def _all(pages: Callable[[ObjectId | None], list[Item]]) -> list[Item]:
    """Everything, page by page: a page ends at its bytes, too."""
    found: list[Item] = []
    while page := pages(found[-1].id if found else None):
        found += page
    return found


def busy(address: str, data: Path, pid: int) -> int:
    """How many tasks the daemon with *pid* holds according to the store."""
    return sum((task.process or "").endswith(f" pid {pid}") for task in tasks(address, data, "busy"))


@contextmanager
def opened(address: str, data: Path) -> Iterator[Store]:
    """The store at *address* to look into, while daemons may be at work on it."""
    with tempfile.TemporaryDirectory(prefix="monqbus-chaos-look-") as folder:
        if address == EMBEDDED:
            for file in data.glob("monqbus.db*"):
                shutil.copy(file, folder)
        store = open_store(address, Path(folder))
        try:
            yield store
        finally:
            store.close()
