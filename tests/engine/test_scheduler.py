"""A tick is stored once, by whatever daemon is there first; what nobody was there for goes by `missed`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bus.clock import FrozenClock
from bus.errors import NotAccepted, StoreUnavailable
from bus.maintenance.scheduler import LOOK_SECONDS, Scheduler
from bus.model import EventFilter, Filter
from bus.schedules import At, Cron, Every, Schedule

START = FrozenClock().now()
"""Where the clock of each test begins."""


@pytest.fixture
def place(engine):
    return Place(engine)


class Place:
    """One store, one frozen clock, any number of daemons with a scheduler each."""

    def __init__(self, engine):
        self.engine = engine
        engine.declare(lambda *_, **__: None, "t")
        self.fired = 0

    @property
    def registry(self):
        return self.engine.registry

    def plan(self, **fields):
        """Declare one in place of all that were."""
        schedule = Schedule("s", fields.pop("moments", Every(60)), **{"task": "t", **fields})
        self.registry.schedules = {"s": schedule}
        return schedule

    def daemon(self):
        def fire(ticks):
            self.fired += len(ticks)
            return self.engine.office.fire(ticks)

        return Scheduler(self.engine.store, lambda: self.registry, fire, self.engine.clock)

    def turn(self, *daemons, seconds=0.0):
        self.engine.clock.advance(seconds)
        for daemon in daemons:
            daemon.tick()

    @property
    def moments(self):
        """The moments of all stored tasks, in seconds since the test began, by time."""
        tasks = self.engine.store.find(Filter(name="t"), 1000)
        return sorted((task.scheduled_for - START).total_seconds() for task in tasks)


def test_a_tick_is_a_task_that_knows_its_moment(place):
    place.plan(args=[1], kwargs={"b": 2})
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=60)
    (task,) = place.engine.store.find(Filter(), 10)
    task = place.engine.store.get(task.id)

    assert ([1], {"b": 2}) == (task.args, task.kwargs)
    assert START + timedelta(seconds=60) == task.scheduled_for
    assert "schedule" == place.engine.store.event(task.event_id).kind


def test_a_topic_gets_an_event_with_a_task_for_each_handler(place):
    place.engine.declare(lambda *_: None, "h1", topic="due")
    place.engine.declare(lambda *_: None, "h2", topic="due")
    place.plan(task="", topic="due", args=["x"])
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=60)
    tasks = place.engine.store.find(Filter(topic="due"), 10)

    assert {"h1", "h2"} == {task.task_name for task in tasks}
    assert {START + timedelta(seconds=60)} == {task.scheduled_for for task in tasks}
    assert ["due", "x"] == place.engine.store.get(tasks[0].id).args


def test_nothing_fires_before_its_moment_and_nothing_for_the_past_of_a_new_schedule(place):
    place.plan(missed="all")
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=59.999)

    assert [] == place.moments
    place.turn(daemon, seconds=0.001)
    assert [60.0] == place.moments


def test_of_several_daemons_whoever_comes_first_stores_it_and_the_others_find_it(place):
    place.plan()
    daemons = [place.daemon() for _ in range(3)]
    place.turn(*daemons)
    for _ in range(5):
        place.turn(*daemons, seconds=60)

    assert [60.0, 120.0, 180.0, 240.0, 300.0] == place.moments


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", [600.0]), ("once", [540.0, 600.0]), ("all", [60.0 * n for n in range(1, 11)])],
)
def test_what_no_daemon_was_there_for_goes_as_missed_says(place, facts, missed, expected):
    place.plan(missed=missed)
    place.turn(place.daemon())
    place.engine.clock.advance(600)
    place.turn(place.daemon())

    assert expected == place.moments
    told = [dict(fields) for fields in facts.of("schedule.late")]
    assert ([] if missed == "skip" else ["no daemon was running then, or its clock was behind"]) == [
        fields["reason"] for fields in told
    ]
    assert {"skip": [9], "once": [8], "all": []}[missed] == [
        fields["count"] for fields in facts.of("schedule.missed")
    ]


def test_missed_ticks_that_are_older_than_missed_within_are_left_out(place):
    place.plan(missed="all", missed_within=180.0)
    place.turn(place.daemon())
    place.turn(place.daemon(), seconds=600)

    assert [480.0, 540.0, 600.0] == place.moments


def test_a_daemon_that_dies_between_the_ticks_and_its_record_repeats_none(place, monkeypatch):
    place.plan(missed="all")
    daemon = place.daemon()
    place.turn(daemon)
    with monkeypatch.context() as patch:
        patch.setattr(place.engine.store, "keep_records", failing(StoreUnavailable("away")))
        with pytest.raises(StoreUnavailable):
            place.turn(daemon, seconds=60)
    fired = place.fired
    place.turn(place.daemon())

    assert fired < place.fired
    assert [60.0] == place.moments


def test_while_the_store_is_away_nothing_is_decided(place, monkeypatch):
    place.plan(missed="all")
    daemon = place.daemon()
    place.turn(daemon)
    with monkeypatch.context() as patch:
        patch.setattr(place.engine.store, "post", failing(StoreUnavailable("away")))
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                place.turn(daemon, seconds=60)
    place.turn(daemon)

    assert [60.0, 120.0, 180.0] == place.moments


@pytest.mark.parametrize("seconds", [-7200, -90, 90, 7200])
def test_a_clock_that_jumps_and_comes_back_neither_repeats_nor_loses_a_tick(place, seconds):
    """The queue's time does not even jump; this is a machine without it."""
    place.plan(missed="all", missed_within=1e6)
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=60)
    place.engine.clock.step(seconds)
    place.turn(daemon)
    place.engine.clock.step(-seconds)
    for _ in range(200):
        place.turn(daemon, seconds=60)

    assert [60.0 * n for n in range(1, 202)] == place.moments


