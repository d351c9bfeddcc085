"""Posts in the application's own transaction: there if and only if it commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from bus.apps.calls import Batch
from bus.apps.registry import Registry
from bus.errors import NotAccepted, StoreError, StoreUnavailable
from bus.model import Event, Filter, MonQTask, Posting, Receipt
from bus.posting import PostOffice
from bus.store.mongo import MongoStore, transactions
from tests import mongod
from tests.mongod import Deployment

from .samples import CLOCK, NAME, NOW, ONE, PATIENCE, a_fan_out, a_task, post

Documents = Database[dict[str, Any]]
Client = pymongo.MongoClient[dict[str, Any]]


class Committed:
    """Counts what it is told of."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def address(replica_set: Deployment) -> Iterator[str]:
    """A fresh database on three members."""
    name = f"monqbus_test_{uuid4().hex[:12]}"
    yield replica_set.address(name)
    replica_set.client.drop_database(name)


@pytest.fixture
def store(address: str) -> Iterator[MongoStore]:
    """The store as an application has it."""
    with closing(MongoStore(address, daemon=False)) as store:
        store.open()
        yield store


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    """The application's own client."""
    with pymongo.MongoClient[dict[str, Any]](address) as client:
        client.shop.orders.drop()
        client.shop.create_collection("orders")
        yield client


def an_event(*tasks: MonQTask) -> Posting:
    return a_fan_out(Event(CLOCK.new_id(), "order.paid", NOW), *tasks)


def orders(client: Client) -> int:
    return client.shop.orders.count_documents({})


# commit and abort


def test_what_is_posted_is_there_when_the_transaction_commits(store: MongoStore, client: Client) -> None:
    """Beside what the application has written; before, nobody sees it, and nobody is told."""
    committed = Committed()
    (plain, one, two) = (a_task(), a_task("a.one"), a_task("a.two"))
    fan_out = an_event(one, two)
    with client.start_session() as session, session.start_transaction():
        client.shop.orders.insert_one({}, session=session)
        receipts = store.post_within(session, [Posting([plain]), fan_out], committed)
        before = (store.count(Filter()), store.events(9), committed.times)

    assert ({}, [], 0) == before
    assert [Receipt([plain.id], None), Receipt([one.id, two.id], one.event_id)] == receipts
    assert ({"ready": 3}, 1, 1) == (store.count(Filter()), committed.times, orders(client))
    assert plain == store.get(plain.id)
    assert [fan_out.event] == store.events(9)


def test_an_abort_leaves_nothing_and_tells_nobody(store: MongoStore, client: Client) -> None:
    """Neither the tasks nor the event; the next transaction of the session tells of its own posts alone."""
    committed, later = Committed(), Committed()
    with client.start_session() as session:
        with suppress(ZeroDivisionError), session.start_transaction():
            store.post_within(session, [Posting([a_task()]), an_event(a_task())], committed)
            raise ZeroDivisionError
        aborted = (store.count(Filter()), store.events(9))
        with session.start_transaction():
            store.post_within(session, [Posting([a_task()])], later)

    assert ({}, []) == aborted
    assert ({"ready": 1}, 0, 1) == (store.count(Filter()), committed.times, later.times)


def test_a_session_that_ends_in_its_transaction_has_posted_nothing(store: MongoStore, client: Client) -> None:
    """The driver aborts it."""
    committed = Committed()
    with client.start_session() as session:
        session.start_transaction()
        store.post_within(session, [Posting([a_task()])], committed)

    assert ({}, 0) == (store.count(Filter()), committed.times)


def test_every_post_of_a_transaction_is_told_of_once(store: MongoStore, client: Client) -> None:
    """In their order, also when the commit is sent a second time, and the session is as it was."""
    told: list[int] = []
    with client.start_session() as session:
        before = set(vars(session))
        session.start_transaction()
        for n in range(3):
            store.post_within(session, [Posting([a_task()])], lambda n=n: told.append(n))
        session.commit_transaction()
        session.commit_transaction()
        after = set(vars(session))

    assert [0, 1, 2] == told
    assert before == after
    assert {"ready": 3} == store.count(Filter())


def test_a_commit_without_an_answer_is_told_of_when_it_is_tried_again(
    store: MongoStore, client: Client, replica_set: Deployment
) -> None:
    """`with_transaction` tries on: the outcome of the first is unknown, that of the second is not."""
    committed = Committed()
    with client.start_session() as session:
        session.start_transaction()
        store.post_within(session, [Posting([a_task()])], committed)
        unknown = {"code": 91, "errmsg": "stopping"}
        with (
            replica_set.failing("commitTransaction", times=2, writeConcernError=unknown),
            pytest.raises(PyMongoError),
        ):
            session.commit_transaction()
        before = committed.times
        session.commit_transaction()

    assert (0, 1) == (before, committed.times)
    assert {"ready": 1} == store.count(Filter())


