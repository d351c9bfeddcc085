"""The queue's time: what was due stays due, whatever is done to the machine's clock."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.clock import FrozenClock
from bus.steady_clock import DOUBT_SECONDS, SLOWEST_PACE, TRUSTED_SECONDS, LazySteadyClock, Sight, SteadyClock

HOUR = 3600.0
DAY = 24 * HOUR
BOOT = "this boot"


@pytest.fixture
def machine() -> FrozenClock:
    """The machine's clocks."""
    return FrozenClock()


@pytest.fixture
def queue(machine: FrozenClock) -> SteadyClock:
    return SteadyClock(machine, None, BOOT)


def live(machine: FrozenClock, queue: SteadyClock, seconds: float) -> list[Sight]:
    """Let *seconds* pass with a look in each; what was news."""
    sights = []
    for _ in range(int(seconds)):
        machine.advance(1)
        sights.append(queue.look())
    return [sight for sight in sights if sight.stepped or sight.followed]


def later(machine: FrozenClock, queue: SteadyClock, *, boot: str = BOOT) -> SteadyClock:
    """The clock of the next daemon."""
    return SteadyClock(machine, queue.mark(), boot)


def test_while_nobody_sets_the_clock_it_is_the_wall_clock(machine, queue):
    """Also between two looks."""
    assert [] == live(machine, queue, 100)
    machine.advance(0.25)

    assert machine.now() == queue.now() == queue.wall()
    assert machine.now() - timedelta(seconds=0.25) == queue.horizon()


def test_a_clock_that_drifts_is_followed_without_a_word(machine, queue):
    """As NTP slews it, either way: no more than a moment apart."""
    for drift in (0.0005, -0.0005):
        for _ in range(500):
            machine.step(drift)
            assert [] == live(machine, queue, 1)
            assert abs(queue.ahead) < 0.01


def test_after_a_step_back_the_time_goes_on(machine, queue):
    """What was due an hour ago is due; a delay of an hour lasts an hour, a little more at most."""
    live(machine, queue, 10)
    before = queue.now()
    machine.step(-HOUR)
    (sight,) = live(machine, queue, 1)
    assert (-HOUR, 0.0) == (sight.stepped, sight.followed)
    assert queue.now() > before
    live(machine, queue, HOUR - 1)

    assert HOUR * SLOWEST_PACE <= (queue.now() - before).total_seconds() <= HOUR


def test_it_is_drawn_back_to_the_wall_clock_slowly_and_never_backwards(machine, queue):
    """An hour in eight; then they go together."""
    machine.step(-HOUR)
    moments = []
    for _ in range(int(8 * HOUR) + 60):
        machine.advance(1)
        queue.look()
        moments.append(queue.now())

    assert sorted(moments) == moments
    assert 0 <= queue.ahead < 0.01


def test_a_jump_ahead_that_does_not_last_leaves_no_trace(machine, queue):
    """Not in what is due, and not in what is forgotten."""
    start = queue.now()
    machine.step(400 * DAY)
    (there,) = live(machine, queue, DOUBT_SECONDS - 5)
    assert 400 * DAY == there.stepped
    assert timedelta(seconds=DOUBT_SECONDS - 5) == queue.now() - start >= queue.horizon() - start
    machine.step(-400 * DAY)
    (back,) = live(machine, queue, 60)

    assert -400 * DAY == back.stepped
    assert machine.now() == queue.now() == queue.horizon()


def test_a_jump_ahead_that_lasts_is_followed(machine, queue):
    """A machine without a clock of its own gets the time from the net some time after its start."""
    machine.step(HOUR)
    news = live(machine, queue, DOUBT_SECONDS + 1)

    assert [HOUR, HOUR] == [news[0].stepped, news[1].followed]
    assert machine.now() == queue.now()


def test_each_jump_is_doubted_anew(machine, queue):
    """A clock that is set every five minutes is believed when that ends."""
    followed = 0.0
    for _ in range(4):
        machine.step(HOUR)
        followed += sum(sight.followed for sight in live(machine, queue, DOUBT_SECONDS / 2))
    assert 0 == followed
    (sight,) = live(machine, queue, DOUBT_SECONDS / 2 + 1)

    assert 4 * HOUR == sight.followed


def test_a_few_seconds_ahead_are_followed_at_once(machine, queue):
    machine.step(TRUSTED_SECONDS - 0.001)
    (sight,) = live(machine, queue, 1)

    assert (pytest.approx(TRUSTED_SECONDS - 0.001), 0.0) == (sight.stepped, sight.followed)
    assert machine.now() == queue.now()


