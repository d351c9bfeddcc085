"""An application's orders and its tasks, in one transaction of its own client: both are there, or neither."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo.errors import PyMongoError

from tests import mongod
from tests.mongod import Deployment

from .applications import Application, configuration
from .conftest import New, Ran
from .daemons import Daemon, until

APP = """\
import os
from pathlib import Path
import monqbus
from monqbus import event_handler, task
from pymongo import MongoClient

@task
def note(*words):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
    return list(words)

@event_handler("order.paid")
def ship(topic, number):
    note(topic, number)

def _both(word):
    with MongoClient(os.environ["ORDERS"]) as client, client.start_session() as session:
        with session.start_transaction():
            client.shop.orders.insert_one({"_id": word}, session=session)
            task = note.options(session=session).post(word)
        return task.join(20)

@task
def order(word):
    return _both(word)

@task(cpu=True)
def order_in_a_worker(word):
    return _both(word)

@task
def order_in_a_thread(word):
    from gevent import get_hub
    return get_hub().threadpool.spawn(_both, word).get()
"""
CONFIG = configuration("ordered")
APPLICATION = Application(
    """\
import json, os
from pymongo import MongoClient
from ordered import note, order, order_in_a_worker, order_in_a_thread
client = MongoClient(os.environ["ORDERS"])
orders = client.shop.orders
session = client.start_session()
"""
)


@pytest.fixture
def daemon(new_daemon: New, tmp_path: Path, replica_set: Deployment) -> Iterator[Daemon]:
    """One on three members, in a database of its own; the orders are in another one."""
    name = f"ordered_{uuid4().hex[:8]}"
    replica_set.client.shop.orders.drop()
    replica_set.client.shop.create_collection("orders")
    yield prepared(new_daemon, tmp_path, replica_set, name)
    replica_set.client.drop_database(name)


def prepared(new_daemon: New, tmp_path: Path, deployment: Deployment, name: str) -> Daemon:
    (tmp_path / "ordered.py").write_text(APP)
    daemon = new_daemon(deployment.address(name), text=CONFIG)
    daemon.environ["ORDERS"] = deployment.uri
    return daemon


COMMITS = """\
with session.start_transaction():
    orders.insert_one({"_id": 1}, session=session)
    one = note.options(session=session).post("one")
    two, three = note.options(session=session, priority=3).post_many([("two",), ("three",)])
    with monqbus.hold(session=session):
        four = note.options(session=session, key="k").post("four")
        post_event("order.paid", 5)
    same = note.options(session=session, key="k").post("never")
    try:
        one.join(1)
    except RuntimeError as error:
        print(error)
print([task.join(20) for task in (one, two, three, four)], same.id == four.id)
"""


def test_what_commits_runs_and_can_be_joined(daemon: Daemon, ran: Ran):
    """Single posts, many, and events, keys among them; nothing can be joined before it is there."""
    daemon.start()
    lines = APPLICATION.said(daemon, COMMITS).splitlines()

    assert "only that can be joined" in lines[0]
    assert "[['one'], ['two'], ['three'], ['four']] True" == lines[1]
    assert ["four", "one", "order.paid 5", "three", "two"] == sorted(ran(5))


ABORTS = """\
try:
    with session.start_transaction():
        orders.insert_one({"_id": 1}, session=session)
        note.options(session=session).post("never")
        with monqbus.hold(session=session):
            post_event("order.paid", 1)
        raise KeyError("no")
except KeyError:
    pass
with session.start_transaction():
    try:
        with monqbus.hold(session=session):
            note.post("never")
            raise KeyError("no")
    except KeyError:
        pass
    orders.insert_one({"_id": 2}, session=session)
    last = note.options(session=session).post("last")
print(last.join(20))
"""


def test_what_aborts_has_never_been_there(daemon: Daemon, ran: Ran, replica_set: Deployment):
    """Nor what a block that raised has kept back, in a transaction that then commits."""
    daemon.start()
    assert "['last']\n" == APPLICATION.said(daemon, ABORTS)

    assert ["last"] == ran(1)
    assert "total              1\n" in daemon.monqbus("count").stdout
    assert [2] == [found["_id"] for found in replica_set.client.shop.orders.find()]


REFUSED = """\
def refusal(work):
    try:
        work()
    except monqbus.MonqbusError as error:
        print(type(error).__name__, str(error).replace("\\n", " "))
