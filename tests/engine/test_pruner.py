"""Retention is on by default: ended tasks and old events are forgotten when their keep time is over."""

from __future__ import annotations

import pytest
from bson import ObjectId

from bus.maintenance.pruner import BATCH, BREATH_SECONDS, PAUSE_SECONDS, Pruner
from bus.model import STATES, Filter, MonQTask, Posting


@pytest.fixture
def pruner(engine):
    return Pruner(engine.store, engine.clock)


def keep(engine, count: int, **fields) -> None:
    now = engine.clock.now()
    engine.store.post([Posting([MonQTask(ObjectId(), "t", [], {}, now, **fields) for _ in range(count)])])


def test_a_task_is_forgotten_when_its_keep_time_is_over_and_not_before(engine, pruner):
    task = engine.waiting()
    engine.declare(lambda: None)
    engine.perform(task)
    engine.clock.advance(7 * 86_400 - 0.001)
    assert PAUSE_SECONDS == pruner.tick()
    assert engine.store.get(task.id) is not None
    engine.clock.advance(0.001)
    pruner.tick()

    assert engine.store.get(task.id) is None


def test_a_task_that_is_to_be_kept_is_never_forgotten(engine, pruner):
    engine.declare(lambda: None)
    task = engine.perform(engine.waiting(result_type="keep"))
    engine.clock.advance(1e8)
    pruner.tick()

    assert "complete" == engine.now(task).state


@pytest.mark.parametrize("state", STATES)
def test_only_what_has_ended_is_forgotten(engine, pruner, state):
    """Whatever stands in `expire_at`."""
    keep(engine, 1, state=state, worker="w", expire_at=engine.clock.now())
    pruner.tick()

    assert ({state: 1} if state in ("ready", "busy") else {}) == engine.store.count(Filter())


def test_a_big_clean_up_goes_in_small_bites(engine, pruner):
    """So that it never holds the store for long."""
    keep(engine, 2 * BATCH + 1, state="complete", expire_at=engine.clock.now())

    assert [BREATH_SECONDS, BREATH_SECONDS, PAUSE_SECONDS] == [pruner.tick() for _ in range(3)]
    assert {} == engine.store.count(Filter())


def test_an_event_is_forgotten_after_its_tasks_have_ended(engine, pruner):
    """A task that waits longer than events are kept still gets its event."""
    engine.declare(lambda *_: None, "h", topic="a", delay=40 * 86_400)
    receipt = engine.office.publish("a", [], {})
    engine.clock.advance(30 * 86_400)
    pruner.tick()
    assert engine.store.event(receipt.event_id) is not None

    engine.clock.advance(10 * 86_400)
    engine.perform(engine.store.get(receipt.task_ids[0]))
    pruner.tick()
    assert engine.store.event(receipt.event_id) is None
