"""What only the MongoDB store promises: other programs' documents, cheap claims, healing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gevent
import pytest
from bson import Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from gevent.threadpool import ThreadPool
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from bus.clock import UTC, Clock
from bus.direct_start import new_of
from bus.errors import NotStorable, StoreError, StoreUnavailable
from bus.model import COMPLETE, READY, Filter, Instance, Posting, Receipt, Report
from bus.store.contract import CALL_SECONDS
from bus.store.mongo import MongoStore, intake, schema
from bus.store.mongo.claims import Claims
from bus.store.mongo.connection import Connection
from tests.mongod import Deployment

from .samples import (
    NAME,
    NOW,
    ONE,
    PATIENCE,
    TWO,
    a_delivery,
    a_fan_out,
    a_task,
    held,
    later,
    post,
)

Documents = Database[dict[str, Any]]


@pytest.fixture
def store(standalone: Deployment, database: Documents) -> Iterator[MongoStore]:
    """The store on that database."""
    store = MongoStore(standalone.address(database.name), daemon=True)
    store.open()
    yield store
    store.close()


def of_allura(**fields: Any) -> dict[str, Any]:
    """A document as Allura's MonQTask.post writes it: thirteen fields, unused ones null."""
    return {
        "_id": ObjectId(), "args": [1, "x"], "context": {"project_id": None, "user_id": ObjectId()},
        "kwargs": {"a": 5}, "priority": 10, "process": None, "result": None, "result_type": "forget",
        "state": "ready", "task_name": NAME, "time_queue": later(-5), "time_start": None, "time_stop": None,
        **fields,
    }  # fmt: skip


def profiled(database: Documents, command: str) -> list[dict[str, Any]]:
    """What the server noted about each *command* on the tasks."""
    query = {"ns": f"{database.name}.monq_task", "op": command}
    return list(database["system.profile"].find(query).sort("ts", 1))


# other programs' documents


def test_a_document_with_only_thirteen_fields_runs(store: MongoStore, database: Documents) -> None:
    """Another program may write tasks straight into the collection."""
    document = of_allura()
    database.monq_task.insert_one(document)

    (task,) = store.claim(ONE, {NAME}, 10, NOW).tasks
    assert [True] == store.report([Report(task.claim, {"state": COMPLETE, "result": 7, "time_stop": NOW})])

    assert (document["args"], document["kwargs"], document["context"]) == (
        task.args,
        task.kwargs,
        task.context,
    )
    found = database.monq_task.find_one({"_id": task.id})
    assert found is not None
    assert ("complete", 7) == (found["state"], found["result"])


def test_the_thirteen_fields_are_always_written(store: MongoStore, database: Documents) -> None:
    """Another program may read tasks too; what monqbus adds appears only when it says something."""
    (task,) = post(store, a_task())

    assert set(of_allura()) == set(database.monq_task.find_one({"_id": task.id}) or ())


def test_unknown_fields_survive_a_whole_life(store: MongoStore, database: Documents) -> None:
    """A document is never replaced."""
    database.monq_task.insert_one(of_allura(note={"of": "another program"}))

    (task,) = store.claim(ONE, {NAME}, 10, NOW).tasks
    store.report([Report(task.claim, {"state": "error", "result": "no"})])
    store.move([task.id], {"error"}, {"state": READY})

    found = database.monq_task.find_one({"_id": task.id})
    assert found is not None
    assert {"of": "another program"} == found["note"]


@pytest.mark.parametrize("time_queue", [{}, {"time_queue": None}, {"time_queue": "yesterday"}])
def test_without_a_moment_in_time_queue_nothing_is_claimed(
    store: MongoStore, database: Documents, time_queue: dict[str, Any]
) -> None:
    """As in Allura: null or absent means never."""
    document = of_allura()
    del document["time_queue"]
    database.monq_task.insert_one({**document, **time_queue})

    assert ([], None) == store.claim(ONE, {NAME}, 10, NOW)


