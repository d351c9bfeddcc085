"""A task that fails too often is paused by itself, over all daemons; one is tried until one succeeds."""

from __future__ import annotations

import gevent
import pytest

from bus import telemetry
from bus.admin import Admin
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import Clock, FrozenClock
from bus.engine.claimer import Claimer
from bus.engine.executor import Executor
from bus.engine.lanes import Lane, Lanes
from bus.engine.pool import Pool
from bus.engine.recorder import Recorder
from bus.errors import Cancel, Snooze, StoreUnavailable
from bus.maintenance.breakers import Breakers
from bus.maintenance.pause_monitor import PauseMonitor
from bus.model import Filter, Instance, Posting
from bus.pauses import KIND as PAUSE
from bus.retry import Policy

from .samples import a_task


class Place:
    """One deployment, one frozen clock, and a mail server that answers as *answer* says."""

    def __init__(self, new_store):
        self.clock = FrozenClock()
        self.stores = [new_store()]
        self.stores.append(new_store() if self.stores[0].shared else self.stores[0])
        self.options = {"open_after": "3 failures in 1m", "probe": 30.0}
        self.answer = ConnectionError("smtp is down")
        self.began = 0
        self.gate = None

    def send(self, *_):
        self.began += 1
        if self.gate is not None:
            self.gate.wait(5)
        if self.answer is not None:
            raise self.answer

    def daemon(self, number=1):
        return Daemon(self, self.stores[number - 1], number)

    def waiting(self, count=1, name="mail"):
        ids = []
        for _ in range(count):
            task = a_task(name, time_queue=self.clock.now())
            self.stores[0].post([Posting([task])])
            ids.append(task.id)
        return ids

    @property
    def pauses(self):
        return [state.pause for state in Admin(self.stores[0], self.clock).pauses()]

    def states(self):
        return {str(name): count for name, count in self.stores[0].count(Filter()).items()}


class Daemon:
    """The parts of a daemon that run tasks and look at breakers, by hand."""

    def __init__(self, place, store, number):
        self.place, self.store = place, store
        clock = place.clock
        self.registry = Registry()
        self.registry.add(Task(place.send, "mail", Options().but(place.options)))
        self.registry.add(Task(lambda *_: None, "other", Options()))
        self.instance = Instance(f"w{number}", f"monqbus/here pid {number}", None)
        store.renew(self.instance, 1e6)
        self.recorder = Recorder(store, clock)
        self.executor = Executor(lambda: self.registry, self.recorder, clock, Policy())

        def new_claimer(pool, names):
            self.claimer = Claimer(
                store, self.instance, pool, self.recorder, clock, names=names, may_claim=lambda: True
            )
            return self.claimer

        self.lanes = Lanes(
            self.instance, clock, lambda size: Pool(size, self.executor.run, Clock()), new_claimer
        )
        self.lanes.arrange({"greenlets": Lane(4, frozenset(self.registry.tasks))})
        self.monitor = PauseMonitor(store, clock, lambda: self.lanes.pause(self.monitor.is_task_paused))
        self.breakers = Breakers(store, clock, self.monitor, self.lanes, lambda: self.registry.tasks)
        self.executor.ended = self.breakers.note
        self.admin = Admin(store, clock, paused=self.monitor.look)
        self.monitor.look()

    def turn(self, seconds=0.0):
        """Let time pass; then each of its loops has its turn, and what began has ended."""
        self.place.clock.advance(seconds)
        self.monitor.look()
        self.breakers.look()
        for _ in range(2):
            self.claimer.tick()
        if self.place.gate is None:
            self.lanes.drain(5)
        gevent.sleep(0)
        self.recorder.tick()
        self.breakers.look()
        self.monitor.look()


@pytest.fixture
def place(new_store):
    return Place(new_store)


@pytest.fixture
def told():
    """The facts about breakers, by name."""
    names = []
    forget = telemetry.listen(lambda fact, _: fact.startswith("breaker.") and names.append(fact))
    yield names
    forget()


def opened(place, daemon):
    """Let the breaker open."""
    place.waiting(3)
    daemon.turn()
    assert 1 == len(place.pauses)


