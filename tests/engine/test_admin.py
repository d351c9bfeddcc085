"""Every operator action: see, retry, cancel, purge; page by page."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from bson import ObjectId
from gevent.event import Event as Signal

from bus.admin import PAGE, Admin
from bus.apps.options import Options
from bus.errors import NotFound, Withdrawn
from bus.model import STATES, Filter, MonQTask, Posting

PATIENCE = 5.0


class Office:
    """An Admin, whom it withdrew and how often it woke the claimer."""

    def __init__(self, engine) -> None:
        self.engine = engine
        self.withdrawn: list[ObjectId] = []
        self.woken: list[bool] = []
        self.admin = Admin(
            engine.store,
            engine.clock,
            withdraw=self.withdrawn.extend,
            wake=lambda: self.woken.append(True),
        )

    def keep(self, *states, **fields) -> list[ObjectId]:
        """Tasks in *states*, stored by somebody."""
        now = self.engine.clock.now()
        tasks = [MonQTask(ObjectId(), "t", [], {}, now, state=state, **fields) for state in states]
        self.engine.store.post([Posting(tasks)])
        return [task.id for task in tasks]

    @property
    def counts(self) -> dict[str, int]:
        return self.engine.store.count(Filter())


@pytest.fixture
def office(engine):
    return Office(engine)


def test_a_retry_gives_failed_and_skipped_tasks_a_fresh_start(office, engine, facts):
    """Attempts, crashes, result and output are as on the first day; only the history stays."""
    (task_id,) = office.keep(
        "error", attempt=8, crashes=3, result="Traceback", output="x", progress={"fraction": 1},
        worker="w", generation=4, time_start=engine.clock.now(), time_stop=engine.clock.now(),
        expire_at=engine.clock.now(), history=[{"error": "no"}],
    )  # fmt: skip
    office.keep("skipped", "complete", "busy", "ready", worker="w")
    engine.clock.advance(9)

    assert (2, None) == office.admin.retry(Filter())
    task = engine.store.get(task_id)
    fresh = MonQTask(task_id, "t", [], {}, engine.clock.now(), generation=4, history=[{"error": "no"}])
    assert fresh == task
    assert {"ready": 3, "busy": 1, "complete": 1} == office.counts
    assert [("task.moved", {"to": "ready", "count": 2})] == facts.told
    assert [True] == office.woken


def test_a_retried_task_can_be_claimed_under_a_new_fence(office, engine):
    """An end that its old holder still sends changes nothing."""
    (task_id,) = office.keep("error", generation=4, worker="w")
    office.admin.retry(Filter(ids=(task_id,)))
    (task,) = engine.store.claim(engine.instance, ["t"], 1, engine.clock.now()).tasks

    assert (5, 1) == (task.generation, task.attempt)


def test_a_retry_leaves_a_task_whose_key_is_held(office, engine):
    """Two unfinished tasks with one key must not come to be."""
    office.keep("error", key="k")
    office.keep("ready", key="k")

    assert (0, None) == office.admin.retry(Filter())
    assert {"error": 1, "ready": 1} == office.counts
    assert [] == office.woken


def test_a_cancel_skips_ready_and_busy_tasks(office, engine, facts):
    ids = office.keep("ready", "busy", worker="w")
    office.keep("error", "complete")

    assert (2, None) == office.admin.cancel(Filter())
    task = engine.store.get(ids[0])
    assert ("cancelled by an operator", engine.clock.now()) == (task.result, task.time_stop)
    assert 30 == (task.expire_at - engine.clock.now()).days
    assert {"skipped": 2, "error": 1, "complete": 1} == office.counts
    assert set(ids) == set(office.withdrawn)


def test_a_cancelled_task_that_runs_is_interrupted_and_stays_skipped(engine, facts):
    """Whatever its handler makes of it."""
    entered, caught = Signal(), []

    def work():
        entered.set()
        try:
            Signal().wait(PATIENCE)
        except Withdrawn:
            caught.append("withdrawn")
            raise

    engine.declare(work)
    task = engine.waiting()
    admin = Admin(engine.store, engine.clock, withdraw=lambda ids: engine.pool.interrupt(ids, Withdrawn))
    engine.claimer.tick()
    assert entered.wait(PATIENCE)
    admin.cancel(Filter(ids=(task.id,)))
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()

    assert ["withdrawn"] == caught
    assert "skipped" == engine.now(task).state
    assert ["task.skipped"] == [name for name in facts.names if name in ("task.skipped", "task.lost")]


@pytest.mark.parametrize("state", STATES)
def test_a_purge_never_touches_ready_or_busy_tasks(office, state):
    """Not even when they are asked for by name."""
    office.keep(state, worker="w")
    done, _ = office.admin.purge(Filter(states=(state,)))

    assert ((0, {state: 1}) if state in ("ready", "busy") else (1, {})) == (done, office.counts)


@pytest.mark.parametrize(("act", "state"), [("retry", "error"), ("cancel", "ready"), ("purge", "complete")])
def test_a_bulk_action_goes_page_by_page_until_there_is_no_last(office, act, state):
    """A million tasks never stand in memory; every one is reached once."""
    office.keep(*[state] * (2 * PAGE + 1))
    steps, last = [], None
    while True:
        done, last = getattr(office.admin, act)(Filter(), last)
        steps.append(done)
        if last is None:
            break

    assert [PAGE, PAGE, 1] == steps
    assert [] == office.engine.store.find(Filter(states=(state,)), 1)


def test_the_filter_narrows_every_action(office, engine):
    office.keep("error", topic="a")
    office.keep("error", topic="b")

    assert 1 == office.admin.retry(Filter(topic="a")).done
    assert {"error": 1} == office.admin.count(Filter(topic="b"))
    assert ["b"] == [task.topic for task in office.admin.find(Filter(states=("error",)), 9)]
    assert 0 == office.admin.cancel(Filter(states=("error",))).done


def test_what_is_not_there_is_said_with_the_reason(office, engine):
    receipt = engine.office.publish("a", [], {})
    (task_id,) = office.keep("ready")

    assert task_id == office.admin.show(task_id).id
    assert receipt.event_id == office.admin.event(receipt.event_id).id
    with pytest.raises(NotFound, match="task 000000000000000000000000: not found; ended tasks are forgotten"):
        office.admin.show(ObjectId("0" * 24))
    with pytest.raises(NotFound, match="event 000000000000000000000000: not found; events are forgotten"):
        office.admin.event(ObjectId("0" * 24))


def test_without_a_claimer_of_its_own_a_retry_rings(engine):
    """The daemons on the shared store then look."""
    rings = []
    engine.faulty.__dict__["ring"] = lambda *_: rings.append(True)
    engine.declare(lambda: 1 / 0, max_attempts=1)
    engine.perform(engine.waiting())
    Admin(engine.store, engine.clock).retry(Filter())

    assert [True] == rings
    assert "t" == engine.office.post("t", [], {}, Options()).task_name


def test_parked_means_what_waits_under_names_that_nobody_knows(engine):
    """For listing, counting and cancelling; without knowing the names, it means nothing at all."""
    admin = Admin(engine.store, engine.clock, known=lambda: {"known"})
    parked = [engine.waiting(name="gone").id, engine.waiting(name="gone", delay=60).id]
    engine.waiting(name="known")
    which = Filter(parked=True)

    assert parked == [task.id for task in admin.find(which, 10)][::-1]
    assert {"ready": 2} == admin.count(which)
    assert {} == admin.count(Filter(parked=True, name="known"))
    assert 2 == admin.cancel(which).done
    assert (0, 0) == (admin.cancel(which).done, admin.purge(which).done)
    assert {"ready": 1, "skipped": 2} == engine.store.count(Filter())
    assert 0 == Admin(engine.store, engine.clock).cancel(which).done


@pytest.mark.parametrize("action", ["retry", "cancel", "purge"])
def test_a_bulk_action_reads_nothing_but_ids(office, monkeypatch, action):
    """A page of megabyte tasks would be half a gigabyte, for twelve bytes of each."""
    office.keep("error", "ready")
    monkeypatch.setattr(office.admin, "_store", SimpleNamespace(
        ids=office.engine.store.ids, move=office.engine.store.move, delete=office.engine.store.delete
    ))  # fmt: skip

    step = getattr(office.admin, action)(Filter())

    assert 1 == step.done
