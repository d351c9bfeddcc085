"""`@schedule` above a task says what a section of the file says, and refuses what that refuses."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bus.apps.registry import Registry, event_handler, filling, task
from bus.apps.scheduling import schedule
from bus.clock import UTC
from bus.errors import BadCall, BadDeclaration
from bus.schedules import At, Cron, Every, Schedule


@pytest.fixture
def registry():
    new = Registry()
    with filling(new):
        yield new


def test_a_task_is_planned_under_its_name(registry):
    @schedule("15 3 * * *", timezone="Europe/Berlin", missed="all", args=[1], kwargs={"b": 2})
    @task(name="night")
    def night(a, b):
        return a + b

    one = registry.schedules["night"]

    assert 3 == night(1, 2)
    assert (Cron("15 3 * * *", "Europe/Berlin"), "night", "all") == (one.moments, one.task, one.missed)
    assert ((1,), {"b": 2}) == (one.args, one.kwargs)
    assert one.where == night.where


def test_a_task_may_have_several_under_names_of_their_own(registry):
    @schedule(every=900, name="often")
    @schedule(at="2026-12-24T18:00:00Z", name="once")
    @event_handler("x", name="both")
    def both(topic=None):
        return topic

    assert {"often": Every(900), "once": At(datetime(2026, 12, 24, 18, tzinfo=UTC))} == {
        name: one.moments for name, one in registry.schedules.items()
    }


@pytest.mark.parametrize("every", [900, 900.0, "15m", timedelta(minutes=15)])
def test_every_is_seconds_text_or_a_timedelta(registry, every):
    schedule(every=every)(task(name="t")(lambda: None))

    assert Every(900) == registry.schedules["t"].moments


@pytest.mark.parametrize(
    ("positional", "options", "said"),
    [
        ((), {}, "expected exactly one of a cron expression, every= and at=, got 0"),
        (("* * * * *",), {"every": 5}, "expected exactly one of a cron expression, every= and at=, got 2"),
        (("* * * *",), {}, "cron: expected a cron expression of five fields"),
        ((7,), {}, "cron: expected a cron expression of five fields"),
        ((), {"every": 0.5}, "every: expected a duration in whole seconds"),
        ((), {"every": -5}, "every: expected seconds or a timedelta, got -5"),
        ((), {"every": [1]}, "every: expected seconds or a timedelta"),
        ((), {"at": "soon"}, "at: expected an RFC 3339 time, got 'soon'"),
        (("@daily",), {"timezone": "Nowhere"}, "timezone: expected the name of a time zone"),
        (("@daily",), {"missed": "never"}, "missed: expected one of skip, once, all, got 'never'"),
        (("@daily",), {"overlap": "wait"}, "overlap: expected one of allow, skip, queue, got 'wait'"),
        (("@daily",), {"jitter": float("nan")}, "jitter: expected seconds or a timedelta, got nan"),
        (("@daily",), {"args": [object()]}, "expected a value that BSON can hold"),
        (("@daily",), {"priority": "high"}, "priority"),
    ],
)
def test_what_is_no_schedule_is_refused_when_it_is_declared(registry, positional, options, said):
    with pytest.raises(BadDeclaration) as error:
        schedule(*positional, **options)(task(name="t")(lambda *_: None))

    assert said in str(error.value)
    assert {} == registry.schedules


def test_it_stands_above_a_task(registry):
    with pytest.raises(BadDeclaration, match="write it above @task or @event_handler"):
        schedule("@daily")(lambda: None)


def test_arguments_that_the_task_does_not_take_are_refused(registry):
    with pytest.raises(BadCall):
        schedule("@daily", args=[1, 2, 3])(task(name="t")(lambda a: a))


def test_two_above_one_task_need_a_name_of_their_own(registry):
    """The second one took the place of the first one, which never came."""
    one = schedule("@daily")(task(name="t1")(lambda: None))
    with pytest.raises(BadDeclaration, match=r"schedule t1: declared at .+ and again at"):
        schedule("@hourly")(one)
    schedule("@hourly", name="hourly")(one)

    assert ["hourly", "t1"] == sorted(registry.schedules)


@pytest.mark.parametrize("every", [100 * 86_400, 1_234_567.0, timedelta(days=3650)])
def test_a_long_span_is_taken_whole(registry, every):
    """Its seconds were written with an exponent, and refused, or rounded to six digits."""
    schedule(every=every)(task(name="t1")(lambda: None))
    seconds = every.total_seconds() if isinstance(every, timedelta) else every

    assert Every(int(seconds)) == registry.schedules["t1"].moments


def test_messages_call_it_as_it_is_declared(registry):
    schedule("@daily")(task(name="t1")(lambda: None))

    assert "@schedule t1" == registry.schedules["t1"].title
    assert "[schedule:t1]" == Schedule("t1", Every(60)).title


def test_two_of_one_name_are_refused(registry):
    one = task(name="t1")(lambda: None)

    def two_function():
        return None

    two = task(name="t2")(two_function)
    schedule("@daily", name="n")(one)
    with pytest.raises(BadDeclaration, match=r"schedule n: declared at .+ and again at"):
        schedule("@daily", name="n")(two)
