"""What the MongoDB store does while its servers do not: it says so in time, and then goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import gevent
import gevent.event
import pytest
from bson import Int64
from pymongo.database import Database

from bus.errors import StoreError, StoreUnavailable
from bus.model import Filter, Posting
from bus.store.mongo import MongoStore
from tests import mongod
from tests.mongod import Deployment

from .samples import NAME, NOW, ONE, PATIENCE, a_task, post, together

Documents = Database[dict[str, Any]]

SECRET = "pa$$:w/ord@x"
FEED = "monq_task.feed"

only_replica_set = pytest.mark.parametrize("deployment", ["replica_set"], indirect=True)


@pytest.fixture(params=["standalone", "replica_set"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """Each kind of deployment."""
    found: Deployment = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def database(deployment: Deployment) -> Iterator[Documents]:
    """A fresh database, for looking behind the store's back."""
    name = f"monqbus_test_{uuid4().hex[:12]}"
    yield deployment.client[name]
    deployment.client.drop_database(name)


@pytest.fixture
def new_store(deployment: Deployment, database: Documents) -> Iterator[Callable[[], MongoStore]]:
    """Opens stores on that database."""
    opened: list[MongoStore] = []

    def new() -> MongoStore:
        opened.append(MongoStore(deployment.address(database.name), daemon=True))
        opened[-1].open()
        return opened[-1]

    yield new
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store: Callable[[], MongoStore]) -> MongoStore:
    """A daemon's store."""
    return new_store()


# the feed


def drop(database: Documents) -> None:
    database.drop_collection(FEED)


def drop_and_write(database: Documents) -> None:
    """A ring into a dropped feed makes a collection that is not capped."""
    database.drop_collection(FEED)
    database[FEED].insert_one({})


def empty(database: Documents) -> None:
    database[FEED].delete_many({})


def overrun(database: Documents) -> None:
    """More hints than the ring holds while nobody listens."""
    database[FEED].insert_many([{"n": n, "x": "x" * 900} for n in range(200)])


def kill_cursors(database: Documents) -> None:
    found = database.client.admin.aggregate(
        [
            {"$currentOp": {"idleCursors": True, "allUsers": True}},
            {"$match": {"ns": f"{database.name}.{FEED}", "cursor.tailable": True}},
        ]
    )
    cursors = [Int64(operation["cursor"]["cursorId"]) for operation in found]
    database.command("killCursors", FEED, cursors=cursors)


@pytest.mark.parametrize("harm", [drop, drop_and_write, empty, overrun, kill_cursors])
def test_a_feed_that_dies_is_lost_once_and_heard_again(
    new_store: Callable[[], MongoStore], store: MongoStore, database: Documents, harm: Callable[..., None]
) -> None:
    """However it dies: "lost" means a full claim pass, and then hints come again."""
    other = new_store()
    store.listen(0.1)
    other.ring()
    assert "rang" == store.listen(PATIENCE).word

    harm(database)
    heard = [store.listen(0.2).word, store.listen(0.2).word]

    assert ["lost", "quiet"] == heard
    assert database[FEED].options()["capped"]
    other.ring()
    assert "rang" == store.listen(PATIENCE).word


def test_a_feed_that_dies_under_a_waiting_listener_is_lost(store: MongoStore, database: Documents) -> None:
    """At the latest when its time is over; a standalone server does not end the wait earlier."""
    store.listen(0.1)
    listener = gevent.spawn(store.listen, 1)
    gevent.idle()

    drop(database)

    assert "lost" == listener.get(timeout=PATIENCE).word


# outages


@only_replica_set
def test_a_stepdown_loses_nothing_that_was_acknowledged(deployment: Deployment, store: MongoStore) -> None:
    """Posting and claiming go on across it; each acknowledged task is claimed exactly once."""
    stored: list[Any] = []
    claimed: Counter[Any] = Counter()
    is_over = gevent.event.Event()
    posting: list[object] = [object() for _ in range(8)]  # one for each who posts on

    def post_on() -> None:
        while not is_over.is_set():
            task = a_task()
            try:
                store.post([Posting([task])])
            except StoreUnavailable:
                continue
            stored.append(task.id)
        posting.pop()

    def claim_on() -> None:
        while posting or set(stored) - set(claimed):
            try:
                claimed.update(task.id for task in store.claim(ONE, {NAME}, 50, NOW).tasks)
            except StoreUnavailable:
                continue

    def step_down() -> None:
        deployment.step_down()
        before = len(stored)
        while len(stored) < before + 50:
            gevent.idle()
        is_over.set()

    together(*[post_on] * len(posting), claim_on, step_down)

    assert set(stored) <= set(claimed)
    assert {1} == set(claimed.values())


@only_replica_set
def test_the_feed_moves_to_the_new_primary(
    deployment: Deployment, new_store: Callable[[], MongoStore], store: MongoStore
) -> None:
    """A cursor on a former primary would stay open and hear nothing (SERVER-44603)."""
    other = new_store()
    store.listen(0.1)
    deployment.step_down()

    heard = [store.listen(0.2).word, store.listen(0.2).word]

    assert "lost" in heard
    while store.listen(0.1).word != "quiet":
        pass
    other.ring()
    assert "rang" == store.listen(PATIENCE).word


