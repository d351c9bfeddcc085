"""The store looks after itself, and somebody tells."""

from __future__ import annotations

from bus import telemetry
from bus.errors import StoreUnavailable
from bus.maintenance.store_monitor import AGAIN_SECONDS, ASK_SECONDS, PAUSE_SECONDS, StoreMonitor
from bus.store import Notice


def test_what_the_store_notices_is_told_in_order(engine, facts, monkeypatch):
    news = [Notice("store.reserve_made", {"free_bytes": 1}), Notice("store.has_space", {"free_bytes": 2})]
    monkeypatch.setattr(engine.faulty._store, "tend", lambda: news)

    assert PAUSE_SECONDS == StoreMonitor(engine.store, engine.clock).tick()
    assert [("store.reserve_made", {"free_bytes": 1}), ("store.has_space", {"free_bytes": 2})] == facts.told


def test_a_store_that_is_away_is_not_told_here(engine, facts):
    """Those who need it for their work say so; once a second would be too often."""
    engine.faulty.sleep()

    assert AGAIN_SECONDS == StoreMonitor(engine.store, engine.clock).tick()
    assert [] == facts.told


def test_a_store_without_a_disk_has_nothing_to_say(engine, facts):
    StoreMonitor(engine.store, engine.clock).tick()

    assert [] == facts.told


class Asked:
    """A store that counts how often it is asked to write, and refuses when told to."""

    def __init__(self) -> None:
        self.pings = 0
        self.news: list[Notice] = []
        self.error: StoreUnavailable | None = None

    def tend(self):
        news, self.news = self.news, []
        return news

    def ping(self) -> None:
        self.pings += 1
        if self.error is not None:
            raise self.error


def test_a_store_that_is_well_is_asked_to_write_now_and_then(engine):
    """Every write is a sync of the disk; nobody who asks for the readiness causes one."""
    store, clock = Asked(), engine.clock
    store_monitor = StoreMonitor(store, clock)
    for _ in range(61):
        clock.advance(store_monitor.tick())

    assert (60 / ASK_SECONDS, None) == (store.pings, store_monitor.complaint)


def test_a_store_that_refuses_is_asked_again_soon(engine):
    """Until it takes work: deliveries come back then."""
    store, clock = Asked(), engine.clock
    store_monitor = StoreMonitor(store, clock)
    store.error = StoreUnavailable("away")
    clock.advance(ASK_SECONDS)
    pauses = [store_monitor.tick() for _ in range(3)]
    refused = store_monitor.complaint
    store.error = None

    assert PAUSE_SECONDS == store_monitor.tick()
    assert ([AGAIN_SECONDS] * 3, "store: away", None) == (pauses, refused, store_monitor.complaint)


def test_a_store_that_has_noticed_something_is_asked_before_it_is_told(engine, facts, monkeypatch):
    """Whoever hears the fact finds the readiness changed."""
    store = Asked()
    store_monitor = StoreMonitor(store, engine.clock)
    store.news, store.error = [Notice("store.low_on_space", {})], StoreUnavailable("low")
    seen = []
    forget = telemetry.listen(lambda *_: seen.append(store_monitor.complaint))
    store_monitor.tick()
    forget()

    assert (["store.low_on_space"], ["store: low"]) == (facts.names, seen)


def test_a_doubt_is_looked_into_at_once(engine):
    """And one that comes while the store is being asked is not forgotten by its answer."""
    store = Asked()
    store_monitor = StoreMonitor(store, engine.clock)
    store_monitor.doubt(StoreUnavailable("no answer"))
    woken = store_monitor.loop.is_woken
    store.ping = lambda: store_monitor.doubt(StoreUnavailable("once more"))
    store_monitor.tick()

    assert (True, "store: once more") == (woken, store_monitor.complaint)
    del store.ping
    store_monitor.tick()
    assert store_monitor.complaint is None
