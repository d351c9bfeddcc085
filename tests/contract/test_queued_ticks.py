"""With `overlap = queue` ticks run one after the other in order, over daemons and their deaths."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import telemetry
from bus.admin import Admin
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import FrozenClock
from bus.errors import StoreError
from bus.maintenance.queued_ticks import IN_TURN, LOOK_SECONDS
from bus.maintenance.scheduler import Scheduler
from bus.model import UNFINISHED, Filter, Instance, Report
from bus.posting import PostOffice
from bus.schedules import Every, Schedule
from bus.schedules.waiting import MOST_WAITING, STORED_WITHIN
from bus.store import open_memory_store

START = FrozenClock().now()
"""Where the clock of each test begins."""


class Killed(BaseException):
    """In place of SIGKILL: nothing of this daemon goes on."""


class Daemon:
    """A scheduler whose loop ticks by hand. *dies_before* is a verb and the number of its call."""

    def __init__(self, place, store):
        self.place, self.store = place, store
        self.office = PostOffice(store, lambda: place.registry, place.clock)
        self.dies_before = None
        self.calls = {"fire": 0, "keep_records": 0}
        self.scheduler = Scheduler(self, lambda: place.registry, self.fire, place.clock, self.is_paused)

    def is_paused(self, name):
        return name in self.place.paused

    def fire(self, ticks):
        self._call("fire")
        return self.office.fire(ticks)

    def keep_records(self, records):
        self._call("keep_records")
        return self.store.keep_records(records)

    def __getattr__(self, name):
        return getattr(self.store, name)

    def _call(self, name):
        self.calls[name] += 1
        if self.dies_before == (name, self.calls[name]):
            raise Killed


class Place:
    """One deployment, one frozen clock, a schedule of each minute, and whoever runs its tasks."""

    def __init__(self, new_store):
        self.clock = FrozenClock()
        self.stores = [new_store()]
        if self.stores[0].shared:
            self.stores.append(new_store())
        self.instance = Instance("w9", "monqbus/here pid 9", None)
        self.registry = Registry()
        self.registry.add(Task(lambda *_: None, "t", Options()))
        self.paused = set()

    def plan(self, **fields):
        fields = {"missed": "all", **fields}
        schedule = Schedule(
            "s",
            fields.pop("moments", Every(60)),
            **{"task": "t", "overlap": "queue", **fields},
        )
        self.registry.schedules = {"s": schedule}

    def daemon(self, number=0):
        return Daemon(self, self.stores[number % len(self.stores)])

    def turn(self, *daemons, seconds=0.0):
        """Let time pass, and each of them look as often as it would; one that is killed is left."""
        self.clock.advance(seconds)
        for daemon in daemons:
            for _ in range(2):
                daemon.scheduler.tick()

    def planned(self):
        """A daemon that has seen the schedule, from whose beginning its minutes count."""
        self.plan()
        daemon = self.daemon()
        self.turn(daemon)
        return daemon

    def run_out(self, daemon, *, turns):
        """In so many turns whatever begins runs and ends."""
        for _ in range(turns):
            self.turn(daemon)
            if self.unfinished:
                self.end()

    @property
    def tasks(self):
        """Every task, in the order of the moments."""
        found = self.stores[0].find(Filter(), 1000)
        return sorted(found, key=lambda task: task.scheduled_for)

    @property
    def moments(self):
        return [(task.scheduled_for - START).total_seconds() for task in self.tasks]

    @property
    def unfinished(self):
        return [task for task in self.tasks if task.state in UNFINISHED]

    def end(self):
        """The one task that is unfinished runs and ends."""
        (task,) = self.unfinished
        store = self.stores[0]
        store.renew(self.instance, 60)
        (claimed,) = store.claim(self.instance, ["t"], 1, self.clock.now()).tasks
        assert task.id == claimed.id
        end = {"state": "complete", "time_stop": self.clock.now()}
        assert [True] == store.report([Report(claimed.claim, end)])

    @property
    def record(self):
        (record,) = self.stores[0].records("schedule")
        return record.fields


@pytest.fixture
def place(new_store):
    return Place(new_store)


@pytest.fixture
def late():
    """Why ticks came late, by telling."""
    reasons = []
    forget = telemetry.listen(lambda fact, told: fact == "schedule.late" and reasons.append(told["reason"]))
    yield reasons
    forget()


@pytest.fixture
def missed():
    """How many ticks were left out, by telling."""
    counts = []
    forget = telemetry.listen(lambda fact, told: fact == "schedule.missed" and counts.append(told["count"]))
    yield counts
    forget()


def test_a_tick_waits_until_the_run_before_it_has_ended(place, late):
    daemon = place.planned()
    for _ in range(3):
        place.turn(daemon, seconds=60)
    assert [60.0] == place.moments

    place.clock.advance(10)
    place.end()
    assert daemon.scheduler.tick() <= LOOK_SECONDS
    assert [60.0, 120.0] == place.moments
    assert [IN_TURN] == late
    place.end()
    place.turn(daemon)
    place.end()
    place.turn(daemon)
    assert [60.0, 120.0, 180.0] == place.moments


def test_several_daemons_let_one_run_at_a_time_and_leave_none_out(place):
    place.plan()
    daemons = [place.daemon(number) for number in range(3)]
    place.turn(*daemons)
    for _ in range(5):
        place.turn(*daemons, seconds=60)
        assert 1 == len(place.unfinished)
    for _ in range(4):
        place.end()
        place.turn(*reversed(daemons))
        assert 1 == len(place.unfinished)

    assert [60.0, 120.0, 180.0, 240.0, 300.0] == place.moments


@pytest.mark.parametrize("verb", ["fire", "keep_records"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_daemon_that_dies_at_any_step_leaves_nothing_out_and_doubles_nothing(place, verb, number):
    """The next one goes on; another one, which has looked before, too."""
    place.plan()
    watcher = place.daemon(1)
    place.turn(watcher)
    victim = place.daemon()
    victim.dies_before = (verb, number)
    for _ in range(4):
        try:
            place.turn(victim, seconds=60)
        except Killed:
            victim = place.daemon()
        if place.unfinished:
            place.end()
    for _ in range(6):
        place.turn(watcher, victim)
        assert len(place.unfinished) <= 1
        if place.unfinished:
            place.end()

    assert [60.0, 120.0, 180.0, 240.0] == place.moments


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(0, 1200)),
        st.tuples(st.just("look"), st.integers(0, 2)),
        st.tuples(st.just("kill"), st.integers(0, 2), st.sampled_from(["fire", "keep_records"])),
        st.tuples(st.just("jump"), st.sampled_from([-1800, -90, 90, 1800])),
        st.tuples(st.just("end")),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_each_moment_runs_once_in_order_and_alone_whatever_happens(steps):
    """Against a plain table: daemons look, die between two writes and come back, and the clock jumps."""
    place = Place(open_memory_store)
    place.plan(moments=Every(600), missed_within=1e9)
    daemons = [place.daemon() for _ in range(3)]
    place.turn(*daemons)
    latest = place.clock.now()
    for what, *more in steps:
        if what == "pass":
            place.clock.advance(more[0])
        elif what == "jump":
            place.clock.step(more[0])
        elif what == "end":
            place.stores[0].move([task.id for task in place.unfinished], UNFINISHED, {"state": "complete"})
        else:
            daemon = daemons[more[0]]
            if what == "kill":
                daemon.dies_before = (more[1], daemon.calls[more[1]] + 1)
            latest = max(latest, place.clock.now())
            try:
                place.turn(daemon)
            except Killed:
                daemons[more[0]] = place.daemon()
            daemon.dies_before = None
        assert len(place.unfinished) <= 1
    place.clock.step((latest - place.clock.now()).total_seconds())
    finish(place)

    assert [600.0 * n for n in range(1, int((latest - START).total_seconds()) // 600 + 1)] == [
        (task.scheduled_for - START).total_seconds() for task in sorted(place.tasks, key=lambda task: task.id)
    ]


def finish(place):
    """Let all that waits run and end."""
    survivor = place.daemon()
    place.turn(survivor)
    while place.unfinished:
        place.stores[0].move([task.id for task in place.unfinished], UNFINISHED, {"state": "complete"})
        place.turn(survivor)


def test_what_waits_is_there_after_a_restart(place):
    first = place.planned()
    for _ in range(3):
        place.turn(first, seconds=60)
    place.end()
    second = place.daemon()
    place.run_out(second, turns=3)

    assert [60.0, 120.0, 180.0] == place.moments


def test_so_many_wait_and_what_comes_meanwhile_is_left_out_and_told(place, missed):
    daemon = place.planned()
    for _ in range(MOST_WAITING + 3):
        place.turn(daemon, seconds=60)

    (state,) = Admin(place.stores[0], place.clock, schedules=lambda: place.registry.schedules).schedules()
    assert (MOST_WAITING, "ready") == (state.waiting, state.outcome)
    assert [1, 1] == missed


def test_while_it_is_paused_nothing_of_it_begins_and_afterwards_it_goes_on(place):
    daemon = place.planned()
    place.turn(daemon, seconds=60)
    place.turn(daemon, seconds=60)
    place.paused.add("s")
    place.end()
    place.turn(daemon, seconds=60)
    assert [60.0] == place.moments

    place.paused.clear()
    place.run_out(daemon, turns=3)
    assert [60.0, 120.0, 180.0] == place.moments


def test_one_whose_moments_are_changed_fires_nothing_for_the_past_and_waits_for_what_runs(place, missed):
    daemon = place.planned()
    for _ in range(3):
        place.turn(daemon, seconds=60)
    place.plan(moments=Every(45))
    place.turn(daemon)
    place.turn(daemon, seconds=45)
    assert [60.0] == place.moments
    assert [2] == missed

    place.end()
    place.turn(daemon)
    assert [60.0, 225.0] == place.moments


def test_one_that_lets_none_wait_any_more_forgets_what_waits(place, missed):
    daemon = place.planned()
    for _ in range(3):
        place.turn(daemon, seconds=60)
    place.plan(overlap="allow")
    place.turn(daemon)
    place.turn(daemon, seconds=60)

    assert [60.0, 240.0] == place.moments
    assert [2] == missed


def test_one_that_is_removed_while_ticks_wait_runs_none_of_them(place):
    daemon = place.planned()
    for _ in range(3):
        place.turn(daemon, seconds=60)
    place.registry.schedules = {}
    place.end()

    assert daemon.scheduler.tick() is None
    assert [60.0] == place.moments


def test_what_waited_is_too_old_when_nobody_was_there_for_longer_than_missed_within(place):
    place.plan(missed_within=120.0)
    first = place.daemon()
    place.turn(first)
    for _ in range(3):
        place.turn(first, seconds=60)
    place.end()
    second = place.daemon()
    place.turn(second, seconds=60 * 60)
    place.end()
    place.turn(second)

    assert [60.0, 3720.0, 3780.0] == place.moments


def test_an_outage_of_the_store_loses_nothing(place):
    daemon = place.planned()
    place.turn(daemon, seconds=60)
    daemon.dies_before = ("keep_records", daemon.calls["keep_records"] + 1)
    with pytest.raises(Killed):  # of which a loop would tell
        place.turn(daemon, seconds=60)
    daemon.dies_before = None
    place.turn(daemon)
    place.end()
    place.turn(daemon)

    assert [60.0, 120.0] == place.moments


def test_a_cancelled_run_has_ended(place):
    daemon = place.planned()
    place.turn(daemon, seconds=60)
    place.turn(daemon, seconds=60)
    (task,) = place.unfinished
    place.stores[0].move([task.id], UNFINISHED, {"state": "skipped"})
    place.turn(daemon)

    assert [60.0, 120.0] == place.moments


def test_a_failed_attempt_that_waits_for_the_next_one_has_not_ended(place):
    daemon = place.planned()
    place.turn(daemon, seconds=60)
    (task,) = place.unfinished
    later = {"time_queue": place.clock.now() + timedelta(days=1)}
    place.stores[0].move([task.id], UNFINISHED, later)
    place.turn(daemon, seconds=60)

    assert [60.0] == place.moments


def test_a_topic_with_several_handlers_waits_for_all_of_their_tasks(place):
    for name in ("h1", "h2"):
        task = Task(lambda *_: None, name, Options())
        place.registry.add(task)
        place.registry.subscribe(task, ["due"], None)
    place.plan(task="", topic="due")
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=60)
    place.turn(daemon, seconds=60)
    first, second = place.unfinished
    place.stores[0].move([first.id], UNFINISHED, {"state": "skipped"})
    place.turn(daemon)
    assert [60.0, 60.0] == place.moments

    place.stores[0].move([second.id], UNFINISHED, {"state": "skipped"})
    place.turn(daemon)
    assert [60.0, 60.0, 120.0, 120.0] == place.moments


def test_a_run_that_an_operator_asks_for_is_one_of_the_queue(place):
    daemon = place.planned()
    (asked,) = daemon.office.fire_now("s").task_ids
    place.turn(daemon, seconds=60)
    assert [asked] == [task.id for task in place.unfinished]
    with pytest.raises(StoreError, match="is not finished"):
        daemon.office.fire_now("s")

    place.end()
    place.turn(daemon)
    assert [0.0, 60.0] == place.moments


def test_a_run_that_was_asked_for_and_never_stored_holds_nothing_up_for_long(place, monkeypatch):
    daemon = place.planned()
    place.clock.advance(55)
    with monkeypatch.context() as patch:
        patch.setattr(daemon.office._direct, "store", killed)
        with pytest.raises(Killed):
            daemon.office.fire_now("s")
    place.turn(daemon, seconds=5)
    assert [] == place.moments
    place.turn(daemon, seconds=STORED_WITHIN.total_seconds())
    assert [60.0] == place.moments


def test_a_record_with_anything_in_it_is_borne(place):
    place.planned()
    (record,) = place.stores[0].records("schedule")
    odd = {**record.fields, "waiting": ["x", 1], "last": "y", "last_tasks": None, "also": 7, "also_at": "z"}
    place.stores[0].keep_records([replace(record, fields=odd)])
    late = place.daemon()
    place.turn(late)
    place.turn(late, seconds=60)

    assert [60.0] == place.moments


def killed(*_):
    raise Killed