def test_a_date_that_python_cannot_hold_does_not_stop_the_queue(
    store: MongoStore, database: Documents
) -> None:
    """MongoDB's dates reach further than the year 9999."""
    database.monq_task.insert_one(of_allura(args=[DatetimeMS(10**15)], _id=ObjectId()))
    database.monq_task.insert_one(of_allura(time_queue=DatetimeMS(10**15)))

    claimed = store.claim(ONE, {NAME}, 10, NOW)

    assert ([[DatetimeMS(10**15)]], None) == ([task.args for task in claimed.tasks], claimed.next_due)


def test_null_priority_goes_last(store: MongoStore, database: Documents) -> None:
    """Allura allows it; the index and the merge of queries agree on it."""
    names = [f"shop.{n:03}" for n in range(200)]
    database.monq_task.insert_one(of_allura(task_name=names[0], priority=None))
    post(store, a_task(names[199], priority=-9))

    assert [names[199], names[0]] == [task.task_name for task in store.claim(ONE, names, 10, NOW).tasks]


def test_busy_tasks_of_another_program_are_no_orphans(store: MongoStore, database: Documents) -> None:
    """Without our `worker` field it is not ours to rescue."""
    database.monq_task.insert_one(of_allura(state="busy", process="host pid 1"))

    assert [] == store.orphans(ONE, 10)


# claims


def test_a_claim_reads_as_many_index_keys_as_it_takes_tasks(store: MongoStore, database: Documents) -> None:
    """Neither 20,000 delayed tasks nor 20,000 of unknown names in front cost the claim anything."""
    delayed = [of_allura(time_queue=later(900), priority=10 + n % 3) for n in range(20_000)]
    unknown = [of_allura(task_name="other.task", priority=99) for _ in range(20_000)]
    database.monq_task.insert_many([*delayed, *unknown, *(of_allura(priority=5) for _ in range(150))])
    database.command("profile", 2)

    claimed = store.claim(ONE, {NAME, "shop.other", "shop.third"}, 100, NOW)

    database.command("profile", 0)
    (look,) = profiled(database, "query")
    (take,) = profiled(database, "update")
    assert 100 == len(claimed.tasks)
    assert 100 == look["nreturned"] == look["docsExamined"] == take["docsExamined"]
    assert look["keysExamined"] <= 100 + 20
    assert not look.get("hasSortStage")


def test_the_next_due_moment_costs_one_key_a_name(store: MongoStore, database: Documents) -> None:
    """An idle daemon asks for it at every poll."""
    names = [f"shop.{n:03}" for n in range(100)]
    documents = [of_allura(task_name=names[n % 100], time_queue=later(9 + n)) for n in range(5_000)]
    database.monq_task.insert_many([*documents, *(of_allura(task_name="other.task") for _ in range(5_000))])
    database.command("profile", 2)

    claimed = store.claim(ONE, names, 100, NOW)

    database.command("profile", 0)
    _, look_ahead = profiled(database, "query")
    assert ([], later(9)) == claimed
    assert (0, True) == (look_ahead["docsExamined"], look_ahead["keysExamined"] <= 100)


def test_counting_by_state_and_waiting_read_no_document(store: MongoStore, database: Documents) -> None:
    """The dashboard asks for them all the time."""
    post(store, *(a_task() for _ in range(50)))
    database.command("profile", 2)

    store.count(Filter())
    store.waiting()

    database.command("profile", 0)
    assert [0, 0] == [noted["docsExamined"] for noted in profiled(database, "command")]


def test_a_search_by_a_pattern_is_ended_by_the_server(store: MongoStore, database: Documents) -> None:
    """Its engine may take long for a pattern: each query says after how long nobody listens any more."""
    database.command("profile", 2)

    store.find(Filter(error="a"), 10)
    store.ids(Filter(error="a"), 10)
    store.count(Filter(error="a"))

    database.command("profile", 0)
    noted = [*profiled(database, "query"), *profiled(database, "command")]
    assert [True] * 3 == [0 < one["command"].get("maxTimeMS", 0) <= 3000 for one in noted]


