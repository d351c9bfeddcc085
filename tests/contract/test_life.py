"""Life: open, close, ping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from bson import ObjectId

from bus.errors import StoreUnavailable
from bus.model import Filter, Posting, Report
from bus.store.contract import Store
from tests.conftest import NewStore

from .samples import NAME, NOW, ONE, a_task, held, post

CALLS: dict[str, Callable[[Store], Any]] = {
    "ping": lambda store: store.ping(),
    "post": lambda store: store.post([Posting([a_task()])]),
    "claim": lambda store: store.claim(ONE, {NAME}, 1, NOW),
    "report": lambda store: store.report([Report(a_task().claim, {"state": "complete"})]),
    "orphans": lambda store: store.orphans(ONE, 1),
    "get": lambda store: store.get(ObjectId()),
    "find": lambda store: store.find(Filter(), 1),
    "count": lambda store: store.count(Filter()),
    "waiting": lambda store: store.waiting(),
    "move": lambda store: store.move([ObjectId()], {"error"}, {"state": "ready"}),
    "delete": lambda store: store.delete([ObjectId()], {"error"}),
    "prune": lambda store: store.prune(NOW, 1),
    "event": lambda store: store.event(ObjectId()),
}


def test_an_open_store_answers_the_ping(store: Store) -> None:
    """Ping returns when the store can write."""
    store.ping()


@pytest.mark.parametrize("verb", CALLS)
def test_a_closed_store_is_unavailable(store: Store, verb: str) -> None:
    """Every verb says so instead of failing in its own way."""
    store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        CALLS[verb](store)


def test_a_store_names_the_machines_that_it_has_to_reach(store: Store) -> None:
    """A file is here; of servers all members that are known. A closed one reaches nobody."""
    assert store.shared == ("127.0.0.1" in store.hosts())
    store.close()
    assert [] == list(store.hosts())


@pytest.mark.parametrize("new_store", ["sqlite-file", "sqlite-memory"], indirect=True)
def test_a_closed_store_leaves_no_native_thread(new_store: NewStore) -> None:
    """Whoever opens and closes stores for years gathers no threads."""
    before = native_threads()
    store = new_store()
    store.ping()
    opened = native_threads() - before
    assert opened

    store.close()

    with gevent.Timeout(20):
        while opened & native_threads():
            gevent.sleep(0)


def native_threads() -> set[str]:
    return {thread.name for thread in Path("/proc/self/task").iterdir()}


def test_a_store_can_be_closed_twice(store: Store) -> None:
    """Stopping is never an error."""
    store.close()
    store.close()


@pytest.mark.needs("shared")
def test_opening_again_keeps_what_is_stored(store: Store, new_store: NewStore) -> None:
    """Open creates what is missing and nothing else."""
    (task,) = post(store, a_task())

    assert task == new_store().get(task.id)


def test_a_store_for_plain_threads_keeps_the_same_promises(new_store: NewStore) -> None:
    """Without group commit: post, claim, report, see."""
    store = new_store(daemon=False)
    tasks = held(store, 3)

    assert [True] * 3 == store.report([Report(task.claim, {"state": "complete"}) for task in tasks])
    assert {"complete": 3} == store.count(Filter())
