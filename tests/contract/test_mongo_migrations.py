"""Schema versions of a MongoDB database: what an earlier version left is brought up to date, once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from bus.clock import Clock
from bus.errors import StoreUnusable
from bus.model import COMPLETE, Event, EventFilter, Posting, Report
from bus.store.documents import event_to_document
from bus.store.mongo import MongoStore, checks, intake, migration
from bus.store.mongo.migration import SCHEMA, SCHEMA_VERSION
from bus.store.mongo.migrations import STEPS, v2_event_kind, v3_delivery_log
from bus.store.mongo.schema import EVENTS

from .samples import NAME, NOW, ONE, TWO, a_delivery, a_fan_out, a_task

Documents = Any
ROOT = Path(__file__).parents[2]


def opened(address: str, *, daemon: bool = True, looks: bool = False) -> closing[MongoStore]:
    store = MongoStore(address, daemon=daemon, looks=looks)
    store.open()
    return closing(store)


def database_of(store: MongoStore) -> Documents:
    return store._connection.database


def version_in(store: MongoStore) -> dict[str, Any] | None:
    found: dict[str, Any] | None = database_of(store)[SCHEMA].find_one()
    return found


@pytest.fixture
def version_1(mongo_address: str) -> str:
    """The address of a database as version 1 left it: events that say no kind, no word of a version."""
    with opened(mongo_address) as store:
        for topic, hook in (("push", "github"), ("order.paid", None)):
            store.post([Posting([], Event(ObjectId(), topic, NOW, hook=hook, delivery=hook))])
        database = database_of(store)
        database[EVENTS].update_many({}, {"$unset": {"kind": ""}})
        database[SCHEMA].drop()
    return mongo_address


def kinds(store: MongoStore) -> set[tuple[str, Any]]:
    return {(document["topic"], document.get("kind")) for document in database_of(store)[EVENTS].find()}


UPGRADED = {("push", "delivery"), ("order.paid", "published")}
AS_IT_WAS = {("push", None), ("order.paid", None)}


def test_a_daemon_upgrades_what_version_1_left(version_1: str) -> None:
    """Every event says its kind, and the database its version."""
    with opened(version_1) as store:
        assert {"_id": "schema", "version": SCHEMA_VERSION} == version_in(store)
        assert UPGRADED == kinds(store)


@pytest.mark.parametrize("looks", [True, False])
def test_commands_and_applications_leave_the_version(version_1: str, *, looks: bool) -> None:
    """They may be newer than the daemons; what says no kind is found by it all the same."""
    with opened(version_1, daemon=False, looks=looks) as store:
        assert version_in(store) is None
        assert AS_IT_WAS == kinds(store)
        for topic, kind in UPGRADED:
            assert [topic] == [event.topic for event in store.events(9, filter=EventFilter(kind=kind))]


@pytest.mark.parametrize(("daemon", "looks"), [(True, False), (False, False), (False, True)])
def test_a_newer_database_is_refused_by_all(mongo_address: str, *, daemon: bool, looks: bool) -> None:
    """With what was expected, what is there, and the remedy; it stays as it is."""
    with opened(mongo_address) as store:
        database_of(store)[SCHEMA].update_one({}, {"$set": {"version": 99}})
        said = f"monq_schema: expected schema version 1 to {SCHEMA_VERSION}, got 99, of a newer monqbus; use"

        with pytest.raises(StoreUnusable, match=said):
            opened(mongo_address, daemon=daemon, looks=looks)
        assert {"_id": "schema", "version": 99} == version_in(store)


def test_a_version_that_is_none_is_refused(mongo_address: str) -> None:
    """Somebody has written there; guessing could undo an upgrade."""
    with opened(mongo_address) as store:
        database_of(store)[SCHEMA].update_one({}, {"$set": {"version": "two"}})

        with pytest.raises(
            StoreUnusable, match="expected a whole number of at least 1 as version, got 'two'"
        ):
            opened(mongo_address)


def test_of_daemons_that_start_at_once_one_does_each_step(version_1: str, monkeypatch: Any) -> None:
    """The others wait for it, and each is ready only when the step is done."""
    calls = []
    begun = threading.Event()
    seen = []

    def slow(database: Documents, keep: Callable[[], None]) -> None:
        calls.append(threading.get_ident())
        begun.wait(10)
        v2_event_kind.migrate(database, keep)

    class Waiting(Clock):
        def sleep(self, seconds: float) -> None:
            """The first one goes on as soon as another is seen to wait."""
            begun.set()
            super().sleep(seconds)

    monkeypatch.setattr(migration, "STEPS", ((2, slow), *STEPS[1:]))

    def start() -> None:
        store = MongoStore(version_1, daemon=True)
        store._clock = Waiting()
        store.open()
        with closing(store):
            seen.append(kinds(store))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert 1 == len(calls)
    assert [UPGRADED] * 3 == seen


def test_a_database_of_version_2_gets_the_delivery_log(mongo_address: str) -> None:
    """Also where it was made already: a step that was cut is begun again."""
    with opened(mongo_address) as store:
        database_of(store)["monq_delivery"].drop()
        database_of(store)[SCHEMA].update_one({}, {"$set": {"version": 2}})
    for _ in range(2):
        with opened(mongo_address, daemon=False) as store:
            v3_delivery_log.migrate(database_of(store), lambda: None)
            indexes = set(database_of(store)["monq_delivery"].index_information())
    with opened(mongo_address) as store:
        version = version_in(store)

    assert {"_id_", "monqbus_ring"} == indexes
    assert {"_id": "schema", "version": SCHEMA_VERSION} == version


def test_a_step_that_was_cut_is_begun_again(version_1: str, monkeypatch: Any) -> None:
    """A kill leaves its lease: the next daemon waits until that is over, and does what is left."""
    with opened(version_1, daemon=False) as store, monkeypatch.context() as patch:
        patch.setattr(v2_event_kind, "BATCH", 1)
        database = database_of(store)
        migration.begin_at_first(database)

        def cut() -> None:
            raise KeyboardInterrupt

        def step(database: Documents, _: Callable[[], None]) -> None:
            v2_event_kind.migrate(database, cut)

        patch.setattr(migration, "STEPS", ((2, step),))
        with pytest.raises(KeyboardInterrupt):
            migration.migrate(database, Clock(), 1)
        held = version_in(store)
        half = kinds(store)
        slept = []

        class LeaseRunsOut(Clock):
            def sleep(self, seconds: float) -> None:
                slept.append(seconds)
                database[SCHEMA].update_one({}, [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}])

        patch.setattr(migration, "STEPS", STEPS)
        migration.migrate(database, LeaseRunsOut(), 60)

        assert (1, True) == (held["version"], "until" in held)  # type: ignore[index]
        assert 1 == len(half & UPGRADED)
        assert 1 == len(slept)
        assert UPGRADED == kinds(store)
        assert {"_id": "schema", "version": SCHEMA_VERSION} == version_in(store)


def _without_kind(event: Event) -> dict[str, Any]:
    """An event as version 1 wrote it."""
    return {name: value for name, value in event_to_document(event).items() if name != "kind"}


KILLED = """
import sys
from pathlib import Path
from bus.store import open_store
from bus.store.mongo.migrations import v2_event_kind
def stand():
    print("there", flush=True)
    sys.stdin.read()
