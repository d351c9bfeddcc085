"""The record that each service keeps of itself."""

from __future__ import annotations

import pytest

from bus.clock import FrozenClock
from bus.engine.health import PERIODS, Health
from bus.errors import StoreFull, StoreUnavailable

PERIOD = 5.0
AWAY = StoreUnavailable("away")


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def health(clock: FrozenClock) -> Health:
    """Of a service that has succeeded just now and wants to work again in a second."""
    health = Health("test", PERIOD, clock)
    health.begin()
    health.end(1.0)
    return health


def test_one_that_has_not_succeeded_for_three_of_its_periods_is_late(health: Health, clock: FrozenClock):
    """Not before: two may be bad luck."""
    clock.advance(PERIODS * PERIOD)
    before = health.is_late
    clock.advance(0.001)

    assert (3, False, True) == (PERIODS, before, health.is_late)


def test_failing_is_no_success_however_often_it_is_tried(health: Health, clock: FrozenClock):
    """The error is the last one; a success forgets it."""
    for number in range(16):
        clock.advance(1.0)
        health.begin()
        health.fail(ValueError(number))
        health.end(0.5)
    late = (health.is_late, health.seconds, str(health.error))
    health.begin()
    health.end(1.0)

    assert (True, 16.0, "15") == late
    assert (False, 0.0, None) == (health.is_late, health.seconds, health.error)


def test_one_without_work_is_not_late(health: Health, clock: FrozenClock):
    """It is expected to succeed from the moment it is given some."""
    health.begin()
    health.end(None)
    clock.advance(1000.0)
    idle = health.is_late
    health.begin()
    health.fail(AWAY)
    clock.advance(PERIODS * PERIOD + 1)

    assert (False, True) == (idle, health.is_late)


def test_one_that_wants_to_rest_for_longer_than_its_period_may(health: Health, clock: FrozenClock):
    """Counting a large queue rests twenty times as long as it took."""
    health.begin()
    health.end(100.0)
    clock.advance(PERIODS * 100.0)

    assert not health.is_late


def test_one_without_a_period_is_never_late(clock: FrozenClock):
    """It works when somebody asks; it can die."""
    health = Health("test", clock=clock)
    health.begin()
    clock.advance(10.0**6)

    assert not health.is_late


def test_time_in_which_nobody_could_work_does_not_count(health: Health, clock: FrozenClock):
    """More than all that has passed cannot be given."""
    clock.advance(20.0)
    health.forgive(8.0)
    some = health.seconds
    health.forgive(100.0)

    assert (12.0, 0.0) == (some, health.seconds)


@pytest.mark.parametrize(
    ("error", "is_outage"), [(AWAY, True), (StoreFull("full"), True), (ValueError("bad"), False)]
)
def test_a_store_that_is_away_is_told_from_a_fault(health: Health, error: Exception, is_outage: bool):
    """Whoever waits for the store is not to blame."""
    health.fail(error)

    assert is_outage == health.is_outage


def test_the_first_reason_of_a_death_stays(health: Health):
    """What follows is only its consequence."""
    health.die(ValueError("bad"))
    health.die("later")

    assert "ValueError: bad" == health.death
    assert ("dead", "ValueError: bad") == (health.describe()["state"], health.describe()["error"])
