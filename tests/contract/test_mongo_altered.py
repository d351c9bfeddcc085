"""MongoDB's collections and indexes are dropped, replaced and converted by somebody else: it is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from pymongo.database import Database

from bus.clock import Clock
from bus.errors import StoreError, StoreUnavailable
from bus.model import Filter, Posting
from bus.store.mongo import MongoStore
from bus.store.mongo.checks import diagnose
from bus.store.mongo.schema import CLAIM, DELIVERIES, EVENTS, FEED, TASKS, WORKERS, indexes, missing_indexes
from tests.mongod import Deployment

from .samples import NAME, NOW, ONE, a_delivery, a_fan_out, a_task, post

Documents = Database[dict[str, Any]]
Harm = Callable[[Documents], object]


@pytest.fixture
def address(standalone: Deployment, database: Documents) -> str:
    return standalone.address(database.name)


@pytest.fixture
def store(address: str) -> Iterator[MongoStore]:
    """The store on that database, tended once."""
    store = MongoStore(address, daemon=True)
    store.open()
    store.renew(ONE, 60)
    assert [] == look(store)
    yield store
    store.close()


def look(store: MongoStore) -> list[tuple[str, str]]:
    """What tending tells when it looks again: facts with what they are about."""
    store._watch._looked_at = float("-inf")
    return [
        (notice.fact, str(notice.fields.get("collection") or notice.fields.get("what") or ""))
        for notice in store.tend()
    ]


def all_indexes() -> str:
    return ", ".join(missing_indexes({TASKS: {}, EVENTS: {}, DELIVERIES: {}}))


# at the start


def as_capped(name: str) -> Harm:
    return lambda database: database.create_collection(name, capped=True, size=10**6, max=5)


def as_view(name: str) -> Harm:
    return lambda database: database.create_collection(name, viewOn="other", pipeline=[])


def as_time_series(name: str) -> Harm:
    return lambda database: database.create_collection(name, timeseries={"timeField": "at"})


def collated(name: str) -> Harm:
    collation = {"locale": "en", "strength": 2}
    return lambda database: database.create_collection(name, collation=collation)


UNFIT = [
    *((name, as_capped(name), "got a capped one, which deletes") for name in (TASKS, EVENTS, WORKERS)),
    *((name, as_view(name), "got a view") for name in (TASKS, EVENTS, WORKERS, FEED)),
    *((name, as_time_series(name), "got one of the type timeseries") for name in (TASKS, EVENTS)),
    *((name, collated(name), "got one with the collation en: keys that differ") for name in (TASKS, EVENTS)),
]


@pytest.mark.parametrize(("name", "make", "words"), UNFIT)
def test_a_collection_that_cannot_keep_anything_is_refused_at_the_start(
    address: str, database: Documents, name: str, make: Harm, words: str
) -> None:
    """In one sentence with the remedy: a capped one deletes acknowledged tasks, a collation merges keys."""
    make(database)
    with pytest.raises(StoreError, match=f"{name}: expected an ordinary collection, {words}") as caught:
        MongoStore(address, daemon=True).open()

    assert not isinstance(caught.value, StoreUnavailable)
    assert "; copy what it holds into an ordinary one" in str(caught.value)
    found = {one.name: one for one in diagnose(address, Clock())[0]}
    assert ("problem", True) == (found["schema"].verdict, words in found["schema"].value)


def test_an_index_under_our_name_that_is_another_one_is_refused_at_the_start(
    address: str, database: Documents
) -> None:
    """Hidden, for example, it is there and serves nobody."""
    with closing(MongoStore(address, daemon=False)) as first:
        first.open()
    database.command("collMod", TASKS, index={"name": CLAIM, "hidden": True})

    with pytest.raises(StoreError, match=rf"indexes are not what monqbus makes: {TASKS}\.{CLAIM}; drop them"):
        MongoStore(address, daemon=False).open()
    assert "problem" in {one.verdict for one in diagnose(address, Clock())[0] if one.name == "indexes"}


# while it runs


def test_a_database_that_is_as_it_was_is_no_news(store: MongoStore, database: Documents) -> None:
    """However much is in it."""
    post(store, *(a_task() for _ in range(20)))
    store.ping()

    assert [] == look(store)


def test_between_two_looks_the_servers_are_not_asked(store: MongoStore, database: Documents) -> None:
    """It is tended once a second, by every daemon."""
    look(store)
    database.drop_collection(EVENTS)

    assert () == tuple(store.tend())


def drop_the_database(database: Documents) -> None:
    database.client.drop_database(database.name)


def drop_the_tasks(database: Documents) -> None:
    database.drop_collection(TASKS)


def rename_the_tasks(database: Documents) -> None:
    database[TASKS].rename("somewhere")


def put_others_in_their_place(database: Documents) -> None:
    database.drop_collection(TASKS)
    database.create_collection(TASKS)


def drop_and_post(database: Documents) -> None:
    """As after an insert in between: the server makes the collection anew."""
    database.drop_collection(TASKS)
    database[TASKS].insert_one({"task_name": "other"})


@pytest.mark.parametrize(
    "harm", [drop_the_database, drop_the_tasks, rename_the_tasks, put_others_in_their_place, drop_and_post]
)
def test_what_was_dropped_is_told_and_made_anew_and_work_goes_on(
    store: MongoStore, database: Documents, harm: Harm
) -> None:
    """That acknowledged work may be lost is an error; what comes from now on runs."""
    post(store, a_task())
    harm(database)
    told = look(store)

    assert ("store.altered", TASKS) in told
    assert "store.restored" == told[-1][0]
    (task,) = post(store, a_task())
    store.ping()
    assert task.id in [one.id for one in store.claim(ONE, {NAME}, 10, NOW).tasks]
    assert [] == look(store)
    assert [] == missing_indexes(indexes(database))
    assert database[FEED].options().get("capped")


def test_a_dropped_database_is_told_collection_by_collection(store: MongoStore, database: Documents) -> None:
    """What each of them held, and what is there again."""
    store.renew(ONE, 60)
    look(store)
    drop_the_database(database)

    assert [
        ("store.altered", TASKS),
        ("store.altered", EVENTS),
        ("store.altered", DELIVERIES),
        ("store.altered", WORKERS),
        ("store.altered", ""),
        ("store.restored", all_indexes()),
    ] == look(store)


def test_what_was_posted_after_the_drop_and_before_the_look_runs(
    store: MongoStore, database: Documents
) -> None:
    """It was acknowledged, and is in the collection that the server has made for it."""
    drop_the_database(database)
    (posted,) = post(store, a_task())
    look(store)

    assert [posted.id] == [task.id for task in store.claim(ONE, {NAME}, 10, NOW).tasks]


def test_dropped_indexes_are_made_anew_without_a_restart(store: MongoStore, database: Documents) -> None:
    """A claim without its index is refused, so nothing would run."""
    (task,) = post(store, a_task())
    for name in (TASKS, EVENTS, DELIVERIES):
        database[name].drop_indexes()

    assert [("store.altered", ""), ("store.restored", all_indexes())] == look(store)
    assert [task.id] == [one.id for one in store.claim(ONE, {NAME}, 10, NOW).tasks]


def test_a_feed_that_is_gone_or_not_capped_is_made_anew(store: MongoStore, database: Documents) -> None:
    """An insert into a dropped one makes an ordinary collection, which nobody can listen to."""
    database.drop_collection(FEED)
    first = look(store)
    database.drop_collection(FEED)
    database[FEED].insert_one({})
    second = look(store)

    assert [("store.restored", FEED)] == first == second
    assert database[FEED].options().get("capped")
    store.ping()


def test_whoever_could_not_claim_is_woken_when_the_indexes_are_back(
    store: MongoStore, database: Documents
) -> None:
    """The daemon that made them, too; nobody waits for the next poll."""
    assert "lost" == store.listen(0.01).word
    while store.listen(0.01).word != "quiet":
        pass
    database[TASKS].drop_index(CLAIM)
    look(store)

    assert "rang" == store.listen(10).word


@pytest.mark.parametrize("name", [TASKS, EVENTS])
def test_while_a_collection_is_capped_nothing_new_is_taken_and_the_reason_is_said(
    store: MongoStore, database: Documents, name: str
) -> None:
    """It would delete what is acknowledged; once it is an ordinary one again, everything goes on."""
    post(store, a_task())
    database.command("convertToCapped", name, size=10**6)
    told = look(store) + look(store)

    assert [("store.altered", name), ("store.altered", "")] == told
    for call in (store.ping, lambda: store.post([a_fan_out(a_delivery(), a_task())])):
        with pytest.raises(StoreUnavailable, match=rf"{name}: expected an ordinary collection, got a capped"):
            call()
    database[name].rename("capped")
    database["capped"].aggregate([{"$out": name}])
    look(store)
    store.ping()
    store.post([a_fan_out(a_delivery(), a_task())])
    assert store.claim(ONE, {NAME}, 10, NOW).tasks


def test_a_program_that_nobody_tends_looks_before_it_posts(address: str, database: Documents) -> None:
    """A web application may be connected for months; it asks every few seconds, and not at every post."""
    with closing(MongoStore(address, daemon=False)) as store:
        store.open()
        post(store, a_task())
        database.command("convertToCapped", TASKS, size=10**6)
        post(store, a_task())
        store._watch._looked_at = float("-inf")

        with pytest.raises(StoreUnavailable, match=f"{TASKS}: expected an ordinary collection, got a capped"):
            post(store, a_task())
        database.drop_collection(TASKS)
        store._watch._looked_at = float("-inf")
        post(store, a_task())


def test_an_index_that_cannot_be_made_anew_keeps_new_work_out_until_it_can(
    store: MongoStore, database: Documents
) -> None:
    """Without the unique one a repeated delivery would run twice; whose documents stand twice is said."""
    database[EVENTS].drop_index("monqbus_key")
    database[EVENTS].insert_many([{"key": "same"}, {"key": "same"}])
    told = look(store) + look(store)

    with pytest.raises(StoreUnavailable, match="remove the documents that stand twice"):
        store.post([Posting([a_task()])])
    assert [("store.altered", ""), ("store.altered", "")] == told
    database[EVENTS].delete_many({})
    assert ("store.restored", f"{EVENTS}.monqbus_key") in look(store)
    post(store, a_task())


def test_an_index_that_was_made_in_another_way_keeps_new_work_out(
    store: MongoStore, database: Documents
) -> None:
    """Not unique any more, it lets every repeated delivery in."""
    database[EVENTS].drop_index("monqbus_key")
    database[EVENTS].create_index("key", name="monqbus_key")
    look(store)

    with pytest.raises(StoreUnavailable, match=rf"{EVENTS}\.monqbus_key; drop them, a daemon makes its own"):
        store.ping()
    database[EVENTS].drop_index("monqbus_key")
    look(store)
    store.ping()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"unique": True}, "it is unique"), ({"expireAfterSeconds": 60}, "deletes documents by their age")],
)
def test_an_index_of_somebody_else_that_refuses_or_deletes_is_a_warning(
    store: MongoStore, database: Documents, address: str, options: dict[str, Any], words: str
) -> None:
    """Told once; what it does not concern is taken."""
    database[TASKS].create_index("time_stop", name="theirs", **options)
    store._watch._looked_at = float("-inf")
    (notice,) = store.tend()

    assert ("store.warned", True) == (notice.fact, words in notice.fields["warning"])
    assert [] == look(store)
    post(store, a_task())
    assert {"ready": 1} == store.count(Filter())
    (seen,) = (one for one in diagnose(address, Clock())[0] if one.name == "index")
    assert ("warning", True) == (seen.verdict, f"{TASKS}.theirs" in seen.value)


def test_servers_that_are_away_are_no_news(store: MongoStore, standalone: Deployment) -> None:
    """Whoever needs them says so; a collection that cannot be seen is not gone."""
    with standalone.failing("listCollections", errorCode=11601), pytest.raises(StoreUnavailable):
        look(store)

    assert [] == look(store)
    store.ping()