def test_so_many_failures_in_so_much_time_pause_the_task_and_say_why(place, told):
    daemon = place.daemon()
    place.waiting(2)
    daemon.turn()
    assert [] == place.pauses
    place.waiting(1)
    daemon.turn()
    place.waiting(5)
    daemon.turn()

    (pause,) = place.pauses
    assert ("mail", "open_after") == (pause.name, pause.by)
    assert "3 failures in 1m, the last one: ConnectionError: smtp is down" in pause.reason
    assert 3 == place.began
    assert 8 == daemon.admin.count_paused(Filter())
    assert ["breaker.opened"] == told


def test_failures_further_apart_than_the_time_open_nothing(place):
    place.options["max_attempts"] = 1
    daemon = place.daemon()
    for _ in range(6):
        place.waiting(1)
        daemon.turn(31)

    assert [] == place.pauses


def test_it_is_off_by_default(place):
    place.options = {}
    daemon = place.daemon()
    place.waiting(20)
    for _ in range(6):
        daemon.turn()

    assert 20 == place.began
    assert [] == place.pauses
    assert [] == place.stores[0].records("failures")


def test_failures_are_counted_over_all_daemons_and_over_restarts(place):
    for number in (1, 2, 1):
        place.waiting(1)
        place.daemon(number).turn()

    assert ["mail"] == [pause.name for pause in place.pauses]


def test_two_daemons_that_count_at_the_same_time_lose_no_failure(place):
    one, other = place.daemon(1), place.daemon(2)
    for daemon in (one, other):
        place.waiting(1)
        daemon.claimer.tick()
        daemon.lanes.drain(5)
    stored = one.store.records
    raced = []

    def records(kind):
        found = stored(kind)
        if kind == "failures" and not raced:
            raced.append(1)
            other.breakers.look()
        return found

    one.breakers._store = Overridden(one.store, records=records)
    one.breakers.look()
    one.breakers.look()
    (record,) = place.stores[0].records("failures")

    assert 2 == len(record.fields["at"])


def test_one_is_tried_each_so_often_and_a_success_lets_all_go_on(place, told):
    daemon = place.daemon()
    opened(place, daemon)
    daemon.turn(29)
    assert 3 == place.began
    for expected in (4, 5):
        daemon.turn(30)
        assert expected == place.began
    place.answer = None
    place.waiting(3)
    daemon.turn(30)
    daemon.turn()
    daemon.turn(600)

    assert [] == place.pauses
    assert {"complete": 6} == place.states()
    assert ["breaker.opened", *["breaker.probed"] * 3, "breaker.closed"] == told


def test_of_several_daemons_one_tries_one(place):
    one, other = place.daemon(1), place.daemon(2)
    opened(place, one)
    place.clock.advance(60)
    for daemon in (one, other, one, other):
        daemon.monitor.look()
        daemon.breakers.look()
    one.lanes.drain(5)
    other.lanes.drain(5)

    assert 4 == place.began


def test_a_try_that_goes_on_keeps_others_from_being_tried(place):
    """Also when a daemon that has not begun it looks."""
    one, other = place.daemon(1), place.daemon(2)
    opened(place, one)
    place.waiting(2)
    place.gate = gevent.event.Event()
    for _ in range(4):
        one.turn(31)
        other.turn()
    assert 4 == place.began

    place.answer = None
    place.gate.set()
    place.gate = None
    one.turn()
    one.turn(600)
    assert [] == place.pauses


def test_a_try_that_is_cancelled_is_neither_and_the_next_one_is_tried(place):
    daemon = place.daemon()
    opened(place, daemon)
    place.answer = Cancel("not wanted")
    place.waiting(1)
    daemon.turn(60)
    assert ["mail"] == [pause.name for pause in place.pauses]
    assert 4 == place.began
    place.answer = Snooze(1.0)
    daemon.turn(31)
    assert ["mail"] == [pause.name for pause in place.pauses]
    place.answer = None
    daemon.turn(31)

    assert [] == place.pauses


def test_a_try_whose_task_an_operator_cancels_holds_nothing_up(place):
    daemon = place.daemon()
    opened(place, daemon)
    place.waiting(1)
    place.gate = gevent.event.Event()
    daemon.turn(60)
    (trying,) = daemon.store.find(Filter(states=("busy",)), 10)
    daemon.admin.cancel(Filter(ids=(trying.id,)))
    place.gate.set()
    place.gate, place.answer = None, None
    daemon.lanes.drain(5)
    daemon.store.records(PAUSE)
    daemon.turn(31)

    assert [] == place.pauses


