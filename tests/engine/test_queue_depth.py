"""How much waits: counted now and then, reckoned in between, never at the store's expense."""

from __future__ import annotations

import pytest

from bus import telemetry
from bus.apps.options import Options
from bus.maintenance.queue_depth import PAUSE_SECONDS, QueueDepth


@pytest.fixture
def depth(engine):
    """A depth of at most four tasks, hearing what is posted."""
    depth = QueueDepth(engine.store, engine.clock, 4)
    forget = telemetry.listen(depth)
    yield depth
    forget()


def post(engine, count: int) -> None:
    """Post tasks that have to wait, because of their delay."""
    for _ in range(count):
        engine.office.post("t", [], {}, Options(delay=60))


def test_an_empty_store_is_not_full(depth):
    assert not depth.is_full
    assert PAUSE_SECONDS == depth.tick()
    assert not depth.is_full


def test_what_others_posted_is_seen_at_the_next_look(engine, depth, facts):
    for _ in range(4):
        engine.waiting()
    assert not depth.is_full

    depth.tick()

    assert depth.is_full
    assert "max_ready_tasks" in depth.complaint
    assert [{"waiting": 4, "most": 4}] == facts.of("queue.filled")


def test_what_is_posted_here_counts_at_once(engine, depth):
    """A flood between two looks is stopped at the limit."""
    depth.tick()
    post(engine, 3)
    assert not depth.is_full

    post(engine, 1)

    assert depth.is_full


def test_what_a_look_has_counted_is_not_added_again(engine, depth):
    post(engine, 2)
    depth.tick()

    post(engine, 1)

    assert not depth.is_full


def test_what_starts_at_once_does_not_wait(engine, depth):
    engine.declare(lambda: None)
    engine.claimer.tick()
    engine.claimer.tick()
    for _ in range(9):
        engine.office.post("t", [], {}, Options())
        engine.pool.drain(5)

    assert not depth.is_full


def test_the_queue_takes_again_when_fewer_wait(engine, depth, facts):
    engine.declare(lambda: None)
    for _ in range(4):
        engine.waiting()
    depth.tick()
    engine.claimer.tick()

    depth.tick()
    depth.tick()

    assert not depth.is_full
    assert depth.complaint is None
    assert ["queue.filled", "queue.recovered"] == [fact for fact in facts.names if fact.startswith("queue.")]


def test_half_of_the_room_gone_is_worth_an_early_look(engine, depth):
    """So that work which is done as fast as it comes is not mistaken for a queue."""
    depth.tick()
    post(engine, 1)
    assert not depth.loop.is_woken

    post(engine, 1)

    assert depth.loop.is_woken


def test_counting_takes_a_twentieth_of_the_time_at_most(engine):
    """A second's count is followed by twenty of rest, whoever wakes the loop."""

    class Slow:
        looks = 0

        def depth(self, most):
            self.looks += 1
            engine.clock.advance(1.0)
            return 0

    store = Slow()
    depth = QueueDepth(store, engine.clock, 4)

    assert 20.0 == depth.tick()
    engine.clock.advance(5.0)
    assert 15.0 == depth.tick()
    assert 1 == store.looks
    engine.clock.advance(15.0)
    depth.tick()
    assert 2 == store.looks


def test_while_the_store_is_away_the_last_count_stands(engine, depth):
    post(engine, 4)
    depth.tick()
    engine.faulty.sleep()

    assert PAUSE_SECONDS == depth.tick()
    assert depth.is_full


def test_without_a_limit_nothing_is_counted(engine):
    engine.faulty.sleep()
    depth = QueueDepth(engine.store, engine.clock, 0)

    assert depth.tick() is None
    assert not depth.is_full