def test_a_search_that_takes_too_long_says_so(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that the servers are away: they are not, and it is the search that has to change."""
    monkeypatch.setattr("bus.store.mongo.reads.SEARCH_SECONDS", 1e-9)

    with pytest.raises(StoreError, match=r"the search took longer than .* narrow it"):
        store.find(Filter(error="a"), 10)
    assert [] == store.find(Filter(), 10)


@pytest.mark.parametrize(
    "fault",
    [
        {"command": "update", "writeConcernError": {"code": 91, "errmsg": "stopping"}},
        {"command": "find", "skip": 1, "errorCode": 11601},
    ],
    ids=["the answer of the update", "the reading back"],
)
def test_what_a_claim_took_without_an_answer_is_given_back(
    store: MongoStore, standalone: Deployment, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be busy for ever under a daemon that does not know of it."""
    if fault["command"] == "find":  # as where others are faster: what was taken is read back
        monkeypatch.setattr(Claims, "_take_known", lambda *_: None)
    tasks = post(store, *(a_task() for _ in range(3)))
    with standalone.failing(**fault), pytest.raises(StoreUnavailable):
        store.claim(ONE, {NAME}, 2, NOW)
    assert {"ready": 1, "busy": 2} == store.count(Filter())

    claimed = store.claim(ONE, {NAME}, 10, NOW).tasks

    assert [(task.id, 1) for task in tasks] == [(task.id, task.attempt) for task in claimed]
    assert [2, 2, 1] == [task.generation for task in claimed]


@pytest.mark.parametrize("count", [1, 3])
def test_a_claim_that_nobody_disturbs_takes_two_commands(
    store: MongoStore, database: Documents, count: int
) -> None:
    """Somebody waits for it: each further one is a way to the server and back."""
    post(store, *(a_task() for _ in range(count)))
    commands = ("find", "findAndModify", "update", "aggregate")

    def sent() -> dict[str, int]:
        known = database.client.admin.command("serverStatus")["metrics"]["commands"]
        return {name: known[name]["total"] for name in commands}

    before = sent()
    claimed = store.claim(ONE, {NAME}, count, NOW).tasks

    after = sent()
    assert [1, 0, 1, 0] == [after[name] - before[name] for name in commands]
    assert [store.get(task.id) for task in claimed] == claimed
    assert count == len(claimed)


@pytest.mark.parametrize("field", ["generation", "attempt"])
@pytest.mark.parametrize("value", [0, 3, 3.0, Int64(3)], ids=["0", "3", "3.0", "Int64"])
def test_what_a_claim_returns_is_what_is_stored(
    store: MongoStore, database: Documents, field: str, value: object
) -> None:
    """It is not read back: counts of any type of number are counted on, and those of former runs."""
    post(store, a_task(), a_task(), a_task())
    found = [document["_id"] for document in database.monq_task.find().sort("_id")]
    database.monq_task.update_one(
        {"_id": found[0]}, {"$set": {field: value, "worker": "w", "time_stop": NOW}}
    )
    claimed = store.claim(ONE, {NAME}, 3, NOW).tasks

    assert [store.get(task.id) for task in claimed] == claimed
    assert value + 1 == getattr(claimed[0], field)  # type: ignore[operator]


def test_a_task_that_changes_hands_while_it_is_claimed_is_claimed_as_it_is_then(
    store: MongoStore, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its generation says that it has been somebody's since it was read; what was read counts for nothing."""
    (task, other) = post(store, a_task(), a_task())
    take = Claims._take

    def after_others(self: Claims, *words: Any) -> Any:
        change = {"$inc": {"generation": 1, "attempt": 1}, "$set": {"args": ["new"]}}
        database.monq_task.update_one({"_id": task.id}, change)
        return take(self, *words)

    monkeypatch.setattr(Claims, "_take", after_others)
    first, second = store.claim(ONE, {NAME}, 2, NOW).tasks

    assert (task.id, 2, 2, ["new"]) == (first.id, first.generation, first.attempt, first.args)
    assert (other.id, 1, 1) == (second.id, second.generation, second.attempt)
    assert [True, True] == store.report([Report(one.claim, {"state": COMPLETE}) for one in (first, second)])


def test_closing_gives_back_what_a_claim_took_without_an_answer(
    store: MongoStore, standalone: Deployment, database: Documents
) -> None:
    """Stopping right after an outage strands nothing."""
    post(store, a_task())
    with (
        standalone.failing("update", writeConcernError={"code": 91, "errmsg": "stopping"}),
        pytest.raises(StoreUnavailable),
    ):
        store.claim(ONE, {NAME}, 2, NOW)

    store.close()

    assert 1 == database.monq_task.count_documents({"state": "ready", "attempt": 0, "worker": None})


def test_a_dropped_index_is_said_and_not_worked_around(store: MongoStore, database: Documents) -> None:
    """A claim that sorts a million documents would stop the server for everybody."""
    database.monq_task.drop_index(schema.CLAIM)

    with pytest.raises(StoreError, match=r"hint.*a daemon makes a missing index anew"):
        store.claim(ONE, {NAME}, 1, NOW)


# posting


def test_a_fan_out_that_died_halfway_is_finished_by_the_repetition(
    store: MongoStore, standalone: Deployment, database: Documents
) -> None:
    """The event was stored, its tasks were not: the sender was told 503 and sends again."""
    first = a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))
    with (
        standalone.failing("insert", errorCode=11601, namespace=f"{database.name}.monq_task"),
        pytest.raises(StoreUnavailable),
    ):
        store.post([first])
    assert ({}, first.event) == (store.waiting(), store.event(first.event.id))  # type: ignore[union-attr]

    again = a_fan_out(a_delivery(), a_task("a.two"), a_task("a.new"), a_task("a.one"))
    (healed,) = store.post([again])
    (third,) = store.post([a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))])

    (one, two), new = first.tasks, again.tasks[1]
    assert Receipt([two.id, new.id, one.id], one.event_id, duplicate=True) == healed == third
    tasks = store.claim(ONE, {"a.one", "a.two", "a.new"}, 10, NOW).tasks
    assert {"a.one": one.id, "a.two": two.id, "a.new": new.id} == {t.task_name: t.id for t in tasks}
    assert {one.event_id} == {task.event and task.event.id for task in tasks}