def test_a_daemon_that_dies_after_its_try_succeeded_is_stood_in_for(place):
    one, other = place.daemon(1), place.daemon(2)
    opened(place, one)
    place.answer = None
    place.clock.advance(60)
    one.monitor.look()
    one.breakers.look()
    one.lanes.drain(5)
    one.recorder.tick()  # and then it is killed
    other.turn()
    assert ["mail"] == [pause.name for pause in place.pauses]
    other.turn(31)

    assert [] == place.pauses


def test_a_daemon_that_dies_before_its_try_began_holds_nothing_up(place):
    one, other = place.daemon(1), place.daemon(2)
    opened(place, one)
    place.answer = None
    one.lanes.try_one = killed
    with pytest.raises(Killed):
        one.turn(60)
    other.turn()
    assert 3 == place.began
    other.turn(31)

    assert [] == place.pauses


def test_it_is_open_after_a_restart_and_goes_on_to_try(place):
    opened(place, place.daemon())
    late = place.daemon()
    place.waiting(4)
    late.turn()
    assert 3 == place.began
    late.turn(31)

    assert 4 == place.began


def test_an_operator_who_resumes_it_closes_it_and_it_counts_anew(place):
    daemon = place.daemon()
    opened(place, daemon)
    daemon.admin.resume("task", "mail")
    place.waiting(2)
    daemon.turn()
    assert [] == place.pauses
    assert 5 == place.began
    place.waiting(1)
    daemon.turn()

    assert ["mail"] == [pause.name for pause in place.pauses]


def test_an_operator_who_pauses_it_ends_the_tries(place):
    daemon = place.daemon()
    opened(place, daemon)
    daemon.admin.pause("task", "mail", "a migration")
    for _ in range(3):
        daemon.turn(60)

    assert 3 == place.began
    assert ["a migration"] == [pause.reason for pause in place.pauses]


def test_nothing_is_tried_while_another_pause_holds_it_up(place):
    daemon = place.daemon()
    opened(place, daemon)
    daemon.admin.pause("task", "*", "a freeze")
    daemon.turn(60)
    assert 3 == place.began
    daemon.admin.resume("task", "*")
    daemon.turn(1)

    assert 4 == place.began


def test_one_whose_open_after_is_gone_after_a_reload_still_closes_when_a_try_succeeds(place):
    daemon = place.daemon()
    opened(place, daemon)
    place.options, place.answer = {}, None
    reloaded = place.daemon()
    reloaded.turn(60)
    reloaded.turn(60)

    assert [] == place.pauses


def test_one_whose_task_is_gone_waits_for_an_operator(place):
    daemon = place.daemon()
    opened(place, daemon)
    del daemon.registry.tasks["mail"]
    daemon.lanes.arrange({"greenlets": Lane(4, frozenset({"other"}))})
    daemon.turn(60)
    assert 3 == place.began
    daemon.admin.resume("task", "mail")

    assert [] == place.pauses


def test_a_clock_that_was_set_back_does_not_put_off_the_next_try(place):
    daemon = place.daemon()
    opened(place, daemon)
    place.waiting(1)
    place.clock.step(-7200)
    task = a_task("mail", time_queue=place.clock.now())
    place.stores[0].post([Posting([task])])
    daemon.turn()

    assert 4 == place.began


def test_an_outage_of_the_store_loses_no_failure(place):
    daemon = place.daemon()
    place.waiting(3)
    daemon.claimer.tick()
    daemon.lanes.drain(5)
    daemon.breakers._store = Overridden(daemon.store, keep_records=away)
    with pytest.raises(StoreUnavailable):
        daemon.breakers.look()
    daemon.breakers._store = daemon.store
    daemon.breakers.look()

    assert ["mail"] == [pause.name for pause in place.pauses]


def test_other_tasks_go_on(place):
    daemon = place.daemon()
    opened(place, daemon)
    place.waiting(3, "other")
    daemon.turn()
    daemon.turn()

    assert {"ready": 3, "complete": 3} == place.states()


class Killed(BaseException):
    """In place of SIGKILL."""


def killed(*_):
    raise Killed


def away(*_):
    raise StoreUnavailable("away")


class Overridden:
    """A store of which some verbs are others."""

    def __init__(self, store, **verbs):
        self._store = store
        self.__dict__.update(verbs)

    def __getattr__(self, name):
        return getattr(self._store, name)
