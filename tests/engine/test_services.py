"""Whoever does not come to do his work makes the daemon not ready, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event as Signal

from bus.clock import Clock
from bus.daemon.readiness import Readiness
from bus.daemon.services import LOOK_SECONDS, Services
from bus.engine.health import Health
from bus.engine.loop import Loop
from bus.engine.run import Run
from bus.errors import StoreError, StoreUnavailable
from bus.maintenance.feed_listener import Listener
from bus.maintenance.pause_monitor import PauseMonitor
from bus.maintenance.program_monitor import ProgramMonitor
from bus.maintenance.pruner import Pruner
from bus.maintenance.queue_depth import QueueDepth
from bus.maintenance.reconciler import Reconciler
from bus.maintenance.rescuer import Rescuer
from bus.maintenance.spooler import Spooler
from bus.maintenance.store_monitor import StoreMonitor
from bus.maintenance.unknown_tasks import UnknownTasks
from bus.maintenance.watchdog import Watchdog
from bus.model import Event
from bus.posting import PostOffice
from bus.retry import Policy, Returned, decide
from bus.store import open_spool
from bus.store.contract import Heard

from .conftest import PATIENCE, Engine, Facts


class Breakable:
    """A store some of whose verbs are broken, which fail with *error*."""

    def __init__(self, store: Any) -> None:
        self.whole = store
        self.broken: set[str] = set()
        self.error: Exception = StoreUnavailable("it fails again and again")

    def __getattr__(self, verb: str) -> Any:
        return self.fail if verb in self.broken else getattr(self.whole, verb)

    def fail(self, *_: object) -> Any:
        raise self.error

    def listen(self, seconds: float) -> Heard:
        """As a shared store to which nobody rings."""
        return Heard("quiet")


class House:
    """Every loop of a daemon on one store in memory, a spool beside it, and what `/readyz` would say."""

    def __init__(self, engine: Engine, folder: Any) -> None:
        self.engine = engine
        self.clock = clock = engine.clock
        store = engine.store
        self.store = engine.faulty._store = Breakable(engine.faulty._store)
        spool = open_spool(folder, 64 * 1024**2)
        assert spool is not None
        self.spool = spool
        self.store_monitor = StoreMonitor(store, clock)
        self.spooler = Spooler(spool, store, clock, engine.lanes.expect)
        self.depth = QueueDepth(store, clock, 100)
        self.pause_monitor = PauseMonitor(store, clock, lambda: None)
        self.loops = [
            self.store_monitor.loop,
            self.spooler.store_monitor.loop,
            self.spooler.loop,
            engine.recorder.loop,
            Rescuer(store, engine.instance, clock, Policy, lambda: None).loop,
            Pruner(store, clock).loop,
            self.pause_monitor.loop,
            Reconciler(store, engine.instance, engine.lanes, engine.recorder, clock).loop,
            UnknownTasks(store, lambda: engine.registry.tasks).loop,
            self.depth.loop,
            Listener(store, lambda _: None).loop,
            engine.claimer.loop,
        ]
        for loop in self.loops:
            loop.health._clock = clock
        self.services = Services(clock, self.records, store=self.store_monitor.loop.health)
        self.office = PostOffice(store, lambda: engine.registry, clock, spooler=self.spooler)
        watchdog = Watchdog(clock, lambda *_: None)
        programs = ProgramMonitor(dict, lambda look: look())
        self.readiness = Readiness(
            self.store_monitor,
            self.spooler,
            self.services,
            self.depth,
            watchdog,
            programs,
            self.pause_monitor,
            lambda: False,
            dict,
        )

    def records(self) -> list[Health]:
        return [loop.health for loop in self.loops] + self.engine.lanes.records[1:]

    def live(self, seconds: float) -> None:
        """So many seconds, in each of which every loop has one turn and the main greenlet looks."""
        for _ in range(int(seconds)):
            for loop in self.loops:
                loop.turn()
            self.clock.advance(LOOK_SECONDS)
            self.services.look()

    def deliver(self) -> None:
        now = self.clock.now()
        self.readiness.observed(self.office.deliver)(Event(self.clock.new_id(), "a", now, hook="x"))

    @property
    def late(self) -> list[str]:
        return [row["name"] for row in self.services.describe() if row["state"] == "failing"]


@pytest.fixture
def house(engine: Engine, tmp_path: Any) -> House:
    house = House(engine, tmp_path)
    yield house  # type: ignore[misc]
    house.store.broken = set()
    house.spool.close()


def an_end(house: House) -> None:
    """A run that has ended and is to be recorded."""
    task = house.engine.waiting(name="held")
    (claimed,) = house.store.whole.claim(house.engine.instance, ["held"], 1, house.clock.now()).tasks
    assert task.id == claimed.id
    house.engine.recorder.put(Run(claimed, 0.0), decide(claimed, Returned(None), house.clock.now(), Policy()))


def nothing(house: House) -> None:
    """It works without being given anything."""


CASES: dict[str, tuple[str, Callable[[House], None], str]] = {
    "claims": ("claim", nothing, "claimer of greenlets"),
    "ends": ("report", an_end, "recorder"),
    "rescues": ("orphans", nothing, "rescuer"),
    "audits": ("held", nothing, "reconciler"),
    "counting": ("depth", nothing, "queue depth"),
}


@pytest.mark.parametrize("error", [StoreUnavailable("no answer"), StoreError("no"), ValueError("rubbish")])
@pytest.mark.parametrize("case", CASES)
def test_what_fails_again_and_again_makes_the_daemon_not_ready(
    house: House, facts: Facts, case: str, error: Exception
):
    """Though the store answers everybody else: it is named, with its error, until it has succeeded."""
    verb, given, name = CASES[case]
    house.live(3)
    given(house)
    assert house.readiness.complaint() is None
    house.store.broken, house.store.error = {verb}, error
    house.live(60)

    complaint = house.readiness.complaint()
    assert complaint is not None
    assert complaint.startswith(f"{name}: has not succeeded for ")
    assert f"{type(error).__name__}: {error}" in complaint
    assert [name] == house.late == [fields["service"] for fields in facts.of("service.failing")]

    house.store.broken = set()
    house.live(12)
    assert house.readiness.complaint() is None
    assert [name] == [fields["service"] for fields in facts.of("service.recovered")]


@pytest.mark.parametrize(
    ("verb", "name", "seconds"), [("prune", "pruner", 180), ("waiting", "unknown tasks", 90)]
)
def test_those_who_seldom_work_have_more_time(house: House, verb: str, name: str, seconds: int):
    """Three of their own periods."""
    house.live(2)
    house.store.broken = {verb}
    house.live(seconds - 3)
    before = house.late
    house.live(9)

    assert ([], [name]) == (before, house.late)


def test_a_spool_that_cannot_be_read_makes_the_daemon_not_ready(house: House, facts: Facts, monkeypatch: Any):
    """What was promised does not get into the store, and no later delivery either."""
    house.store.broken = {"post", "ping"}
    house.deliver()
    house.store.broken = set()
    monkeypatch.setattr(house.spool, "oldest", house.store.fail)
    house.live(16)

    assert "spooler: has not succeeded for " in str(house.readiness.complaint())
    assert ["spooler"] == [fields["service"] for fields in facts.of("service.failing")]


def test_a_spool_that_cannot_be_read_is_no_refuge_either(house: House, monkeypatch: Any):
    """The store is away as well; nobody is excused by that who does not wait for it."""
    house.store.broken = {"post", "ping"}
    house.deliver()
    monkeypatch.setattr(house.spool, "oldest", house.store.fail)
    house.live(20)

    assert "spooler: has not succeeded for " in str(house.readiness.complaint())


def test_a_spool_whose_disk_fails_makes_the_daemon_not_ready(house: House, monkeypatch: Any):
    """It stands in for a store that is away, and nobody stands in for it."""
    house.store.broken = {"post", "ping"}
    house.deliver()
    monkeypatch.setattr(house.spool, "ping", house.store.fail)
    house.live(6)

    assert "spool: it fails again and again" == house.readiness.complaint()


def test_an_outage_that_the_spool_takes_is_ready_however_long(house: House, facts: Facts):
    """The store is told of, and none of those who wait for it; when it is back nobody is late either."""
    house.live(3)
    house.engine.faulty.sleep()
    house.deliver()
    seen = set()
    for _ in range(100):
        house.live(1)
        seen.add(house.readiness.complaint())
    told = [fields["service"] for fields in facts.of("service.failing")]
    house.engine.faulty.wake()
    for _ in range(20):
        house.live(1)
        seen.add(house.readiness.complaint())

    assert ({None}, ["store"]) == (seen, told)
    assert ["store"] == [fields["service"] for fields in facts.of("service.failing")]
    assert not house.spooler.is_open


def test_an_outage_without_a_spool_names_the_store_alone(house: House):
    """One reason, and not eight consequences."""
    house.live(3)
    house.engine.faulty.sleep()
    house.live(100)

    assert "store: faulty store: tend was told to fail" == house.readiness.complaint()


def test_a_refused_delivery_is_seen_at_once(house: House):
    """Nobody waits until the store is asked again."""
    house.spooler.is_open = False
    house.office = PostOffice(house.engine.store, lambda: house.engine.registry, house.clock)
    house.store.broken = {"post"}
    with pytest.raises(StoreUnavailable):
        house.deliver()
    refused = house.readiness.complaint()
    house.live(1)

    assert ("store: it fails again and again", None) == (refused, house.readiness.complaint())


def test_a_delivery_that_the_store_has_taken_is_seen_at_once(house: House):
    """One that only the spool has taken says nothing of the store."""
    house.live(1)
    house.engine.faulty.sleep()
    house.deliver()
    house.live(6)
    house.deliver()
    spooled = house.store_monitor.complaint
    house.engine.faulty.wake()
    while house.spooler.is_open:
        house.spooler.loop.turn()
    away = house.readiness.complaint()
    house.deliver()

    assert spooled == away is not None
    assert house.readiness.complaint() is None


def test_asking_for_the_readiness_asks_no_store(house: House):
    """Strangers may ask as often as they like."""
    house.live(3)
    house.store.broken = set(dir(type(house.store.whole)))

    assert {None} == {house.readiness.complaint() for _ in range(300)}


def test_a_daemon_whose_slots_are_full_for_hours_is_well(house: House):
    """A claimer that has nothing to claim into does its work."""
    house.engine.claimer.pool.reserve(4)
    house.live(100)

    assert [] == house.late


def test_a_claimer_without_names_is_well(house: House):
    """It sleeps until a reload brings some."""
    house.engine.names["greenlets"].clear()
    house.engine._arrange()
    house.store.broken = {"claim"}
    house.live(100)

    assert [] == house.late


def test_a_hub_that_stood_still_is_nobodys_fault(house: House, facts: Facts):
    """Whoever blocks it is named by the watchdog; a stopped process has no one to blame."""
    house.live(3)
    house.clock.advance(600.0)
    house.services.look()

    assert ([], []) == (house.late, facts.of("service.failing"))


def test_who_has_died_is_told_once_and_returned(facts: Facts):
    """Again and again, so that nobody has to catch the moment."""
    well, dead = Health("well"), Health("dead")
    dead.die("killed")
    services = Services(Clock(), lambda: [well, dead])

    assert [[dead], [dead]] == [services.look(), services.look()]
    assert [("service.died", {"service": "dead", "reason": "killed"})] == facts.told


def test_a_killed_loop_is_found(engine: Engine, facts: Facts):
    """`gevent.killall` of a handler reaches every greenlet that it can find."""
    loop = Loop("test", lambda: None)
    loop.start()
    gevent.idle()
    services = Services(engine.clock, lambda: [loop.health])
    before = services.look()
    gevent.killall([loop._greenlet], timeout=PATIENCE)
    gevent.idle()

    assert ([], [loop.health]) == (before, services.look())
    assert [{"service": "test", "reason": "GreenletExit"}] == facts.of("service.died")


def test_a_loop_that_hangs_in_a_call_is_late_too(engine: Engine, facts: Facts):
    """No error is known of it, and none will be."""
    gate = Signal()
    loop = Loop("test", lambda: bool(gate.wait(PATIENCE)) and None, 5.0, engine.clock)
    services = Services(engine.clock, lambda: [loop.health])
    loop.start()
    gevent.idle()
    for _ in range(16):
        engine.clock.advance(LOOK_SECONDS)
        services.look()
    complaint = services.complaint
    gate.set()
    loop.stop()

    assert "test: has not succeeded for 16 s" == complaint
    assert [{"service": "test", "seconds": 16.0}] == facts.of("service.failing")