def test_healing_does_not_repeat_what_has_run(store: MongoStore, database: Documents) -> None:
    """The mark on the event may be lost; the ids still tell that the tasks were stored."""
    first = a_fan_out(a_delivery(), a_task())
    store.post([first])
    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    store.report([Report(task.claim, {"state": COMPLETE})])
    database.monq_event.update_one({"_id": task.event_id}, {"$unset": {"fanned_out": ""}})

    (receipt,) = store.post([a_fan_out(a_delivery(), a_task())])

    assert Receipt([task.id], task.event_id, duplicate=True) == receipt
    assert {"complete": 1} == store.count(Filter())


def test_a_healed_task_waits_although_its_repetition_was_posted_as_busy(
    store: MongoStore, standalone: Deployment, database: Documents
) -> None:
    """The poster of a duplicate runs nothing, so nothing may be held in its name."""
    with (
        standalone.failing("insert", errorCode=11601, namespace=f"{database.name}.monq_task"),
        pytest.raises(StoreUnavailable),
    ):
        store.post([a_fan_out(a_delivery(), a_task())])

    running: dict[str, Any] = {
        "state": "busy",
        "worker": ONE.id,
        "process": "p",
        "attempt": 1,
        "generation": 1,
    }
    store.post([a_fan_out(a_delivery(), a_task(**running))])

    (task,) = store.claim(TWO, {NAME}, 1, NOW).tasks
    assert (1, 1, TWO.id) == (task.attempt, task.generation, task.worker)