@only_replica_set
def test_without_a_majority_nothing_is_acknowledged(deployment: Deployment, store: MongoStore) -> None:
    """An answer in time, the outcome unknown, and work again when the majority is back."""
    primary = (deployment.client.address or ("", 0))[1]
    others = [member for member in deployment.members if member.port != primary]
    for member in others:
        member.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="outcome is unknown"):
            store.post([Posting([a_task()])])
        seconds = time.monotonic() - began
    finally:
        for member in others:
            member.thaw()

    assert seconds < 6
    until_it_works(partial(post, store, a_task()))


@pytest.fixture
def mine() -> Iterator[Deployment]:
    """A server that a test may kill."""
    deployment = mongod.standalone()
    yield deployment
    deployment.remove()


def test_a_frozen_server_is_noticed_in_time(mine: Deployment) -> None:
    """It holds the connection and answers nothing: every verb still ends."""
    (server,) = mine.members
    store = MongoStore(mine.address("frozen"), daemon=True)
    store.open()
    store.listen(0.1)
    server.freeze()
    try:
        calls: dict[float, Callable[[], Any]] = {
            2: store.ping,
            5: partial(post, store, a_task()),
            5.1: partial(store.claim, ONE, {NAME}, 1, NOW),
            5.2: partial(store.find, Filter(), 1),
        }
        seconds = together(*(partial(seconds_until_unavailable, call) for call in calls.values()))
    finally:
        server.thaw()
    until_it_works(store.ping)
    store.close()

    assert [True] * 4 == [took < limit + 1 for took, limit in zip(seconds, calls, strict=True)]


def test_a_restarted_server_is_used_again(mine: Deployment) -> None:
    """An outage never ends the daemon: the same store goes on, with what it had, and hears rings."""
    (server,) = mine.members
    store, other = (MongoStore(mine.address("restarted"), daemon=True) for _ in range(2))
    for opened in (store, other):
        opened.open()
    store.listen(0.1)
    (task,) = post(store, a_task())
    server.kill()
    with pytest.raises(StoreUnavailable):
        store.listen(0.1)
    server.start()
    until_it_works(store.ping)

    assert [task.id] == [found.id for found in store.claim(ONE, {NAME}, 1, NOW).tasks]
    assert ["lost", "quiet"] == [store.listen(0.1).word, store.listen(0.1).word]
    other.ring()
    assert "rang" == store.listen(PATIENCE).word
    for opened in (store, other):
        opened.close()


# what errors say


@pytest.mark.parametrize(
    "address",
    [
        "mongodb://me:{0}@127.0.0.1:{1}/name",
        "mongodb://me:pa%24%24%3Aw%2Ford%40x@127.0.0.1:{1}/name?authSource=admin",
        "mongodb://me:pa%24%24%3Aw%2Ford%40x@127.0.0.1:1/name?timeoutMS=300",
        "mongodb://me:pa%24%24%3Aw%2Ford%40x@127.0.0.1:port/name",
        "mongodb://me:pa%24%24%3Aw%2Ford%40x@127.0.0.1:{1}/name?timeoutMS=never",
        "mongodb://me:pa%24%24%3Aw%2Ford%40x@127.0.0.1:{1}/name?authMechanism=NONSENSE",
        "mongodb://127.0.0.1:{1}/name?authMechanismProperties=pa%24%24xw%2Ford:1",
        "mongodb://me:pa%24%24@127.0.0.1:{1}/name?readPreference=pa$$",
        "mongodb://me:pa%24%24@127.0.0.1:{1}/name?tlsCertificateKeyFile=/not/there",
        "mongodb://{0}",
        "mongodb://me:pa$$?w/ord@x@127.0.0.1/name",
    ],
)
def test_no_error_shows_the_password(standalone: Deployment, address: str) -> None:
    """Neither as written nor as meant, not even a piece of it, whatever is wrong with the address."""
    store = MongoStore(address.format(SECRET, standalone.members[0].port), daemon=False)

    with pytest.raises(StoreError) as caught:
        store.open()

    text = f"{caught.value} {caught.value!r}"
    assert "MongoDB" in text or "127.0.0.1" in text
    assert [] == [piece for piece in ("pa$$", "w/ord", "ord@x", "%24%24", "%2Ford") if piece in text]


@pytest.mark.parametrize("password", ["a", "e", "mech"])
def test_a_password_that_is_a_piece_of_words_is_not_to_be_read_off_the_mask(
    standalone: Deployment, password: str
) -> None:
    """Each e of "server" became ***, which showed the letter; so nothing of the words is shown."""
    port = standalone.members[0].port
    store = MongoStore(f"mongodb://me:{password}@127.0.0.1:{port}/name?authMechanism=NONSENSE", daemon=False)

    with pytest.raises(StoreError) as caught:
        store.open()

    assert "***" not in str(caught.value)
    assert "a password of less than 8 characters" in str(caught.value)


def test_no_error_shows_a_payload(deployment: Deployment, store: MongoStore) -> None:
    """The driver's errors carry the documents that they are about."""
    with deployment.failing("insert", errorCode=4242), pytest.raises(StoreError) as caught:
        store.post([Posting([a_task(args=["private words"])])])

    assert "private words" not in str(caught.value)
    assert "code 4242" in str(caught.value)


# hands


def seconds_until_unavailable(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        call()
    return time.monotonic() - began


def until_it_works(call: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            call()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
        else:
            return
