"""Opens the stores to measure, and fills them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.clock import Clock
from bus.config import load
from bus.model import MonQTask, Posting
from bus.store import Store, open_store
from tests import mongod

Stores = dict[str, Callable[[str], str]]


@contextlib.contextmanager
def stores() -> Iterator[Stores]:
    """The stores to measure: the embedded one, and a replica set of one node when there is a mongod."""
    found: Stores = {"sqlite": lambda name: "sqlite"}
    try:
        mongod.program()
    except pytest.skip.Exception as missing:
        print(f"no MongoDB figures: {missing}")
        yield found
        return
    deployment = mongod.replica_set(1)
    found["mongodb"] = lambda name: deployment.address(f"bench_{name}_{time.time_ns() % 10**9}")
    try:
        yield found
    finally:
        deployment.remove()


def opened(config_path: Path) -> Store:
    """The store of a config, opened by this process."""
    config = load(config_path, {})
    return open_store(config.monqbus.store.reveal(), config.monqbus.data_dir)


def fill(store: Store, count: int, name: str = "benchapp.nothing", keys: int = 0) -> None:
    """Store *count* waiting no-ops, under so many serial *keys* where there are some."""
    clock = Clock()
    now = clock.now()
    for start in range(0, count, 1000):
        tasks = [
            MonQTask(clock.new_id(), name, [], {}, now, serial=f"{name} {place % keys}" if keys else None)
            for place in range(start, min(start + 1000, count))
        ]
        store.post([Posting(tasks)])