def test_a_schedule_whose_moments_were_changed_begins_anew(place):
    place.plan(missed="all")
    daemon = place.daemon()
    place.turn(daemon)
    place.engine.clock.advance(600)
    place.plan(moments=Every(45), missed="all")
    place.turn(daemon)
    assert [] == place.moments
    place.turn(daemon, seconds=45)

    assert [630.0] == place.moments


def test_one_of_which_only_the_task_was_changed_goes_on_where_it_was(place):
    place.plan(missed="all", args=[1])
    place.turn(place.daemon())
    place.plan(missed="all", args=[2])
    place.turn(place.daemon(), seconds=120)

    assert [60.0, 120.0] == place.moments


def test_one_that_was_removed_and_comes_back_begins_where_its_record_ends(place):
    """As if no daemon had run: `missed` decides."""
    schedule = place.plan(missed="skip")
    daemon = place.daemon()
    place.turn(daemon)
    place.registry.schedules = {}
    assert daemon.tick() is None
    place.engine.clock.advance(600)
    place.registry.schedules = {"s": schedule}
    place.turn(daemon)

    assert [600.0] == place.moments


def test_an_overlapping_tick_is_left_out_while_an_earlier_task_is_unfinished(place, facts):
    place.plan(overlap="skip", missed="all")
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=60)
    place.turn(daemon, seconds=60)
    (waiting,) = place.engine.store.find(Filter(), 10)
    assert [60.0] == place.moments
    assert [waiting.id] == [fields["holder"] for fields in facts.of("schedule.skipped")]

    place.engine.perform(place.engine.store.get(waiting.id))
    place.turn(daemon, seconds=60)
    assert [60.0, 180.0] == place.moments


def test_a_call_that_the_task_does_not_take_is_told_of_and_holds_up_no_other(place, facts):
    place.engine.declare(lambda a: None, "narrow")
    good = place.plan()
    place.registry.schedules = {
        "bad": replace(good, name="bad", task="narrow", args=[1, 2, 3]),
        "s": good,
    }
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=60)
    place.turn(daemon, seconds=60)

    assert [60.0, 120.0] == place.moments
    assert ["bad", "bad"] == [fields["schedule"] for fields in facts.of("schedule.refused")]


def test_a_tick_that_a_rule_of_the_store_refuses_holds_up_no_other(place, facts, monkeypatch):
    good = place.plan()
    place.registry.schedules = {"bad": replace(good, name="bad", args=["bad"]), "s": good}
    post = place.engine.store.post

    def choosy(postings):
        if any("bad" in task.args for posting in postings for task in posting.tasks):
            raise NotAccepted("a validator")
        return post(postings)

    monkeypatch.setattr(place.engine.store, "post", choosy)
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=60)

    assert [60.0] == place.moments
    assert ["bad"] == [fields["schedule"] for fields in facts.of("schedule.refused")]


def test_a_daemon_that_was_stopped_says_so(place, facts):
    place.plan()
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=600)

    assert ["this daemon did not look for 600 s: it was stopped, or its hub blocked"] == [
        fields["reason"] for fields in facts.of("schedule.late")
    ]


def test_it_sleeps_until_the_next_moment_and_never_long(place):
    assert place.daemon().tick() is None

    place.plan(moments=Every(3))
    assert 3.0 == place.daemon().tick()
    place.plan(moments=Every(3600))
    assert LOOK_SECONDS == place.daemon().tick()
    place.plan(moments=At(START - timedelta(days=1)))
    assert LOOK_SECONDS == place.daemon().tick()


def test_a_record_that_nobody_can_read_is_begun_anew(place):
    place.plan(missed="all")
    place.turn(place.daemon())
    (record,) = place.engine.store.records("schedule")
    place.engine.store.keep_records(
        [replace(record, fields={"seen": "yesterday", "moments": record.fields["moments"]})]
    )
    daemon = place.daemon()
    place.turn(daemon, seconds=600)
    place.turn(daemon, seconds=60)

    assert [660.0] == place.moments


def test_the_record_names_the_last_tick_and_its_tasks(place):
    place.plan()
    daemon = place.daemon()
    place.turn(daemon)
    place.turn(daemon, seconds=60)
    (record,) = place.engine.store.records("schedule")
    (task,) = place.engine.store.find(Filter(), 10)

    assert START + timedelta(seconds=60) == record.fields["last"]
    assert [task.id] == record.fields["last_tasks"]


def test_ten_thousand_missed_ticks_are_stored_in_calls_of_a_bounded_size(place, monkeypatch):
    sizes = []
    post = place.engine.store.post
    monkeypatch.setattr(
        place.engine.store, "post", lambda postings: sizes.append(len(postings)) or post(postings)
    )
    one = place.plan(moments=Cron("* * * * *"), missed="once")
    place.registry.schedules = {f"s{number}": replace(one, name=f"s{number}") for number in range(10_000)}
    place.turn(place.daemon())
    place.turn(place.daemon(), seconds=3000)

    assert 20_000 == sum(place.engine.store.count(Filter()).values())
    assert max(sizes) <= 1000
    assert 20_000 == len(all_events(place.engine.store))


def all_events(store):
    found, cursor = [], None
    while page := store.events(1000, cursor, EventFilter(kind="schedule")):
        found, cursor = found + page, page[-1].id
    return found


def failing(error):
    def fail(*_):
        raise error

    return fail
