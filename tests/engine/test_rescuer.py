"""Takes back tasks whose daemon is dead; the third crash quarantines a task."""

from __future__ import annotations

import pytest

from bus.engine.rescuer import BATCH, PAUSE_SECONDS, Rescuer
from bus.errors import StoreUnavailable
from bus.model import Filter, Report, Worker
from bus.retry import Policy


class Ward:
    """A rescuer, and daemons that die with tasks in hand."""

    def __init__(self, engine) -> None:
        self.engine = engine
        self.deaths = 0
        self.woken = 0
        self.rescuer = Rescuer(engine.store, engine.worker, engine.clock, Policy, self.wake)
        engine.declare(lambda: None)

    def wake(self) -> None:
        self.woken += 1

    def lose(self, count: int = 1) -> list:
        """A daemon claims *count* tasks and is never seen again."""
        self.deaths += 1
        dead = Worker(f"dead{self.deaths}", f"monqbus/there pid {self.deaths}")
        return self.engine.store.claim(dead, ["t"], count, self.engine.clock.now()).tasks


@pytest.fixture
def ward(engine):
    return Ward(engine)


def test_an_orphan_is_ready_again_and_its_attempt_does_not_count(ward, engine, facts):
    """A crash is not a failure: it has a counter of its own, and keeps its place in the queue."""
    task = engine.waiting()
    ward.lose()
    engine.clock.advance(7)
    ward.rescuer.tick()

    now = engine.now(task)
    assert ("ready", 0, 1, None) == (now.state, now.attempt, now.crashes, now.worker)
    assert task.time_queue == now.time_queue
    assert ["crash 1: monqbus/there pid 1 is gone"] == [entry["error"] for entry in now.history]
    assert ["task.rescued"] == facts.names
    assert 1 == ward.woken


def test_the_third_crash_quarantines(ward, engine, facts):
    """Whatever kills a daemon three times must not do it for ever."""
    task = engine.waiting()
    states = []
    for _ in range(3):
        ward.lose()
        ward.rescuer.tick()
        states.append((engine.now(task).state, engine.now(task).crashes))

    assert [("ready", 1), ("ready", 2), ("error", 3)] == states
    assert "quarantined after 3 crashes: monqbus/there pid 3 is gone" == engine.now(task).result
    assert ["task.rescued", "task.rescued", "task.gave_up"] == facts.names


def test_an_operator_retry_clears_the_crashes(ward, engine):
    from bus.desk import Desk

    task = engine.waiting()
    for _ in range(3):
        ward.lose()
        ward.rescuer.tick()
    Desk(engine.store, engine.clock).retry(Filter())

    assert ("ready", 0) == (engine.now(task).state, engine.now(task).crashes)


def test_a_daemon_never_rescues_its_own_tasks(ward, engine):
    task = engine.waiting()
    engine.store.claim(engine.worker, ["t"], 1, engine.clock.now())

    assert PAUSE_SECONDS == ward.rescuer.tick()
    assert "busy" == engine.now(task).state
    assert 0 == ward.woken


def test_two_rescuers_of_one_orphan_count_one_crash(ward, engine, facts):
    """Both saw the claim; the second report finds it gone."""
    engine.waiting()
    orphans = ward.lose()
    engine.faulty.__dict__["orphans"] = lambda worker, limit: orphans
    ward.rescuer.tick()
    ward.rescuer.tick()

    assert ["task.rescued"] == facts.names
    assert 1 == engine.now(orphans[0]).crashes


def test_a_holder_that_finishes_after_all_wins(ward, engine, facts):
    """It was slow, not dead: its end stands."""
    engine.waiting()
    orphans = ward.lose()
    engine.faulty.__dict__["orphans"] = lambda worker, limit: orphans
    engine.store.report([Report(orphans[0].claim, {"state": "complete", "result": 1})])
    ward.rescuer.tick()

    assert [] == facts.names
    assert ("complete", 0) == (engine.now(orphans[0]).state, engine.now(orphans[0]).crashes)


def test_many_orphans_come_back_batch_by_batch(ward, engine):
    for _ in range(BATCH + 1):
        engine.waiting()
    ward.lose(BATCH + 1)

    assert [0, PAUSE_SECONDS, PAUSE_SECONDS] == [ward.rescuer.tick() for _ in range(3)]
    assert {"ready": BATCH + 1} == engine.store.count(Filter())


def test_an_outage_is_left_to_the_loop(ward, engine):
    """It tells the failure and ticks again; nothing is half done."""
    engine.waiting()
    ward.lose()
    engine.faulty.fail_next("report")
    with pytest.raises(StoreUnavailable):
        ward.rescuer.tick()
    ward.rescuer.tick()

    assert {"ready": 1} == engine.store.count(Filter())