def test_another_transaction_after_a_commit_that_failed_tells_of_its_own_alone(
    store: MongoStore, client: Client, replica_set: Deployment
) -> None:
    """The application has given the first one up."""
    given_up, committed = Committed(), Committed()
    with client.start_session() as session:
        session.start_transaction()
        store.post_within(session, [Posting([a_task()])], given_up)
        with replica_set.failing("commitTransaction", errorCode=251), pytest.raises(OperationFailure):
            session.commit_transaction()
        with session.start_transaction():
            store.post_within(session, [Posting([a_task()])], committed)

    assert (0, 1) == (given_up.times, committed.times)


def test_whoever_listens_is_woken_by_the_commit_and_not_before(
    store: MongoStore, client: Client, address: str
) -> None:
    """The ring follows the commit: one inside of the transaction cannot be, the feed is capped."""
    with closing(MongoStore(address, daemon=True)) as daemon, client.start_session() as session:
        daemon.open()
        while daemon.listen(0.1).word != "quiet":
            pass
        task = a_task()
        office = PostOffice(store, Registry, CLOCK)
        with session.start_transaction():
            office.store(Batch([task], session=session))
            before = daemon.listen(0.2).word

        assert ("quiet", "rang") == (before, daemon.listen(PATIENCE).word)
        assert [task.id] == [claimed.id for claimed in daemon.claim(ONE, {NAME}, 9, NOW).tasks]


def test_a_hint_inside_of_a_transaction_is_refused_by_the_server(store: MongoStore, client: Client) -> None:
    """Why it rings behind it: should a server ever allow it, this can be simpler."""
    feed = client[store._connection.database.name].get_collection("monq_task.feed")
    with (
        client.start_session() as session,
        pytest.raises(OperationFailure, match="capped collection"),
        session.start_transaction(),
    ):
        feed.insert_one({}, session=session)


def test_a_daemon_starts_beside_a_transaction_that_is_open(
    store: MongoStore, client: Client, address: str
) -> None:
    """That of an application that was killed stays open for a minute: nothing may wait for its end."""
    with client.start_session() as session, session.start_transaction():
        store.post_within(session, [Posting([a_task()])], Committed())
        with closing(MongoStore(address, daemon=True)) as daemon:
            daemon.open()

    assert {"ready": 1} == store.count(Filter())


# keys


def test_a_held_key_is_not_stored_again(store: MongoStore, client: Client) -> None:
    """By a task of others, and by one of this transaction or this call."""
    (holder,) = post(store, a_task(key="held"))
    with client.start_session() as session, session.start_transaction():
        first, second, other = a_task(key="n"), a_task(key="n"), a_task(key="held")
        here = store.post_within(session, [Posting([first, second]), Posting([other])], Committed())
        again = store.post_within(session, [Posting([a_task(key="n")])], Committed())

    assert [Receipt([first.id] * 2, None, duplicate=True), Receipt([holder.id], None, duplicate=True)] == here
    assert [Receipt([first.id], None, duplicate=True)] == again
    assert {"ready": 2} == store.count(Filter())


def test_a_key_that_was_taken_since_the_transaction_began_begins_it_again(
    store: MongoStore, client: Client
) -> None:
    """An insert would be refused: the second time its holder is found."""
    holders: list[MonQTask] = []
    receipts: list[Receipt] = []

    def work(session: ClientSession) -> None:
        client.shop.orders.insert_one({}, session=session)
        if not holders:
            holders.extend(post(store, a_task(key="k")))
        receipts.extend(store.post_within(session, [Posting([a_task(key="k")])], Committed()))

    with client.start_session() as session:
        session.with_transaction(work)

    assert [Receipt([holders[0].id], None, duplicate=True)] == receipts
    assert ({"ready": 1}, 1) == (store.count(Filter()), orders(client))


def test_of_two_transactions_that_post_one_key_one_stores_it(store: MongoStore, client: Client) -> None:
    """The other one cannot commit what it had begun, and begins again."""
    with client.start_session() as first, client.start_session() as second:
        first.start_transaction()
        second.start_transaction()
        store.post_within(first, [Posting([a_task(key="k")])], Committed())
        with pytest.raises(StoreUnavailable, match="begin it again") as raised:
            store.post_within(second, [Posting([a_task(key="k")])], Committed())
        second.abort_transaction()
        first.commit_transaction()

    assert isinstance(raised.value, PyMongoError)
    assert raised.value.has_error_label("TransientTransactionError")
    assert {"ready": 1} == store.count(Filter())


def test_a_task_whose_key_was_posted_in_a_transaction_that_aborted_is_stored(
    store: MongoStore, client: Client
) -> None:
    """The key is free again."""
    with client.start_session() as session:
        session.start_transaction()
        store.post_within(session, [Posting([a_task(key="k")])], Committed())
        session.abort_transaction()
    (receipt,) = store.post([Posting([a_task(key="k")])])

    assert not receipt.duplicate
    assert {"ready": 1} == store.count(Filter())