own = note.options(session=session)
refusal(lambda: own.post("never"))
session.start_transaction()
with monqbus.hold():
    refusal(lambda: own.post("never"))
with monqbus.hold(session=client.start_session()):
    refusal(lambda: own.post("never"))
for one in (order_in_a_worker, order_in_a_thread):
    refusal(lambda: one.options(max_attempts=1).post(7).join(20))
print(order.post(8).join(20))
"""


def test_sessions_that_cannot_be_used_are_refused_with_a_remedy(daemon: Daemon, ran: Ran):
    """Without a transaction, in the block of another one, and in a worker; a handler's own is used."""
    daemon.start()
    lines = APPLICATION.said(daemon, REFUSED).splitlines()

    assert lines[0].startswith("StoreError session: expected a transaction that runs in it")
    assert all("write `with monqbus.hold(session):`" in line for line in lines[1:3])
    assert [True, True] == [
        line.startswith("TaskFailed") for line in lines[3:] if "session: expected a" in line
    ]
    assert "[8]" == lines[-1]
    assert ["8"] == ran(1)


EMBEDDED = """\
client = None
session = object()
try:
    note.options(session=session).post("never")
except monqbus.MonqbusError as error:
    print(error)
"""


def test_the_embedded_store_refuses_a_session(new_daemon: New, tmp_path: Path):
    """With what to write in its place."""
    (tmp_path / "ordered.py").write_text(APP)
    daemon = new_daemon(text=CONFIG)
    daemon.environ["ORDERS"] = "mongodb://127.0.0.1:1"

    assert "expected the MongoDB store, got the embedded one" in APPLICATION.said(daemon, EMBEDDED)


ORDERS = """\
name, n = sys.argv[1], 0
def work(own):
    orders.insert_one({"_id": word}, session=own)
    note.options(session=own, key=word if n % 3 else None).post(word)
    if n % 5 == 4:
        raise KeyError
while True:
    n += 1
    word = f"{name}-{n}"
    try:
        session.with_transaction(work)
    except KeyError:
        continue
    print(word, flush=True)
"""


@pytest.fixture
def harmed(new_daemon: New, tmp_path: Path) -> Iterator[tuple[Deployment, Daemon]]:
    """Three members that may be killed, and a daemon on them."""
    deployment = mongod.replica_set()
    deployment.client.shop.create_collection("orders")
    yield deployment, prepared(new_daemon, tmp_path, deployment, "ordered")
    deployment.remove()


def test_orders_and_tasks_are_the_same_whatever_is_killed(harmed: tuple[Deployment, Daemon], ran: Ran):
    """Two applications order without pause, every fifth time in vain; the primary is killed in the middle,
    the applications, too. Each order has its task, each task its order, and what was told is there.
    """
    deployment, daemon = harmed
    told: list[str] = []
    with ExitStack() as stack:
        shops = [stack.enter_context(APPLICATION.start(daemon, ORDERS, name)) for name in "ab"]
        for harm in (lambda: _kill_primary(deployment), deployment.step_down, lambda: None):
            for shop in shops:
                assert shop.stdout is not None
                told += [shop.stdout.readline().strip() for _ in range(40)]
            harm()
        for shop in shops:
            shop.kill()
            assert shop.stdout is not None
            told += [line.strip() for line in shop.stdout if line.endswith("\n")]
    before = until(lambda: _both(deployment), 2)
    daemon.start()

    def all_ran() -> list[str]:
        """Orders and tasks, once all orders have run: a commit may have been on its way at the kill."""
        found = _both(deployment)
        return found if found and set(json.loads(found[0])) == set(ran()) else []

    ordered, posted = until(all_ran, 2)

    assert len(told) >= 240
    assert before[0] == before[1]
    assert ordered == posted
    assert set(told) <= set(json.loads(ordered))


def _kill_primary(deployment: Deployment) -> None:
    host, port = deployment.client.primary or ("", 0)
    (primary,) = [member for member in deployment.members if member.host == f"{host}:{port}"]
    primary.kill()
    primary.start()


def _both(deployment: Deployment) -> list[str]:
    """The orders and the arguments of the tasks as text, at one moment; nothing without a primary."""
    client: Any = deployment.client
    try:
        with client.start_session(snapshot=True) as session:
            ordered = sorted(found["_id"] for found in client.shop.orders.find(session=session))
            posted = sorted(found["args"][0] for found in client.ordered.monq_task.find(session=session))
    except PyMongoError:
        return []
    return [json.dumps(ordered), json.dumps(posted)]
