"""`coalesce`: of what waits under one serial key only one runs, the others end as skipped and name it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bus.apps.options import Options
from bus.config import Hook
from bus.engine import coalescing
from bus.engine.coalescing import Coalescing
from bus.errors import BadDeclaration
from bus.model import Event, Filter
from bus.rules import OF_AN_EVENT, key_path

KEEP = timedelta(days=2)


@pytest.fixture
def began(engine) -> list[Any]:
    """What has begun of `latest`, `first` and `all`, whose key is their first argument."""
    began: list[Any] = []
    for name, mode in (("latest", "latest"), ("first", "first"), ("all", None)):
        engine.declare(lambda _, mark: began.append(mark), name, serial_by="args.0", coalesce=mode)
    engine.executor.coalescing = Coalescing(engine.store, engine.clock, lambda: KEEP)
    return began


def post(engine, name: str, *marks: Any, key: str = "k") -> list[Any]:
    options = engine.registry.tasks[name].defaults
    return [engine.office.post(name, [key, mark], {}, options) for mark in marks]


def work(engine) -> None:
    """Claim, run and record until nothing is left."""
    for _ in range(20):
        engine.claimer.tick()
        engine.pool.drain(5)
        engine.recorder.tick()


def states(engine, tasks: list[Any]) -> list[str]:
    return [engine.now(task).state for task in tasks]


def test_of_what_waits_the_latest_runs(engine, began, facts):
    """The others name it, and are kept as skipped tasks are."""
    tasks = post(engine, "latest", 1, 2, 3, 4)
    work(engine)

    assert ([4], ["skipped"] * 3 + ["complete"]) == (began, states(engine, tasks))
    assert {f"coalesced: task {tasks[3].id} runs in its place"} == {
        engine.now(task).result for task in tasks[:3]
    }
    assert all(engine.now(task).expire_at for task in tasks[:3])
    assert [(tasks[3].id, 3)] == [(fact["into"], fact["count"]) for fact in facts.of("task.coalesced")]


def test_of_what_waits_the_first_runs(engine, began):
    """Those that came while it waited are skipped."""
    tasks = post(engine, "first", 1, 2, 3)
    work(engine)

    assert ([1], ["complete", "skipped", "skipped"]) == (began, states(engine, tasks))


@pytest.mark.parametrize(("name", "second"), [("latest", 4), ("first", 2)])
def test_what_comes_while_one_runs_waits_for_its_end(engine, began, name, second):
    """One more runs behind it, whichever: no event goes without a run that began after it."""
    (first,) = post(engine, name, 1)
    engine.claimer.tick()
    engine.pool.drain(5)
    post(engine, name, 2, 3, 4)
    engine.recorder.tick()
    work(engine)

    assert [1, second] == began
    assert "complete" == engine.now(first).state


def test_keys_are_coalesced_each_for_itself(engine, began):
    post(engine, "latest", 1, 2, key="a")
    post(engine, "latest", 3, 4, key="b")
    post(engine, "all", 5, 6)
    work(engine)

    assert [2, 4, 5, 6] == sorted(began)


def test_more_than_a_page_is_coalesced(engine, began, monkeypatch):
    """Whatever their number."""
    monkeypatch.setattr(coalescing, "PAGE", 2)
    post(engine, "latest", *range(9))
    post(engine, "first", *range(10, 19))
    work(engine)

    assert [8, 10] == sorted(began)
    assert {"complete": 2, "skipped": 16} == engine.store.count(Filter())


def test_a_store_that_is_away_releases_the_task(engine, began):
    """It is neither run nor skipped, and uses no attempt."""
    (task,) = post(engine, "latest", 1)
    engine.faulty.fail_next("line")
    engine.claimer.tick()
    engine.pool.drain(5)
    engine.recorder.tick()

    assert ("ready", 0) == (engine.now(task).state, engine.now(task).attempt)
    assert [] == began


def test_a_hook_coalesces_the_tasks_of_its_deliveries(engine, began):
    """Those of handlers without a serial_by of their own."""
    hook = Hook("x", "none", serial_by=key_path("body.ref", OF_AN_EVENT), coalesce="latest")
    engine.executor.coalescing = Coalescing(engine.store, engine.clock, lambda: KEEP, lambda: {"x": hook})
    engine.office._hooks = lambda: {"x": hook}
    engine.declare(lambda _, event: began.append(event.json["n"]), "plain", topic="a")
    for n in range(3):
        clock = engine.clock
        body = b'{"ref": "main", "n": %d}' % n
        engine.office.deliver(Event(clock.new_id(), "a", clock.now(), hook="x", delivery=f"{n}", body=body))
    work(engine)

    assert [2] == began


@pytest.mark.parametrize("options", [{"coalesce": "latest"}, {"coalesce": "last", "serial_by": "args.0"}])
def test_what_cannot_be_coalesced_is_refused_where_it_is_declared(options):
    """A key is needed, and one of the two words."""
    with pytest.raises(BadDeclaration, match="task option coalesce: expected"):
        Options(**options)