def test_one_posting_that_cannot_be_stored_leaves_the_others_alone(store: MongoStore) -> None:
    """Group commit puts strangers into one call."""
    large = Posting([], a_delivery("large"))
    large.event.args = ["x" * (17 * 1024 * 1024)]  # type: ignore[union-attr]
    good = [Posting([a_task()]) for _ in range(3)]

    calls = [gevent.spawn(store.post, [posting]) for posting in [*good, large]]
    gevent.joinall(calls, timeout=PATIENCE)

    assert [True, True, True, False] == [call.successful() for call in calls]
    assert isinstance(calls[3].exception, NotStorable)
    assert {"ready": 3} == store.count(Filter())


# reports


def test_a_report_whose_answer_was_lost_is_true_when_repeated(
    store: MongoStore, standalone: Deployment
) -> None:
    """It is recorded, and the one who asks again is told so."""
    tasks = held(store, 3)
    reports = [
        Report(task.claim, {"state": COMPLETE, "result": [1.5, None], "worker": None}) for task in tasks
    ]
    with (
        standalone.failing("update", writeConcernError={"code": 91, "errmsg": "stopping"}),
        pytest.raises(StoreUnavailable),
    ):
        store.report(reports)

    assert [True] * 3 == store.report(reports)
    assert [False] * 3 == store.report([Report(task.claim, {"state": "error"}) for task in tasks])


def test_a_result_too_large_for_its_document_does_not_stop_the_end(store: MongoStore) -> None:
    """8 MiB of arguments and 8 MiB of result are each allowed and together more than 16 MiB."""
    half = "x" * (8 * 1024 * 1024 - 100)
    (large,) = held(store, args=[half])
    (small,) = held(store)
    ends = [Report(task.claim, {"state": COMPLETE, "result": half}) for task in (large, small)]

    assert [True, True] == store.report(ends)
    assert ["dict", "str"] == [type(store.get(t.id).result).__name__ for t in (large, small)]  # type: ignore[union-attr]


# leases


def test_long_dead_instances_are_forgotten_unless_they_hold_tasks(
    store: MongoStore, database: Documents
) -> None:
    """One document a daemon start would add up."""
    old = datetime.now(UTC) - timedelta(days=2)
    database.monq_worker.insert_many([{"_id": name, "lease_until": old} for name in ("gone", ONE.id)])
    store.renew(Instance("recent", "p"), 0)
    (task,) = held(store, instance=ONE)

    assert [task] == store.orphans(TWO, 10)
    assert {ONE.id, "recent"} == set(database.monq_worker.distinct("_id"))


def test_a_native_thread_renews_while_the_hub_is_blocked(standalone: Deployment, database: Documents) -> None:
    """Task code that computes without yielding must not cost the daemon its lease."""
    thread = ThreadPool(1)
    renewals: list[float] = []
    address = standalone.address(database.name)

    def renew_three_times() -> None:
        store = MongoStore(address, daemon=False)
        store.open()
        for _ in range(3):
            store.renew(ONE, 60)
            renewals.append(time.monotonic())
        store.close()

    renewing = thread.spawn(renew_three_times)
    deadline = time.monotonic() + PATIENCE
    while len(renewals) < 3 and time.monotonic() < deadline:
        sum(range(1000))  # this greenlet never yields
    blocked_until = time.monotonic()

    assert [True] * 3 == [moment < blocked_until for moment in renewals]
    renewing.get(timeout=PATIENCE)
    thread.kill()


def test_a_process_without_gevent_posts_without_gevent(standalone: Deployment, database: Documents) -> None:
    """A web application's threads are its own business."""
    code = f"""
import sys
from bus.clock import Clock
from bus.model import MonQTask, Posting
from bus.store.mongo import MongoStore
store = MongoStore({standalone.address(database.name)!r}, daemon=False)
store.open()
store.post([Posting([MonQTask(Clock().new_id(), "a.b", [], {{}}, Clock().now())])])
store.ring()
store.close()
assert "gevent" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=PATIENCE)

    assert 1 == database.monq_task.count_documents({"task_name": "a.b"})


# opening


def test_a_server_that_is_too_old_is_refused(
    standalone: Deployment, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better no start than wrong answers."""
    monkeypatch.setattr(schema, "OLDEST_SERVER", (99, 1))

    with pytest.raises(StoreError, match=r"expected 99\.1 or newer, got \d+\.\d+.*update the server"):
        MongoStore(standalone.address(database.name), daemon=False).open()