def test_pruning_takes_over_a_jump_ahead_an_hour_in_an_hour(machine, queue):
    """A wrong clock that stays for a day makes a day be forgotten too early, and not a year."""
    live(machine, queue, 1)
    start = queue.horizon()
    machine.step(400 * DAY)
    live(machine, queue, HOUR)
    assert timedelta(days=400) < queue.now() - start
    assert timedelta(seconds=2 * HOUR - DOUBT_SECONDS + 1) >= queue.horizon() - start


def test_pruning_never_goes_by_the_later_clock(machine, queue):
    live(machine, queue, 1)
    machine.step(-HOUR)
    live(machine, queue, 1)

    assert machine.now() == queue.horizon() < queue.now()


@pytest.mark.parametrize("step", [-HOUR, 400 * DAY, 0.0])
def test_under_the_same_boot_a_restart_changes_nothing(machine, queue, step):
    """The time since boot tells how long nobody looked, so a step in that time is known."""
    live(machine, queue, 10)
    left = queue.now()
    mark_taken = queue.mark()
    machine.advance(100)
    machine.step(step)
    again = SteadyClock(machine, mark_taken, BOOT)
    news = live(machine, again, 1)

    assert ([step] if step else []) == [sight.stepped for sight in news]
    assert timedelta(seconds=101) == again.now() - left


def test_a_doubt_goes_on_over_a_restart(machine, queue):
    """A daemon that is started every minute still follows after ten."""
    machine.step(HOUR)
    followed = 0.0
    for _ in range(int(DOUBT_SECONDS / 60) + 1):
        followed += sum(sight.followed for sight in live(machine, queue, 60))
        queue = later(machine, queue)

    assert HOUR == followed
    assert machine.now() == queue.now()


def test_after_another_boot_the_time_goes_on_where_it_stood(machine, queue):
    """The clock of the machine is in the past: it is known by how much at least, and told."""
    live(machine, queue, 10)
    left = queue.now()
    machine.step(-400 * DAY)
    again = later(machine, queue, boot="another boot")
    assert left == again.now()
    (sight,) = live(machine, again, 1)

    assert pytest.approx(-400 * DAY, abs=1) == sight.stepped
    assert again.now() > left


def test_after_another_boot_the_time_in_between_is_believed_but_not_by_pruning(machine, queue):
    """It was off for a night, or its clock is wrong: nobody can know."""
    live(machine, queue, 10)
    left = queue.horizon()
    machine.step(8 * HOUR)
    again = later(machine, queue, boot="another boot")
    assert [] == live(machine, again, 10)

    assert machine.now() == again.now()
    assert timedelta(seconds=20) == again.horizon() - left


def test_an_age_of_the_machine_that_went_back_is_another_boot(machine, queue):
    """In another time namespace the same boot has another age."""
    live(machine, queue, 100)
    again = SteadyClock(FrozenClock(machine.now() + timedelta(seconds=50)), queue.mark(), BOOT)

    assert machine.now() + timedelta(seconds=50) == again.now()


def test_it_goes_back_at_once_where_that_harms_nobody(machine, queue):
    machine.step(-HOUR)
    live(machine, queue, 1)
    queue.settle()

    assert machine.now() == queue.now()


def test_a_process_without_a_timekeeper_looks_when_it_is_asked(machine):
    """A web application that posts: a wrong moment is written nowhere, a clock that drifts is followed."""
    queue = LazySteadyClock(machine, None, "")
    machine.advance(HOUR)
    machine.step(0.5)
    assert machine.now() == queue.now()
    machine.advance(HOUR)
    machine.step(400 * DAY)
    assert timedelta(days=400) == machine.now() - queue.now()
    machine.step(-400 * DAY - HOUR)
    machine.advance(1)
    assert timedelta(seconds=HOUR) == queue.now() - machine.now()
    machine.advance(DAY)

    assert machine.now() == queue.now()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["step", "pass", "restart", "boot"]),
            st.floats(-500 * DAY, 500 * DAY) | st.floats(-20, 20),
        ),
        max_size=20,
    )
)
def test_whatever_is_done_to_the_clock_the_time_never_goes_back(steps):
    """And nothing is forgotten by a moment that is later than it."""
    machine = FrozenClock()
    queue = SteadyClock(machine, None, BOOT)
    before = queue.now()
    boot = 0
    for what, seconds in steps:
        if what == "step":
            machine.step(seconds)
        elif what == "pass":
            machine.advance(abs(seconds) % 100)
        else:
            boot += what == "boot"
            queue = later(machine, queue, boot=f"{boot}" if boot else BOOT)
        queue.look()
        now = queue.now()
        # a mark has whole moments
        assert now >= before - timedelta(milliseconds=1)
        assert queue.horizon() <= now
        before = now
