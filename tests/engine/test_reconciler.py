"""What runs here and what the store says is held here are brought back together."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event as Signal

from bus.admin import Admin
from bus.apps.options import Options
from bus.errors import NotAccepted, StoreUnavailable, Superseded, Withdrawn
from bus.maintenance.reconciler import PAUSE_SECONDS, Reconciler
from bus.model import Filter, Report
from bus.store.contract import CALL_SECONDS

PATIENCE = 5.0


@pytest.fixture
def reconciler(engine):
    return Reconciler(engine.store, engine.instance, engine.lanes, engine.recorder, engine.clock)


@pytest.fixture
def started(engine, facts):
    """Starts a task of this daemon, which waits at the gate."""

    def start():
        task = engine.waiting(1, name="held")
        engine.claimer.tick()
        facts.wait_for("task.started")
        return task

    return start


def the_run(engine):
    (run,) = engine.lanes.running
    return run


def test_what_agrees_is_left_alone(reconciler, engine, facts, started):
    task = started()
    assert [PAUSE_SECONDS] * 3 == [reconciler.tick() for _ in range(3)]

    assert ("busy", None) == (engine.now(task).state, the_run(engine).interrupted)
    assert [] == [fact for fact in facts.names if fact != "task.started"]


def test_a_claim_whose_answer_was_lost_goes_back_to_ready(reconciler, engine, facts):
    """It is busy under our name, nobody runs it, and no lease would ever end it."""
    task = engine.waiting(1, name="held")
    engine.store.claim(engine.instance, ["held"], 1, engine.clock.now())
    reconciler.tick()
    assert "busy" == engine.now(task).state, "it may still be on its way"
    reconciler.tick()

    now = engine.now(task)
    assert ("ready", 0, 0, None) == (now.state, now.attempt, now.crashes, now.worker)
    assert ["task.released"] == facts.names
    assert engine.claimer.loop.is_woken


def test_two_audits_are_further_apart_than_any_call_of_the_store():
    """So what both have seen is not a claim whose answer is under way."""
    assert PAUSE_SECONDS > CALL_SECONDS


def test_an_end_that_waits_to_be_written_is_known(reconciler, engine, started):
    """The store is slow, not wrong: its task must not go back to ready."""
    task = started()
    engine.gate.set()
    assert 0 == engine.pool.drain(PATIENCE)
    reconciler.tick()
    reconciler.tick()
    assert "busy" == engine.now(task).state
    engine.recorder.tick()

    assert "complete" == engine.now(task).state


def test_a_task_cancelled_from_elsewhere_is_interrupted(reconciler, engine, started, facts):
    """Its state stands, whatever the handler does now."""
    task = started()
    Admin(engine.store, engine.clock).cancel(Filter(ids=(task.id,)))
    reconciler.tick()

    assert isinstance(the_run(engine).interrupted, Withdrawn)
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()
    assert "skipped" == engine.now(task).state
    assert ["task.started", "task.moved", "task.skipped"] == facts.names


def test_a_task_that_another_daemon_has_taken_is_interrupted_and_told_as_lost(
    reconciler, engine, facts, started
):
    """We were taken for dead: two must not work on it for longer than they have to."""
    task = started()
    fields = {"state": "ready", "worker": None, "attempt": 0}
    engine.store.report([Report(the_run(engine).task.claim, fields)])
    reconciler.tick()

    assert isinstance(the_run(engine).interrupted, Superseded)
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()
    assert "ready" == engine.now(task).state
    assert ["task.started", "task.lost"] == facts.names


def test_a_task_that_begins_while_the_store_is_asked_is_not_missed_by_it(reconciler, engine):
    """The answer is older than the run."""
    engine.claimer.tick()
    held = engine.store.held

    def held_and_then_one_begins(instance):
        answer = held(instance)
        engine.office.post("held", [1], {}, Options())
        return answer

    engine.faulty.__dict__["held"] = held_and_then_one_begins
    reconciler.tick()

    assert the_run(engine).interrupted is None


def test_an_end_that_is_written_while_the_store_is_asked_interrupts_nothing(reconciler, engine, started):
    """The same task may run again already, under its next claim."""
    started()
    run = the_run(engine)
    held = engine.store.held

    def held_without_it(instance):
        held(instance)
        return []

    engine.faulty.__dict__["held"] = held_without_it
    reconciler.tick()

    assert run.interrupted is None


def test_an_outage_is_left_to_the_loop(reconciler, engine, started):
    started()
    engine.faulty.fail_next("held")
    with pytest.raises(StoreUnavailable):
        reconciler.tick()

    assert the_run(engine).interrupted is None


def test_a_task_that_was_cancelled_and_retried_while_it_unwound_is_held_by_one_run(engine, reconciler):
    """The second claim is known here from the beginning, so no audit takes it for a lost one."""
    begun, gates = [], [Signal(), Signal()]

    def stubborn() -> None:
        gate = gates[len(begun)]
        begun.append("began")
        while not gate.is_set():
            try:
                gate.wait(PATIENCE)
            except Withdrawn:
                continue

    engine.declare(stubborn, "stubborn")
    task = engine.waiting(name="stubborn")
    engine.claimer.tick()
    gevent.idle()
    engine.store.move([task.id], ["busy"], {"state": "skipped"})
    engine.lanes.interrupt([task.id], Withdrawn)
    engine.store.move([task.id], ["skipped"], {"state": "ready"})
    engine.claimer.tick()
    gevent.idle()
    assert ["began"] == begun

    gates[0].set()
    gevent.idle()
    for _ in range(3):
        reconciler.tick()

    assert ["began"] * 2 == begun
    assert ("busy", 2) == (engine.now(task).state, engine.now(task).generation)
    gates[1].set()


def test_a_claim_that_the_store_refuses_to_release_holds_up_no_other(reconciler, engine, facts):
    """It is told once; the other lost claims go back to ready."""
    tasks = [engine.waiting(n, name="held") for n in range(3)]
    engine.store.claim(engine.instance, ["held"], 3, engine.clock.now())
    store = engine.faulty._store
    report = store.report

    def ruled(reports):
        if any(one.claim.id == tasks[0].id for one in reports):
            raise NotAccepted("refused by the validator")
        return report(reports)

    store.report = ruled
    for _ in range(4):
        reconciler.tick()

    assert {"busy": 1, "ready": 2} == engine.store.count(Filter())
    assert [tasks[0].id] == [fields["task_id"] for fields in facts.of("task.set_aside")]
