"""What one daemon does with pauses: it tells of them, keeps the order of what has waited, fires no tick."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bus.admin import Admin
from bus.apps.options import Options
from bus.maintenance.pause_monitor import PauseMonitor
from bus.maintenance.scheduler import Scheduler
from bus.model import Filter
from bus.pauses import TASK
from bus.schedules import Every, Schedule
from tests.contract.samples import depths


class House:
    """An engine that knows pauses, and the operator of it."""

    def __init__(self, engine):
        self.engine = engine
        self.monitor = PauseMonitor(
            engine.store, engine.clock, lambda: engine.lanes.pause(self.monitor.is_task_paused)
        )
        self.admin = Admin(engine.store, engine.clock, paused=self.monitor.look)
        self.scheduler = self.daemon()

    def daemon(self):
        engine = self.engine
        return Scheduler(
            engine.store,
            lambda: engine.registry,
            engine.office.fire,
            engine.clock,
            self.monitor.is_schedule_paused,
        )

    def plan(self, *names, **fields):
        self.engine.registry.schedules = {
            name: Schedule(name, Every(60), **{"task": name, **fields}) for name in names
        }

    def turn(self, seconds=0.0, scheduler=None):
        self.engine.clock.advance(seconds)
        self.monitor.look()
        (scheduler or self.scheduler).tick()

    def moments(self, name):
        start = self.engine.clock.now()
        tasks = self.engine.store.find(Filter(name=name), 100)
        return sorted((task.scheduled_for - start).total_seconds() for task in tasks)


@pytest.fixture
def house(engine):
    for name in ("t", "u"):
        engine.declare(lambda *_: None, name)
    return House(engine)


def test_what_waited_during_a_pause_begins_before_what_is_posted_after_it(house):
    """A direct start would overtake it: until a pass has looked there is none."""
    engine = house.engine
    for _ in range(2):
        engine.claimer.tick()
    house.admin.pause(TASK, "t", "why")
    waited = engine.office.post("t", [], {}, Options())
    house.admin.resume(TASK, "t")
    posted = engine.office.post("t", [], {}, Options())

    assert ["ready", "ready"] == [engine.now(task).state for task in (waited, posted)]
    engine.claimer.tick()
    assert "busy" == engine.now(waited).state


def test_resuming_wakes_the_claimer_and_pausing_a_lane_lets_it_rest(house):
    house.admin.pause(TASK, "*", "why")
    house.engine.claimer.loop._woken.clear()

    assert house.engine.claimer.tick() is None
    assert not house.engine.claimer.loop.is_woken
    house.admin.resume(TASK, "*")
    assert house.engine.claimer.loop.is_woken


def test_a_running_task_goes_on_to_its_end_and_the_next_one_waits(house):
    engine = house.engine
    engine.claimer.tick()
    running = engine.office.post("held", [], {}, Options())
    house.admin.pause(TASK, "held", "why")
    waits = engine.office.post("held", [], {}, Options())
    engine.gate.set()
    engine.pool.drain(5)
    engine.recorder.tick()
    engine.claimer.tick()

    assert ["complete", "ready"] == [engine.now(task).state for task in (running, waits)]


def test_an_event_for_a_paused_handler_and_another_one_waits_whole_and_the_other_begins_by_claim(house):
    """A direct start is all or none; nothing of the event is lost."""
    engine = house.engine
    engine.declare(lambda *_: None, "h1", topic="sold")
    engine.declare(lambda *_: None, "h2", topic="sold")
    engine.claimer.tick()
    house.admin.pause(TASK, "h1", "why")
    engine.office.publish("sold", [], {})
    engine.claimer.tick()

    assert {"h1": 1} == depths(engine.store.waiting())


def test_lanes_that_are_arranged_anew_by_a_reload_hold_to_the_pauses(house):
    house.admin.pause(TASK, "u", "why")
    house.engine._arrange()

    assert [True, False] == [house.engine.lanes.claims(name) for name in ("t", "u")]


def test_a_pause_that_covers_a_task_that_is_declared_later_holds_it(house):
    house.admin.pause(TASK, "new.*", "why")
    house.engine.declare(lambda *_: None, "new.task")

    assert not house.engine.lanes.claims("new.task")


def test_each_beginning_and_end_is_told_once(house, facts):
    clock = house.engine.clock
    house.admin.pause(TASK, "t", "first", until=clock.now() + timedelta(seconds=5), by="a@b")
    for _ in range(3):
        house.turn()
    house.turn(5)
    house.turn(1)

    (began,) = facts.of("pause.began")
    assert ("t", "first", "a@b") == (began["paused"], began["reason"], began["by"])
    assert ["t"] == [fields["paused"] for fields in facts.of("pause.ended")]


def test_the_remark_names_some_and_counts_the_others(house):
    assert house.monitor.remark is None
    for number in range(5):
        house.admin.pause(TASK, f"t{number}", "why")

    assert "paused: t0: why (since 2026-01-01 00:00:00Z)" == house.monitor.remark.split("; ")[0]
    assert house.monitor.remark.endswith("; and 2 more pauses")
    assert 5 == len(house.monitor.describe())


def test_a_paused_schedule_fires_nothing_and_the_others_go_on(house):
    house.plan("t", "u")
    house.turn()
    house.admin.pause("schedule", "t", "inventory")
    for _ in range(3):
        house.turn(60)

    assert [] == house.moments("t")
    assert [-120.0, -60.0, 0.0] == house.moments("u")


@pytest.mark.parametrize(
    ("missed", "expected"), [("skip", [0.0]), ("once", [-60.0, 0.0]), ("all", [-180.0, -120.0, -60.0, 0.0])]
)
def test_after_the_pause_missed_decides_about_what_came_in_it(house, facts, missed, expected):
    """As about moments that no daemon was there for; the last one is due at this moment."""
    house.plan("t", missed=missed)
    house.turn()
    house.admin.pause("schedule", "t*", "inventory")
    for _ in range(3):
        house.turn(60)
    house.admin.resume("schedule", "t*")
    house.turn(60)

    assert expected == house.moments("t")
    assert {"it was paused"} >= {fields["reason"] for fields in facts.of("schedule.late")}
    house.turn(60)
    assert 0.0 == house.moments("t")[-1]


def test_a_daemon_that_starts_during_the_pause_fires_nothing_either(house):
    house.plan("t", missed="all")
    house.turn()
    house.admin.pause("schedule", "*", "inventory")
    house.turn(60)
    late = house.daemon()
    house.turn(60, late)

    assert [] == house.moments("t")
    house.admin.resume("schedule", "*")
    house.turn(0, late)
    assert [-60.0, 0.0] == house.moments("t")


def test_a_paused_task_is_still_fired_by_its_schedule_and_waits(house):
    house.plan("t")
    house.turn()
    house.admin.pause(TASK, "*", "a freeze")
    house.turn(60)
    house.engine.claimer.tick()

    assert {"t": 1} == depths(house.engine.store.waiting())
