"""Fixtures that every room of the tests shares: real stores on real servers.

MONQBUS_TEST_MONGODB_URI names a running MongoDB to use in place of a standalone one of our own; the
replica set and injected faults are then left out: tests may not step a stranger's servers down.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from pymongo.database import Database

from bus.store.contract import Store
from bus.store.mongo import MongoStore
from bus.store.sqlite.store import MEMORY, SqliteStore
from tests import bad_disk, mongod

GIVEN_URI = os.environ.get("MONQBUS_TEST_MONGODB_URI")
NO_FAULTS = "MONQBUS_TEST_MONGODB_URI is used instead of servers of our own"

NewStore = Callable[..., Store]


@pytest.fixture(scope="session")
def standalone() -> Iterator[mongod.Deployment]:
    """A mongod of our own; skipped, or failed under CI, where there is no program to start."""
    if GIVEN_URI:
        pytest.skip(NO_FAULTS)
    deployment = mongod.standalone()
    yield deployment
    deployment.remove()


@pytest.fixture(scope="session")
def replica_set() -> Iterator[mongod.Deployment]:
    """Three mongods that elect a primary."""
    if GIVEN_URI:
        pytest.skip(NO_FAULTS)
    deployment = mongod.replica_set()
    yield deployment
    deployment.remove()


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What makes a disk fail; skipped, or failed under CI, where there is no compiler."""
    return bad_disk.compiled(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def database(standalone: mongod.Deployment) -> Iterator[Database[dict[str, Any]]]:
    """A fresh database of a standalone mongod, for looking behind the store's back and for doing harm to."""
    name = f"monqbus_test_{uuid4().hex[:12]}"
    yield standalone.client[name]
    standalone.client.drop_database(name)


@pytest.fixture
def mongo_address(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a fresh database on a standalone mongod."""
    with _fresh_database(request, "standalone") as address:
        yield address


@pytest.fixture(params=["sqlite-file", "sqlite-memory", "standalone", "replica_set"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewStore]:
    """Opens stores of one kind on the data of this test and closes them after it."""
    with ExitStack() as stack:
        kind: str = request.param
        if kind.startswith("sqlite"):
            path = tmp_path / "monqbus.db" if kind == "sqlite-file" else MEMORY
            make: NewStore = lambda daemon: SqliteStore(path, daemon=daemon)  # noqa: E731 - one of two
        else:
            address = stack.enter_context(_fresh_database(request, kind))
            make = lambda daemon: MongoStore(address, daemon=daemon)  # noqa: E731 - the other one

        def new(*, daemon: bool = True) -> Store:
            store = stack.enter_context(closing(make(daemon)))
            store.open()
            return store

        yield new


@pytest.fixture
def store(request: pytest.FixtureRequest, new_store: NewStore) -> Store:
    """An opened store of each kind; `@pytest.mark.needs("shared")` leaves out those that are not."""
    store = new_store()
    for marker in request.node.iter_markers("needs"):
        for capability in marker.args:
            if not getattr(store, capability):
                pytest.skip(f"this store does not declare {capability!r}")
    return store


@contextmanager
def _fresh_database(request: pytest.FixtureRequest, kind: str) -> Iterator[str]:
    database = f"monqbus_test_{uuid4().hex[:12]}"
    if kind == "standalone" and GIVEN_URI:
        servers, _, options = GIVEN_URI.partition("?")
        address = f"{servers.rstrip('/')}/{database}?{options}"
    else:
        address = request.getfixturevalue(kind).address(database)
    yield address
    with pymongo.MongoClient[dict[str, Any]](address) as client:
        client.drop_database(database)