def test_without_a_database_in_the_address_its_name_is_monqbus() -> None:
    """mongodb://host is an address too."""
    connection = Connection("mongodb://127.0.0.1:1")
    connection.open()

    assert "monqbus" == connection.database.name
    connection.close()


@pytest.mark.parametrize(
    "options, concern, silence",
    [
        ("", {"w": "majority", "j": True}, 10.0),
        ("?w=2&wtimeoutMS=700", {"w": 2, "j": True, "wtimeout": 700}, 10.0),
        ("?journal=false&socketTimeoutMS=2500", {"w": "majority", "j": False}, 2.5),
    ],
)
def test_what_the_address_says_wins(options: str, concern: dict[str, Any], silence: float) -> None:
    """Majority and journal are the default; who writes another wish knows why."""
    connection = Connection(f"mongodb://127.0.0.1:1/name{options}")
    connection.open()

    assert concern == connection.database.write_concern.document
    assert silence == connection.silence_seconds
    connection.close()


def test_writing_without_an_answer_is_refused() -> None:
    """w=0 would turn every promise into a hope."""
    with pytest.raises(StoreError, match="w=0"):
        Connection("mongodb://127.0.0.1:1/?w=0").open()


def test_a_claim_that_is_given_back_late_does_not_undo_the_next_one(
    standalone: Deployment, store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packet held up by the network arrives when the same instance has claimed the task again."""
    (task,) = post(store, a_task())
    with (
        standalone.failing("update", writeConcernError={"code": 91, "errmsg": "stopping"}),
        pytest.raises(StoreUnavailable),
    ):
        store.claim(ONE, {NAME}, 1, NOW)
    held_up: list[tuple[Any, ...]] = []
    write = Collection.update_many

    def hold_up(tasks: Collection[dict[str, Any]], *words: Any) -> None:
        held_up.append((tasks, *words))
        raise AutoReconnect

    with monkeypatch.context() as network, pytest.raises(StoreUnavailable):
        network.setattr(Collection, "update_many", hold_up)
        store.claim(ONE, {NAME}, 1, later(1))
    (mine,) = store.claim(ONE, {NAME}, 1, later(2)).tasks
    write(*held_up[0])

    assert (task.id, 2) == (mine.id, mine.generation)
    assert [] == store.claim(TWO, {NAME}, 1, later(3)).tasks
    assert [True] == store.report([Report(mine.claim, {"state": COMPLETE})])


def test_a_renewal_tells_how_often_the_lease_had_run_out(store: MongoStore) -> None:
    """By the server's clock, whatever this machine's says; a renewal in time adds nothing."""
    seen = [store.renew(ONE, seconds) for seconds in (60, 60, 0, 60, 60)]

    assert [0, 0, 0, 1, 1] == seen


@pytest.mark.parametrize(
    "identity", [{"boot": "b", "space": "s", "pid": 1, "start": 2, "machine": "m"}, {}, 7]
)
def test_what_another_version_says_of_its_process_stops_no_rescue(
    store: MongoStore, database: Documents, identity: object
) -> None:
    """A newer daemon may say more than this one understands."""
    lease = {"process": "p", "lease_until": Clock().now() + timedelta(hours=1), "birth": identity}
    database.monq_worker.insert_one({"_id": "newer", **lease})
    (other,) = store.instances()

    assert "newer" == other.id
    assert (identity is not None and isinstance(identity, dict) and "pid" in identity) == (
        other.identity is not None
    )


def test_an_event_that_is_handed_over_twice_runs_once(store: MongoStore) -> None:
    """Its task may have ended, and be forgotten, before the second time; with a delivery id or without."""
    for delivery in ("d-1", None):
        posting = a_fan_out(a_delivery(delivery), a_task())
        (first,) = store.post([posting])
        (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks
        store.report([Report(task.claim, {"state": COMPLETE})])
        store.delete([task.id], [COMPLETE])
        (second,) = store.post([posting])

        assert first._replace(repeated=True) == second
        assert {} == store.count(Filter())


def test_what_an_earlier_try_of_the_same_call_stored_is_new(store: MongoStore, database: Documents) -> None:
    """One posting that the server refuses makes each be tried alone: the others are not repeated by that."""
    database.command("collMod", "monq_task", validator={"args": {"$ne": ["bad"]}})
    twice = Posting([a_task(args=["twice"])])
    answers = store._intake.store([twice, Posting([a_task(args=["bad"])]), Posting([a_task()]), twice])

    repeated = [answer.repeated if isinstance(answer, Receipt) else "refused" for answer in answers]
    assert [False, "refused", False, True] == repeated
    assert [True] == [receipt.repeated for receipt in store.post([twice])]


def test_what_nothing_can_hold_makes_no_repetition_of_what_is_posted_beside_it(store: MongoStore) -> None:
    """However often the call is divided until that one is alone: a task told as repeated is not begun."""
    twice = a_fan_out(a_delivery("d-1"), a_task())
    answers = store._intake.store([twice, Posting([a_task(args=[2**70])]), Posting([a_task()]), twice])

    repeated = [answer.repeated if isinstance(answer, Receipt) else "refused" for answer in answers]
    assert [False, "refused", False, True] == repeated


def test_the_store_is_ready_when_it_can_write(store: MongoStore, standalone: Deployment) -> None:
    """A primary that answers and cannot write is not; what was written in the last second counts."""
    store.ping()
    with standalone.failing("update", times=5, errorCode=64):
        store.ping()
        store._written_at = float("-inf")
        with pytest.raises(StoreUnavailable):
            store.ping()

    assert [] == store.instances()


def test_no_call_lasts_longer_than_the_contract_says(standalone: Deployment) -> None:
    """An address may only make them shorter: leases and audits reckon with it."""
    addresses = [f"{standalone.uri}&timeoutMS={ms}".replace("/?&", "/?") for ms in (60_000, 300)]
    seconds = []
    for address in addresses:
        connection = Connection(address)
        connection.open()
        seconds.append(connection._seconds)
        connection.close()

    assert [CALL_SECONDS, 0.3] == seconds


@pytest.mark.parametrize("option", ["tlsCAFile", "tlsCertificateKeyFile", "tlsCRLFile"])
def test_a_pipe_in_place_of_a_certificate_is_refused(tmp_path: Path, option: str) -> None:
    """The driver would open it, and wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe")
    store = MongoStore(f"mongodb://127.0.0.1:1/?tls=true&{option}={tmp_path}/pipe", daemon=False)

    with pytest.raises(StoreError, match="it is a pipe, not a file"):
        store.open()


def test_a_delivery_that_nobody_takes_any_more_leaves_the_first_as_it_is(
    store: MongoStore, database: Documents
) -> None:
    """A rule filters it now, and the mark of the first got lost: its tasks are its tasks all the same."""
    first = a_fan_out(a_delivery(), a_task())
    store.post([first])
    database.monq_event.update_one({}, {"$unset": {"fanned_out": ""}})
    (receipt,) = store.post([Posting([], a_delivery(is_filtered=True))])
    (again,) = store.post([a_fan_out(a_delivery(), a_task())])

    assert [[first.tasks[0].id]] * 2 == [receipt.task_ids, again.task_ids]
    assert {"ready": 1} == store.count(Filter())


def test_a_replay_that_was_cut_short_is_finished_by_the_next(store: MongoStore, monkeypatch) -> None:
    """Its tasks are written on the event; the daemon died before they were stored."""
    event = a_delivery()
    store.post([Posting([], event)])
    cut = a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))
    with monkeypatch.context() as patch:
        patch.setattr(intake, "_insert_tasks", lambda *_: (_ for _ in ()).throw(AutoReconnect("cut")))
        with pytest.raises(StoreUnavailable):
            store.post([cut])
    assert {} == store.count(Filter())
    (receipt,) = store.post([a_fan_out(a_delivery(), a_task("a.one"), a_task("a.two"))])
    named = [task.id for task in cut.tasks]

    assert Receipt(named, event.id, duplicate=True) == receipt
    assert {"ready": 2} == store.count(Filter())
    assert named == store.event(event.id).task_ids  # type: ignore[union-attr]