# errors


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("insert", {"errorCode": 112, "errorLabels": ["TransientTransactionError"]}),
        ("find", {"errorCode": 251, "errorLabels": ["TransientTransactionError"]}),
        ("insert", {"closeConnection": True}),
        ("find", {"closeConnection": True}),
        ("insert", {"errorCode": 50}),
    ],
    ids=["a conflict", "no such transaction", "lost at an insert", "lost at a look", "too slow"],
)
def test_an_error_that_passes_begins_the_transaction_again(
    store: MongoStore, client: Client, replica_set: Deployment, command: str, error: dict[str, Any]
) -> None:
    """The application's own `with_transaction` does it; each time nothing of the time before is left."""
    tries: list[int] = []
    committed = Committed()
    namespace = f"{store._connection.database.name}.monq_task"

    def work(session: ClientSession) -> None:
        tries.append(1)
        client.shop.orders.insert_one({}, session=session)
        with ExitStack() as stack:
            if len(tries) < 3:
                stack.enter_context(replica_set.failing(command, namespace=namespace, **error))
            store.post_within(session, [Posting([a_task(key="k")])], committed)

    with client.start_session() as session:
        session.with_transaction(work)

    assert (3, 1, 1) == (len(tries), committed.times, orders(client))
    assert {"ready": 1} == store.count(Filter())


def test_an_outage_while_the_deployments_are_compared_begins_the_transaction_again(
    store: MongoStore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is done outside of it, so the driver puts no label on it."""
    tries: list[int] = []
    real = transactions._identity

    def lost(database: Documents) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise AutoReconnect("the primary is gone")
        return real(database)

    monkeypatch.setattr(transactions, "_identity", lost)
    with client.start_session() as session:
        session.with_transaction(lambda own: store.post_within(own, [Posting([a_task()])], Committed()))

    assert 3 == len(tries)
    assert {"ready": 1} == store.count(Filter())


def test_a_refused_task_is_an_error_and_is_not_begun_again(store: MongoStore, client: Client) -> None:
    """A validator refuses it each time; nothing of the transaction is stored."""
    store._connection.database.command("collMod", "monq_task", validator={"task_name": {"$ne": NAME}})
    tries: list[int] = []

    def work(session: ClientSession) -> None:
        tries.append(1)
        client.shop.orders.insert_one({}, session=session)
        store.post_within(session, [Posting([a_task("a.one")]), Posting([a_task()])], Committed())

    with client.start_session() as session, pytest.raises(NotAccepted, match="validator"):
        session.with_transaction(work)

    assert (1, {}, 0) == (len(tries), store.count(Filter()), orders(client))


def test_a_session_without_a_transaction_is_refused(store: MongoStore, client: Client) -> None:
    """What it would be a part of is not there."""
    with client.start_session() as session:
        with pytest.raises(StoreError, match=r"expected a transaction that runs.*start_transaction"):
            store.post_within(session, [Posting([a_task()])], Committed())
        session.start_transaction()
        session.commit_transaction()
        with pytest.raises(StoreError, match="expected a transaction that runs"):
            store.post_within(session, [Posting([a_task()])], Committed())

    assert {} == store.count(Filter())


@pytest.mark.parametrize("given", [object(), "a session", 7])
def test_what_is_no_session_is_refused(store: MongoStore, given: object) -> None:
    """One of an asynchronous client neither."""
    with pytest.raises(StoreError, match=r"expected a session of pymongo\.MongoClient, got"):
        store.post_within(given, [Posting([a_task()])], Committed())


def test_a_session_of_another_deployment_is_refused(store: MongoStore) -> None:
    """A transaction does not reach from one into the other; both are named, passwords are not."""
    other = mongod.replica_set(1)
    try:
        with (
            pymongo.MongoClient[dict[str, Any]](other.uri) as client,
            client.start_session() as session,
            session.start_transaction(),
        ):
            client.shop.orders.insert_one({}, session=session)
            with pytest.raises(StoreError, match=rf"got one of .*:{other.members[0].port}; a transaction is"):
                store.post_within(session, [Posting([a_task()])], Committed())
            assert [] == client[store._connection.database.name].list_collection_names()
    finally:
        other.remove()
    assert {} == store.count(Filter())


def test_a_session_of_a_single_server_is_refused(standalone: Deployment) -> None:
    """It has no transactions; the remedy is a replica set of one member."""
    with (
        closing(MongoStore(standalone.address(f"monqbus_test_{uuid4().hex[:12]}"), daemon=False)) as store,
        pymongo.MongoClient[dict[str, Any]](standalone.uri) as client,
        client.start_session() as session,
    ):
        store.open()
        with (
            pytest.raises(StoreError, match=r"single server .*replica set, even of one"),
            session.start_transaction(),
        ):
            store.post_within(session, [Posting([a_task()])], Committed())
        assert {} == store.count(Filter())


def test_the_embedded_store_has_no_part_in_a_transaction(tmp_path: Any) -> None:
    """Its remedy is a block that stores at its end."""
    from bus.store.sqlite.store import SqliteStore

    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=False)) as store:
        store.open()
        with pytest.raises(StoreError, match=r"got the embedded one.*monqbus\.hold"):
            store.post_within(object(), [Posting([a_task()])], Committed())
