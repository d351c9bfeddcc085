"""A report carries postings: the end of a task and the tasks that follow it are one step."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from bus.errors import MonqbusError, NotAccepted
from bus.model import BUSY, COMPLETE, READY, Event, Filter, MonQTask, Posting, Report
from bus.store import open_store
from bus.store.contract import Store
from bus.store.mongo import MongoStore, intake, reports
from bus.store.mongo.intake import Intake
from bus.store.mongo.schema import EVENTS, TASKS
from bus.store.sqlite.store import SqliteStore

from .reporter import report_of
from .samples import CLOCK, NAME, NOW, ONE, a_fan_out, a_task, held, later, post, together

ROOT = Path(__file__).parents[2]
END = {"state": COMPLETE, "time_stop": NOW}


def an_end(task: MonQTask, *postings: Posting) -> Report:
    return Report(task.claim, dict(END), postings)


def fired(key: str = "nightly@noon", **fields: Any) -> Event:
    return Event(CLOCK.new_id(), "nightly", NOW, kind="schedule", key=key, **fields)


def test_an_end_and_what_it_posts_are_stored_together(store: Store) -> None:
    """Tasks with their delay, an event with its fan-out; they wait, even if they came as begun."""
    (task,) = held(store)
    plain = a_task(time_queue=later(60), state=BUSY, worker=ONE.id, generation=1, attempt=1)
    fan_out = a_fan_out(fired(), a_task("a.one"), a_task("a.two"))

    assert [True] == store.report([an_end(task, Posting([plain]), fan_out)])
    assert {"complete": 1, "ready": 3} == store.count(Filter())
    assert (READY, later(60), 0) == _of(store, plain, "state", "time_queue", "generation")
    assert fan_out.event == store.event(fan_out.event.id)  # type: ignore[union-attr]
    assert {one.id for one in fan_out.tasks} == {
        t.id for t in store.claim(ONE, {"a.one", "a.two"}, 9, NOW).tasks
    }


def test_a_late_report_posts_nothing(store: Store) -> None:
    """Whoever holds the task now will post."""
    (task,) = held(store)
    late = Report(task.claim._replace(generation=9), END, [a_fan_out(fired(), a_task()), Posting([a_task()])])

    assert [False] == store.report([late])
    assert {"busy": 1} == store.count(Filter())
    assert [] == store.events(10)


def test_the_same_end_again_posts_nothing_more(store: Store) -> None:
    """Its answer got lost; what it posted may have run and been forgotten since."""
    (task,) = held(store)
    report = an_end(task, Posting([a_task()]), a_fan_out(fired(), a_task()))
    store.report([report])
    store.delete([report.postings[0].tasks[0].id], {READY})

    assert [True] == store.report([report])
    assert {"complete": 1, "ready": 1} == store.count(Filter())


def test_two_that_end_one_task_at_once_post_once(store: Store) -> None:
    """The fence decides, for the postings too."""
    (task,) = held(store)
    ends = [Report(task.claim, {**END, "result": n}, [Posting([a_task()])]) for n in range(4)]
    answers = together(*(partial(store.report, [report]) for report in ends))

    assert 1 == sum(held for (held,) in answers)
    assert {"complete": 1, "ready": 1} == store.count(Filter())


def test_a_held_key_is_not_stored_again(store: Store) -> None:
    """As in a post: an unfinished task's, also of the same report, and that of an event."""
    (task,) = held(store)
    post(store, a_task(key="k"))
    first = a_fan_out(fired(), a_task())
    store.post([first])
    second = a_fan_out(fired(), a_task(), a_task())
    report = an_end(task, Posting([a_task(key="k")]), Posting([a_task(key="n"), a_task(key="n")]), second)

    assert [True] == store.report([report])
    assert {"complete": 1, "ready": 3} == store.count(Filter())
    assert [first.event] == store.events(10)