def test_what_another_daemon_has_finished_meanwhile_is_begun_by_nobody_who_only_began_it(
    store: MongoStore, monkeypatch
) -> None:
    """It brings the same event between two steps of the first one, whose tasks should begin at once.

    They stand there as ready then, and whoever claims them runs them; the first one ran them, too.
    """
    insert = intake._insert_tasks
    first = a_fan_out(a_delivery(), a_task(state="busy", worker="w1", generation=1, attempt=1))
    second = a_fan_out(a_delivery(), a_task())

    def meanwhile(*words: Any) -> Any:
        monkeypatch.setattr(intake, "_insert_tasks", insert)
        answers.extend(store._intake.store([second]))
        return insert(*words)

    answers: list[Any] = []
    monkeypatch.setattr(intake, "_insert_tasks", meanwhile)
    answers += store._intake.store([first])
    later, earlier = answers
    (task,) = store.find(Filter(), 10)

    assert ([], []) == (new_of(second, later), new_of(first, earlier))
    assert ("ready", first.tasks[0].id) == (task.state, task.id)
    assert [[task.id]] * 2 == [later.task_ids, earlier.task_ids]


# forgetting


def test_pruning_looks_up_the_tasks_of_events_and_no_others(store: MongoStore, database: Documents) -> None:
    """However many tasks have ended: one index key for each task of the events of a page."""
    post(store, *(a_task(state="error", event_id=ObjectId()) for _ in range(300)))
    for n in range(5):
        store.post(
            [a_fan_out(a_delivery(f"{n}", expire_at=NOW), a_task(state="error"), a_task(state="complete"))]
        )
    database.command("profile", 2)
    pruned = store.prune(NOW, 100)
    database.command("profile", 0)
    (looked,) = [
        entry
        for entry in profiled(database, "command")
        if entry["command"].get("distinct") or "event_id" in str(entry["command"].get("pipeline"))
    ]

    assert 0 == pruned
    assert "IXSCAN { event_id: 1 }" == looked["planSummary"]
    assert 5 >= looked["docsExamined"], looked
    events = list(database["system.profile"].find({"ns": f"{database.name}.monq_event", "op": "query"}))
    assert [0, 0] == [entry["docsExamined"] for entry in events], "a body was read"


