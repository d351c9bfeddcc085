"""Keeps the lease alive from a native thread, and stops work when it cannot."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any, cast

import gevent
import pytest
from gevent.monkey import get_original

from bus.clock import Clock, FrozenClock
from bus.errors import StoreUnavailable
from bus.maintenance.heartbeat import AGAIN_SECONDS, HASTY_SECONDS, LOOK_SECONDS, Heartbeat
from bus.model import Instance
from bus.store import Store

from .conftest import death_of

WORKER = Instance("w", "p")
PATIENCE = 5.0


class Leases:
    """A store of which only the leases are there."""

    def __init__(self) -> None:
        self.renewals: list[tuple[float, float]] = []
        self.threads: set[int] = set()
        self.error: Exception | None = None
        self.is_closed = False
        self.lapses = 0

    def renew(self, instance: Instance, seconds: float) -> int:
        if self.error is not None:
            raise self.error
        self.threads.add(get_original("_thread", "get_ident")())
        self.renewals.append((time.monotonic(), seconds))
        return self.lapses

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def leases():
    return Leases()


@pytest.fixture
def new_heartbeat(leases):
    """A heartbeat on *leases*; stopped at the end of the test."""
    hearts = []

    def new(clock: Clock, lease_seconds: float, **more: Any) -> Heartbeat:
        options = {"fence": lambda: None} | more
        hearts.append(
            Heartbeat(lambda: cast(Store, leases), WORKER, clock, lease_seconds=lease_seconds, **options)
        )
        return hearts[-1]

    yield new
    for heart in hearts:
        heart.stop()


def until(holds) -> None:
    with gevent.Timeout(PATIENCE):
        while not holds():
            gevent.idle()


def test_renewals_go_on_while_the_hub_is_blocked(new_heartbeat, leases):
    """A task that computes for a second without yielding costs no lease."""
    heart = new_heartbeat(Clock(), 1.2)
    heart.start()
    begun = time.monotonic()
    while time.monotonic() < begun + 1.0:
        pass

    during = [when for when, _ in leases.renewals if begun <= when <= begun + 1.0]
    assert len(during) >= 3
    assert heart.is_safe
    assert get_original("_thread", "get_ident")() not in leases.threads
    assert 1 == len(leases.threads)


def test_the_lease_is_taken_before_anything_is_claimed(new_heartbeat, leases):
    """When `start` returns, others see it."""
    new_heartbeat(Clock(), 60).start()

    assert [60] == [seconds for _, seconds in leases.renewals]


def test_without_a_store_the_daemon_does_not_start(new_heartbeat, leases):
    leases.error = StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        new_heartbeat(Clock(), 60).start()


def test_stopping_ends_the_lease_at_once(new_heartbeat, leases):
    """Others need not wait for it to run out."""
    heart = new_heartbeat(Clock(), 60)
    heart.start()
    heart.stop()

    assert 0.0 == leases.renewals[-1][1]
    assert leases.is_closed


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a driver's bug")])
def test_renewals_go_on_after_an_outage(new_heartbeat, leases, error):
    """Whatever the store raised: a thread that died of it would cost the lease for good."""
    heart = new_heartbeat(Clock(), 0.6)
    heart.start()
    leases.error = error
    until(lambda: not heart.is_safe)
    leases.error = None
    until(lambda: heart.is_safe)


def test_a_daemon_that_cannot_renew_stops_claiming_and_then_fences_itself(new_heartbeat, leases, facts):
    """Two thirds of the lease without a renewal: no new work. Five sixths: whatever runs is interrupted,
    so that it is over at the lease's end.
    """
    clock, fenced = FrozenClock(), []
    heart = new_heartbeat(clock, 60, fence=lambda: fenced.append(clock.monotonic()))
    seen, pauses = [], []
    for seconds in (39.5, 0.5, 1.0, 8.875, 0.125):
        clock.advance(seconds)
        pauses.append(heart.tick())
        seen.append((clock.monotonic(), heart.is_safe))

    assert [(39.5, True), (40.0, False), (41.0, False), (49.875, False), (50.0, False)] == seen
    assert [LOOK_SECONDS, *[HASTY_SECONDS] * 2, 0.125, HASTY_SECONDS] == pauses  # not at the next look
    assert ["lease.lost"] == facts.names
    assert [50.0] == fenced


def test_a_renewal_makes_it_safe_again(new_heartbeat, leases, facts):
    """And the work goes on at once, not at the next poll."""
    clock, regained = FrozenClock(), []
    heart = new_heartbeat(clock, 60, regained=lambda: regained.append(clock.monotonic()))
    clock.advance(45)
    heart.tick()
    heart._renew(cast(Store, leases))
    heart.tick()

    assert heart.is_safe
    assert ["lease.lost", "lease.regained"] == facts.names
    assert [45.0] == regained


class HastyClock(Clock):
    """Sleeps no time, and remembers how much."""

    slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        super().sleep(0)


def test_a_renewal_that_failed_is_tried_again_soon(new_heartbeat, leases):
    """Not after a sixth of the lease: the store may be back, and work waits for it."""
    clock, asked = HastyClock(), []

    def renew(*_):
        asked.append(clock.slept)
        if 1 < len(asked) < 4:
            raise StoreUnavailable("away")
        return 0

    leases.renew = renew
    new_heartbeat(clock, 60).start()
    until(lambda: len(asked) > 4)
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked[:5])]

    assert [10, AGAIN_SECONDS, AGAIN_SECONDS, 10] == pytest.approx(pauses, abs=0.15)


def test_a_lease_that_ran_out_by_the_stores_clock_is_fenced(new_heartbeat, leases):
    """A machine that slept: its own clock has stood still, and the renewal succeeds."""
    clock, fenced = FrozenClock(), []
    heart = new_heartbeat(clock, 60, fence=lambda: fenced.append(clock.monotonic()))
    leases.lapses = 3  # of an earlier life of this document
    heart._renew(cast(Store, leases))
    heart.tick()
    assert [] == fenced

    clock.advance(1)
    leases.lapses = 4
    heart._renew(cast(Store, leases))
    for _ in range(2):
        heart.tick()
    assert [1.0] == fenced


def test_a_lease_that_had_run_out_is_fenced_although_it_was_renewed_since(new_heartbeat, leases):
    """A daemon that was stopped renews before it looks: what it held may have been given away meanwhile."""
    clock, fenced = FrozenClock(), []
    heart = new_heartbeat(clock, 60, fence=lambda: fenced.append(clock.monotonic()))
    clock.advance(61)
    heart._renew(cast(Store, leases))
    is_safe = heart.is_safe
    for _ in range(2):
        heart.tick()

    assert not is_safe  # what begins now would be fenced with the rest
    assert [61.0] == fenced
    assert heart.is_safe


def test_the_age_of_a_lease_counts_from_before_the_store_was_asked(new_heartbeat, leases):
    """An answer that took 20 s says that the lease was taken up to 20 s ago."""
    clock = FrozenClock()
    heart = new_heartbeat(clock, 60)
    leases.renew = lambda *_: clock.advance(20) or 0  # type: ignore[method-assign,func-returns-value]
    heart._renew(cast(Store, leases))
    clock.advance(20)

    assert not heart.is_safe


def test_no_native_thread_is_left_behind(new_heartbeat):
    before = threading.active_count()
    heart = new_heartbeat(Clock(), 60)
    heart.start()
    heart.stop()

    assert before == threading.active_count()


def test_a_heartbeat_whose_thread_has_ended_says_so(new_heartbeat, leases, capfd):
    """The lease would run out, and nobody would know why."""

    class Odd(BaseException):
        """Nobody expects it."""

    def leave(*_: object) -> int:
        raise Odd("out of place")

    heart = new_heartbeat(Clock(), 0.6)
    heart.start()
    died = death_of(heart.health)
    leases.renew = leave

    assert died.wait(PATIENCE)
    assert "Odd: out of place" == heart.health.death


def test_a_heartbeat_that_was_stopped_has_not_died(new_heartbeat):
    heart = new_heartbeat(Clock(), 60)
    heart.start()
    heart.stop()
    gevent.idle()

    assert heart.health.death is None


def test_renewals_that_fail_are_no_success(new_heartbeat, leases):
    """The record tells since when, and why."""
    clock = FrozenClock()
    heart = new_heartbeat(clock, 60)
    heart._renew_quietly(cast(Store, leases), 60)
    leases.error = StoreUnavailable("away")
    clock.advance(31)
    heart._renew_quietly(cast(Store, leases), 60)

    assert (True, "away", 31.0) == (heart.health.is_late, str(heart.health.error), heart.health.seconds)
