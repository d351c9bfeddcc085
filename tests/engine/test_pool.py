"""The cooperative slots: `free` is exact, `drain` ends on time, an interrupt arrives once."""

from __future__ import annotations

import gevent
import pytest
from bson import ObjectId
from gevent.event import Event as Signal

from bus.clock import Clock, FrozenClock
from bus.engine.pool import Pool
from bus.errors import Drained, TimedOut, Withdrawn
from bus.model import MonQTask

PATIENCE = 5.0


def a_task() -> MonQTask:
    return MonQTask(ObjectId(), "t", [], {}, FrozenClock().now())


class Floor:
    """A pool of three whose runs wait at `gate`, and what interrupted them."""

    def __init__(self) -> None:
        self.gate = Signal()
        self.ended: list[object] = []
        self.pool = Pool(3, self.perform, Clock())

    def perform(self, run) -> None:
        run.enter()
        try:
            self.gate.wait(PATIENCE)
        except BaseException as interrupt:  # noqa: BLE001 - it is what the test looks at
            self.ended.append(type(interrupt).__name__)
            return
        self.ended.append(run.interrupted)


@pytest.fixture
def floor():
    floor = Floor()
    yield floor
    floor.gate.set()
    floor.pool.drain(PATIENCE)


def test_free_counts_what_runs_and_what_is_set_aside(floor):
    pool = floor.pool
    seen = [pool.free]
    pool.start([a_task()])
    seen.append(pool.free)
    assert pool.reserve(1)
    seen.append(pool.free)
    pool.give_back(1)
    seen.append(pool.free)

    assert [3, 2, 1, 2] == seen


def test_slots_are_set_aside_all_or_none(floor):
    floor.pool.start([a_task()])

    assert not floor.pool.reserve(3)
    assert 2 == floor.pool.free
    assert floor.pool.reserve(2)
    assert not floor.pool.reserve(1)
    assert 0 == floor.pool.free


def test_a_slot_is_free_again_as_soon_as_its_handler_is_over(floor):
    """Whoever waits for one is told when it is counted already."""
    told = []
    floor.pool.on_free = lambda: told.append(floor.pool.free)
    floor.pool.start([a_task(), a_task()])
    floor.gate.set()
    assert 0 == floor.pool.drain(PATIENCE)

    assert [2, 3] == told


def test_a_run_that_raises_frees_its_slot_all_the_same():
    def fail(run) -> None:
        raise ValueError

    pool = Pool(1, fail, Clock())
    pool.start([a_task()])

    assert 0 == pool.drain(PATIENCE)
    assert 1 == pool.free


def test_draining_ends_on_time_and_says_what_still_runs(floor):
    floor.pool.start([a_task(), a_task()])

    assert 2 == floor.pool.drain(0.0)
    assert 2 == floor.pool.drain(0.02)
    floor.gate.set()
    assert 0 == floor.pool.drain(PATIENCE)


def test_an_interrupt_reaches_those_it_is_meant_for(floor):
    """Ids that do not run here are nobody's concern."""
    mine, other = a_task(), a_task()
    floor.pool.start([mine, other])
    gevent.idle()
    floor.pool.interrupt([mine.id, ObjectId()], Withdrawn)
    gevent.idle()

    assert ["Withdrawn"] == floor.ended
    assert [other.claim] == list(floor.pool.running)


def test_an_interrupt_of_everything_reaches_every_run(floor):
    floor.pool.start([a_task() for _ in range(3)])
    gevent.idle()
    floor.pool.interrupt(None, Drained)
    assert 0 == floor.pool.drain(PATIENCE)

    assert ["Drained"] * 3 == floor.ended


def test_no_run_is_interrupted_twice(floor):
    """A greenlet interrupted twice inside PyMongo leaks its connection for good."""
    task = a_task()
    floor.pool.start([task])
    gevent.idle()
    for reason in (Withdrawn, TimedOut, Drained):
        floor.pool.interrupt([task.id], reason)
    assert 0 == floor.pool.drain(PATIENCE)

    assert ["Withdrawn"] == floor.ended


def test_an_interrupt_before_the_first_step_is_seen_at_the_first_step(floor):
    """Nothing is thrown into a greenlet that has not begun: it would never run its clean-up."""
    task = a_task()
    floor.pool.start([task])
    floor.pool.interrupt([task.id], Drained)
    floor.gate.set()
    assert 0 == floor.pool.drain(PATIENCE)

    (interrupted,) = floor.ended
    assert isinstance(interrupted, Drained)


def test_a_task_that_comes_again_waits_for_its_earlier_run(floor):
    """Its handler may take its time over an interrupt: until then the new holder begins nothing."""
    first, again = a_task(), a_task()
    again.id, again.generation = first.id, 2
    begun, gates = [], {0: Signal(), 2: Signal()}

    def perform(run) -> None:
        begun.append(run.task.generation)
        gates[run.task.generation].wait(PATIENCE)

    pool = Pool(3, perform, Clock())
    pool.start([first])
    gevent.idle()
    pool.start([again])
    gevent.idle()
    assert ([0], 2, 1) == (begun, len(pool.running), pool.free)

    gates[0].set()
    gevent.idle()
    assert ([0, 2], [again.claim]) == (begun, list(pool.running))
    gates[2].set()
    assert (0, 3) == (pool.drain(PATIENCE), pool.free)


def test_a_slot_whose_greenlet_was_killed_before_it_began_is_found(floor):
    """It would be taken for ever, and its task busy: nobody is left to say how it ended."""
    floor.pool.start([a_task()])
    (run,) = floor.pool.running.values()
    run.slot.kill(timeout=PATIENCE)

    assert f"the greenlet of task {run.task.id} was killed before it began" == floor.pool.health.death
    floor.pool.running.clear()


def test_a_killed_handler_is_no_death_of_its_slot(floor):
    """Its run ends as any other that raises, and the slot is free again."""
    floor.pool.start([a_task()])
    gevent.idle()
    (run,) = floor.pool.running.values()
    run.slot.kill(timeout=PATIENCE)

    assert (None, 3, ["GreenletExit"]) == (floor.pool.health.death, floor.pool.free, floor.ended)