def test_an_index_of_an_earlier_version_makes_room_for_the_one_in_its_place(
    standalone: Deployment, database: Documents
) -> None:
    """Both would be written at every change of a task."""
    unended = {"event_id": {"$exists": True}, "state": {"$in": ["ready", "busy"]}}
    database.monq_task.create_index("event_id", name="monqbus_event", partialFilterExpression=unended)
    kept = {"expire_at": {"$exists": True}}
    database.monq_event.create_index("expire_at", name="monqbus_expire", partialFilterExpression=kept)
    opened = MongoStore(standalone.address(database.name), daemon=False)
    opened.open()
    opened.close()
    tasks, events = (set(database[name].index_information()) for name in ("monq_task", "monq_event"))

    assert (True, False) == (schema.OF_EVENT in tasks, "monqbus_event" in tasks)
    assert {"_id_", "monqbus_key", "monqbus_guard", "monqbus_past"} == events


def test_a_daemon_whose_clock_is_ahead_forgets_nothing_of_the_others(store: MongoStore) -> None:
    """Past its time is what the server's clock says as well."""
    in_a_day = Clock().now() + timedelta(days=1)
    post(store, a_task(state="complete", expire_at=in_a_day))
    store.post([Posting([], a_delivery(expire_at=in_a_day))])

    assert 0 == store.prune(Clock().now() + timedelta(days=400), 10)