def test_many_at_once_with_one_key_store_it_once(store: Store) -> None:
    """All of them end."""
    tasks = held(store, 6)
    ends = [an_end(task, Posting([a_task(key="k")]), a_fan_out(fired(), a_task())) for task in tasks]
    answers = together(*(partial(store.report, [report]) for report in ends))

    assert [[True]] * 6 == answers
    assert {"complete": 6, "ready": 2} == store.count(Filter())


def test_an_event_that_nobody_handled_gets_the_tasks_of_a_report(store: Store) -> None:
    """As it gets those of a post."""
    (task,) = held(store)
    first = fired()
    store.post([Posting([], first)])
    again = a_fan_out(fired(), a_task())

    assert [True] == store.report([an_end(task, again)])
    assert [again.tasks[0].id] == [one.id for one in store.claim(ONE, {NAME}, 9, NOW).tasks]
    assert ([again.tasks[0].id], first.id) == _event(store, first)


def test_a_refused_posting_refuses_its_report_and_no_other(store: Store) -> None:
    """Neither its end nor its other postings are stored; the rest of the batch is."""
    tasks = held(store, 3)
    bad = an_end(
        tasks[1], Posting([a_task()]), a_fan_out(fired(), a_task()), Posting([a_task(args=[1 << 70])])
    )
    good = [an_end(tasks[0]), bad, an_end(tasks[2], Posting([a_task()]))]
    with pytest.raises((MonqbusError, OverflowError)):
        store.report(good)

    assert {"busy": 1, "complete": 2, "ready": 1} == store.count(Filter())
    assert tasks[1] == store.get(tasks[1].id)
    assert [] == store.events(10)


def _of(store: Store, task: MonQTask, *names: str) -> tuple[Any, ...]:
    found = store.get(task.id)
    return tuple(getattr(found, name) for name in names)


def _event(store: Store, event: Event) -> tuple[Any, ...]:
    found = store.event(event.id)
    return (found.task_ids, found.id) if found else ()


def test_a_task_that_is_taken_over_between_the_steps_leaves_nothing(mongo_address: str, monkeypatch) -> None:
    """Without transactions the postings come first; they are taken back when the end comes late."""
    with closing(MongoStore(mongo_address, daemon=False)) as store:
        store.open()
        (task,) = held(store)
        real = Intake.store

        def overtaken(*given: Any) -> Any:
            answers = real(*given)
            store.move([task.id], {BUSY}, {"state": READY, "worker": None})
            return answers

        with monkeypatch.context() as patch:
            patch.setattr(Intake, "store", overtaken)
            answers = store.report([an_end(task, Posting([a_task()]), a_fan_out(fired(), a_task()))])

        assert [False] == answers
        assert {"ready": 1} == store.count(Filter())
        assert [] == store.events(10)


def test_nothing_is_stored_when_it_is_cut_short_between_two_postings(new_store: Any, monkeypatch) -> None:
    """Where there are transactions: neither the end nor what was posted before."""
    store = new_store(daemon=False)
    if isinstance(store, MongoStore) and not _has_transactions(store):
        pytest.skip("a server without transactions")
    (task,) = held(store)
    owner, name = (reports, "_post") if isinstance(store, MongoStore) else (SqliteStore, "_post")
    real, calls = getattr(owner, name), []

    def cut(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, cut)
        with pytest.raises(KeyboardInterrupt):
            store.report([an_end(task, a_fan_out(fired(), a_task()), Posting([a_task()]))])

    assert {"busy": 1} == store.count(Filter())
    assert [] == store.events(10)
    assert [True] == store.report([an_end(task, a_fan_out(fired(), a_task()), Posting([a_task()]))])