v2_event_kind.BATCH = 1
whole = v2_event_kind.migrate
from bus.store.mongo import migration
migration.STEPS = ((2, lambda database, _: whole(database, stand)),)
from bus.store.mongo import MongoStore
MongoStore(sys.argv[1], daemon=True).open()
"""


def test_a_step_whose_daemon_was_killed_is_begun_again_at_once_on_its_machine(version_1: str) -> None:
    """SIGKILL in the middle: nobody waits for the lease of a process that is seen to be gone."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, version_1], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert b"there\n" == process.stdout.readline()
        process.kill()

    class Impatient(Clock):
        def sleep(self, seconds: float) -> None:
            raise AssertionError("it waits for the dead one's lease")

    with opened(version_1, daemon=False) as store:
        held = version_in(store)
        migration.migrate(database_of(store), Impatient(), 60)

        assert (1, True) == (held["version"], "until" in held)  # type: ignore[index]
        assert UPGRADED == kinds(store)
        assert {"_id": "schema", "version": SCHEMA_VERSION} == version_in(store)


def test_daemons_of_version_1_and_2_work_on_one_database(
    version_1: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rolling upgrade: the old one goes on storing, claiming and ending beside the new one, and neither
    sees less than all of it. It cannot be started again in the upgraded database.
    """
    with opened(version_1, daemon=False) as old, opened(version_1) as new:
        fan_outs = [a_fan_out(a_delivery(name), a_task()) for name in ("of old", "of new")]
        with monkeypatch.context() as patch:
            patch.setattr(intake, "event_to_document", _without_kind)
            old.post(fan_outs[:1])
        new.post(fan_outs[1:])
        stored = {kind for topic, kind in kinds(new) if topic == "github.push"}
        again = [store.post([a_fan_out(a_delivery(name), a_task())]) for store, name in (
            (new, "of old"), (old, "of new"),
        )]  # fmt: skip
        found = [
            {event.delivery for event in store.events(9, filter=EventFilter(kind="delivery"))}
            for store in (old, new)
        ]
        claimed = [store.claim(worker, {NAME}, 1, NOW).tasks for store, worker in ((old, ONE), (new, TWO))]
        ended = [
            store.report([Report(task.claim, {"state": COMPLETE}) for task in tasks])
            for store, tasks in zip((old, new), claimed, strict=True)
        ]
        with monkeypatch.context() as patch:
            patch.setattr(migration, "SCHEMA_VERSION", 1)
            with pytest.raises(StoreUnusable, match=f"expected schema version 1 to 1, got {SCHEMA_VERSION}"):
                opened(version_1)

        assert {None, "delivery"} == stored
        assert [True, True] == [receipt.duplicate for (receipt,) in again]
        assert [{"github", "of old", "of new"}] * 2 == found
        assert [[True], [True]] == ended
        assert {task.id for posting in fan_outs for task in posting.tasks} == {
            task.id for tasks in claimed for task in tasks
        }


def test_a_step_that_fails_gives_its_lease_back(version_1: str, monkeypatch: Any) -> None:
    """The next start need not wait for it."""

    def failing(*_: Any) -> None:
        raise OSError("the network")

    with opened(version_1, daemon=False) as store:
        with monkeypatch.context() as patch:
            patch.setattr(migration, "STEPS", ((2, failing),))
            with pytest.raises(OSError, match="the network"):
                migration.migrate(database_of(store), Clock(), 1)

        assert {"_id": "schema", "version": 1} == version_in(store)


def test_a_step_ends_where_another_daemon_has_taken_over(version_1: str) -> None:
    """It stood still for longer than its lease; what both write is the same."""
    with opened(version_1, daemon=False) as store:
        database = database_of(store)
        migration.begin_at_first(database)

        def late(_: Documents, keep: Callable[[], None]) -> None:
            database[SCHEMA].update_one({}, {"$unset": {"until": ""}})
            migration.migrate(database, Clock(), 1)
            keep()

        with pytest.raises(migration.StoreUnavailable, match="got that of another daemon"):
            migration._try(database, 1, 2, late)
        assert {"_id": "schema", "version": SCHEMA_VERSION} == version_in(store)


def test_an_event_that_others_rules_refuse_stops_nothing(version_1: str) -> None:
    """It stays without a kind, and is read as before."""
    with opened(version_1, daemon=False) as store:
        rule = {"topic": {"$ne": "push"}}
        database_of(store).command("collMod", EVENTS, validator=rule, validationLevel="strict")

    with opened(version_1) as store:
        assert {("push", None), ("order.paid", "published")} == kinds(store)
        assert ["push"] == [event.topic for event in store.events(9, filter=EventFilter(kind="delivery"))]


def test_every_id_gets_its_kind(version_1: str) -> None:
    """Others may have written events under ids of any type; more than a batch of them."""
    with opened(version_1, daemon=False) as store:
        ids = [7, "seven", {"a": 1}, *(ObjectId() for _ in range(v2_event_kind.BATCH + 1))]
        database_of(store)[EVENTS].insert_many([{"_id": one, "topic": "odd", "hook": "x"} for one in ids])

    with opened(version_1) as store:
        assert UPGRADED | {("odd", "delivery")} == kinds(store)


def test_the_version_is_told_to_operators(version_1: str) -> None:
    """As it is, and whether it is about to change; a newer one is a problem with its remedy."""

    def told() -> list[tuple[str, str]]:
        found, _ = checks.diagnose(version_1, Clock())
        return [(one.value, one.verdict) for one in found if one.name == "schema" and "version" in one.value]

    before = told()
    with opened(version_1) as store:
        after = told()
        database_of(store)[SCHEMA].update_one({}, {"$set": {"version": 99}})
        newer = told()

    assert [(f"version 1; the next start of a daemon upgrades it to {SCHEMA_VERSION}", "ok")] == before
    assert [(f"version {SCHEMA_VERSION}", "ok")] == after
    assert [("problem", True)] == [(verdict, "got 99" in value) for value, verdict in newer]
