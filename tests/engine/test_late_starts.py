"""A tick that was stored in time and begins late is told of, with the reason that is known."""

from __future__ import annotations

from datetime import datetime

import gevent
import pytest

from bus.admin import Admin
from bus.clock import UTC, FrozenClock
from bus.maintenance.late_starts import UNKNOWN, LateStarts
from bus.maintenance.pause_monitor import PauseMonitor
from bus.posting import PostOffice
from bus.schedules import Every, Schedule


class House:
    """An engine with a schedule of each minute, whose tick of this moment is stored."""

    def __init__(self, engine):
        self.engine = engine
        engine.declare(lambda *_: None, "t")
        self.schedule = Schedule("s", Every(60), task="t")
        engine.registry.schedules = {"s": self.schedule}
        self.monitor = PauseMonitor(
            engine.store, engine.clock, lambda: engine.lanes.pause(self.monitor.is_task_paused)
        )
        self.admin = Admin(engine.store, engine.clock, paused=self.monitor.look)
        engine.executor.scheduled = LateStarts(
            lambda: engine.registry, engine.clock, lambda: engine.lanes, self.monitor.was_task_paused
        ).note

    def fire(self):
        self.engine.office.fire([(self.schedule, self.engine.clock.now())])

    def turn(self):
        for _ in range(3):
            self.engine.claimer.tick()
            gevent.sleep(0)
        self.engine.recorder.tick()


@pytest.fixture
def engine(new_engine):
    """One whose clock begins now: an id says when its task was stored, and ids are of this moment."""
    made = new_engine(4, FrozenClock(datetime.now(UTC).replace(microsecond=0)))
    made.declare(lambda *_: made.gate.wait(5), "held")
    return made


@pytest.fixture
def house(engine):
    return House(engine)


def reasons(facts):
    return [fields["reason"] for fields in facts.of("schedule.late")]


def test_one_that_found_all_slots_taken_says_so(house, engine, facts):
    for _ in range(5):
        engine.waiting(name="held")
    house.turn()
    house.fire()
    engine.clock.advance(60)
    house.turn()
    engine.clock.advance(30)
    engine.gate.set()
    engine.lanes.drain(5)
    house.turn()

    (told,) = facts.of("schedule.late")
    assert "all 4 slots of greenlets were taken" == told["reason"]
    assert ("s", 90.0) == (told["schedule"], told["late_seconds"])


def test_one_that_was_paused_says_so_when_that_is_over(house, engine, facts):
    house.admin.pause("task", "t", "a freeze")
    house.fire()
    engine.clock.advance(90)
    house.admin.resume("task", "t")
    house.turn()

    assert ["it was paused"] == reasons(facts)


def test_one_for_which_there_were_slots_says_that_it_waited_for_a_daemon(house, engine, facts):
    engine.waiting(name="held")
    house.turn()
    engine.office = PostOffice(engine.store, lambda: engine.registry, engine.clock)  # of another process
    house.fire()
    engine.clock.advance(90)
    house.turn()
    engine.gate.set()

    assert [UNKNOWN] == reasons(facts)


def test_one_that_begins_in_time_or_only_its_jitter_later_tells_nothing(house, engine, facts):
    house.fire()
    house.turn()
    house.schedule = Schedule("j", Every(60), task="t", jitter=600.0)
    engine.registry.schedules = {"j": house.schedule}
    house.fire()
    engine.clock.advance(house.schedule.delay(engine.clock.now()).total_seconds() + 1)
    house.turn()

    assert [] == reasons(facts)


def test_a_later_attempt_and_what_was_stored_late_are_not_told_again(house, engine, facts):
    engine.clock.step(-120)  # of the moment, not of ids
    engine.office.fire([(house.schedule, engine.clock.now())])
    engine.clock.step(120)
    house.turn()

    assert [] == reasons(facts)