@pytest.mark.parametrize("same_id", [True, False])
def test_an_event_that_was_only_begun_gets_its_tasks(new_store: Any, monkeypatch, *, same_id: bool) -> None:
    """An ordinary post died between the event and its tasks: who brings it again finishes it, once."""
    store = new_store(daemon=False)
    if not isinstance(store, MongoStore):
        pytest.skip("the embedded store posts in one step")
    first = a_fan_out(fired(), a_task("a.one"), a_task("a.two"))

    def cut(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(intake, "_insert_tasks", cut)
        with pytest.raises(KeyboardInterrupt):
            store.post([first])
    (task,) = held(store)
    again = first if same_id else a_fan_out(fired(), a_task("a.one"), a_task("a.two"))

    assert {"busy": 1} == store.count(Filter())
    assert [True] == store.report([an_end(task, again, Posting([a_task()]))])
    assert {"complete": 1, "ready": 3} == store.count(Filter())
    assert {one.id for one in first.tasks} == {
        t.id for t in store.claim(ONE, {"a.one", "a.two"}, 9, NOW).tasks
    }
    assert first.event == store.event(first.event.id)  # type: ignore[union-attr]


def test_a_late_report_does_not_finish_what_others_began(new_store: Any, monkeypatch) -> None:
    """It stores nothing at all."""
    store = new_store(daemon=False)
    if not isinstance(store, MongoStore) or not _has_transactions(store):
        pytest.skip("a server without transactions")
    first = a_fan_out(fired(), a_task("a.one"))
    store.post([first])
    store._connection.database[EVENTS].update_one({}, {"$unset": {"fanned_out": ""}})
    store._connection.database[TASKS].delete_many({})
    (task,) = held(store)

    assert [False] == store.report([Report(task.claim._replace(generation=9), END, [first])])
    assert {"busy": 1} == store.count(Filter())


def _has_transactions(store: MongoStore) -> bool:
    return "setName" in store._connection.database.command("hello")


@pytest.mark.parametrize("refusing", [TASKS, EVENTS])
def test_a_validator_that_refuses_a_posting_refuses_the_report(new_store: Any, refusing: str) -> None:
    """The reason is raised, and nothing of it stays, with and without transactions."""
    store = new_store(daemon=False)
    if not isinstance(store, MongoStore):
        pytest.skip("the embedded store has no validators")
    (task,) = held(store)
    rule = {"topic": {"$ne": "nightly"}}
    store._connection.database.command("collMod", refusing, validator=rule)

    with pytest.raises(NotAccepted, match="validator"):
        store.report([an_end(task, Posting([a_task()]), a_fan_out(fired(), a_task()))])
    assert {"busy": 1} == store.count(Filter())
    assert [] == store.events(10)


# killed


@pytest.mark.parametrize("kind", ["sqlite", "standalone", "replica_set"])
@pytest.mark.parametrize("where", ["between", "after"])
def test_a_daemon_that_is_killed_leaves_all_of_an_end_or_what_its_repetition_makes_whole(
    kind: str, where: str, request: Any, tmp_path: Path
) -> None:
    """SIGKILL behind what the end posts and before the rest: one step leaves nothing of it. Without such a
    step the postings stay, and their keys make the second time the same.
    """
    deployment = None if kind == "sqlite" else request.getfixturevalue(kind)
    address = kind if deployment is None else deployment.address(f"monqbus_test_{ObjectId()}")
    with closing(open_store(address, tmp_path)) as store:
        (task,) = held(store)
    words = [address, str(tmp_path), str(task.id), where]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.reporter", *words], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert b"there\n" == process.stdout.readline()
        process.kill()
    with closing(open_store(address, tmp_path)) as store:
        left = (store.count(Filter()), len(store.events(9)))
        if deployment is not None and where == "between" and kind == "replica_set":
            deployment.client.admin.command("killAllSessions", [])  # in a minute the server does it
        again = store.report([report_of(task)])
        whole = (store.count(Filter()), len(store.events(9)))

    stays = ({"busy": 1, "ready": 2}, 1) if kind == "standalone" else ({"busy": 1}, 0)
    assert (stays if where == "between" else whole) == left
    assert [True] == again
    assert ({"complete": 1, "ready": 2}, 1) == whole
