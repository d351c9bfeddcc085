"""Limits in one daemon: lanes of their own, places that are free when an end is recorded, options."""

from __future__ import annotations

import pytest

from bus.admin import Admin
from bus.apps.options import Options
from bus.engine.lanes import Lane
from bus.errors import BadDeclaration
from bus.limits import Limit
from bus.presentation import why_waiting


@pytest.fixture
def two(engine):
    """An engine with four slots for `held`, and for `slow` a lane of its own in which one may run."""
    engine.quick = engine.claimer
    engine.add_lane("slow", 3)
    engine.declare(lambda *_: engine.gate.wait(5), "slow", lane="slow")
    limit(engine, Limit(1))
    return engine


def limit(engine, bound: Limit) -> None:
    engine.lanes.arrange(
        {"greenlets": Lane(4, frozenset({"held"})), "slow": Lane(3, frozenset({"slow"}), bound)}
    )
    engine.recorder.is_limited = engine.lanes.is_limited


def running(engine) -> list[str]:
    return sorted(run.task.task_name for run in engine.lanes.running)


def test_a_limit_leaves_slots_of_its_lane_empty(two):
    """However many are free."""
    for n in range(4):
        two.waiting(n, name="slow")
    two.claimer.tick()
    two.claimer.tick()

    assert (["slow"], 2) == (running(two), two.claimer.pool.free)


def test_nothing_of_a_limited_name_begins_as_it_is_stored(two):
    """Only the store knows how many run elsewhere; others begin at once as ever."""
    two.quick.tick()
    two.claimer.tick()

    assert "ready" == two.office.post("slow", [1], {}, Options()).state
    assert "busy" == two.office.post("held", [1], {}, Options()).state


def test_a_limited_lane_starves_no_other(two):
    """What waits in it takes neither slots nor claims of others."""
    for n in range(50):
        two.waiting(n, name="slow")
    two.waiting(1, name="held")
    two.claimer.tick()
    two.quick.tick()

    assert ["held", "slow"] == running(two)


def test_an_end_tells_its_lane_that_a_place_is_free(two):
    """When it is recorded: until then the place is taken."""
    told = []
    two.recorder.waiting_again = told.extend
    for n in range(2):
        two.waiting(n, name="slow")
    two.claimer.tick()
    two.gate.set()
    two.pool.drain(5)
    two.claimer.tick()
    before = (list(told), running(two))
    two.recorder.tick()
    two.claimer.tick()

    assert ([], []) == before
    assert ["slow"] == [name for name, _ in told]
    assert ["slow"] == running(two)


def test_a_claimer_looks_again_when_its_rate_lets_the_next_one_begin(two):
    """Not at its next poll."""
    limit(two, Limit(None, 0.5, 1))
    for n in range(3):
        two.waiting(n, name="slow")
    pauses = [two.claimer.tick(), two.claimer.tick()]
    two.clock.advance(0.5)
    two.claimer.tick()

    assert 0.5 == pytest.approx(pauses[-1])
    assert 2 == len(running(two))


def test_a_limit_may_come_and_go_while_the_daemon_runs(two):
    """As a new configuration says."""
    for n in range(4):
        two.waiting(n, name="slow")
    two.claimer.tick()
    limit(two, Limit(3))
    two.claimer.tick()

    assert ["slow"] * 3 == running(two)
    assert (True, False) == (two.lanes.is_limited("slow"), two.lanes.is_limited("held"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_concurrent": 0}, "max_concurrent: expected 1 to 1000, got 0"),
        ({"max_concurrent": True}, "max_concurrent: expected 1 to 1000, got True"),
        ({"rate": "10/d"}, "rate: expected a rate such as '10/s', '100/min' or '5/h', got '10/d'"),
        ({"rate": 10}, "rate: expected a rate such as '10/s', '100/min' or '5/h', got 10"),
        ({"burst": 3}, "burst: expected it beside rate, got 3"),
        ({"rate": "1/s", "burst": 0}, "burst: expected 1 to 100000, got 0"),
    ],
)
def test_what_is_no_limit_is_refused_where_it_is_declared(options, sentence):
    """With what was expected and what was got."""
    with pytest.raises(BadDeclaration) as refusal:
        Options(**options)

    assert sentence in str(refusal.value)


@pytest.mark.parametrize("name", ["max_concurrent", "rate", "burst", "serial_by", "cpu"])
def test_no_post_changes_a_limit(engine, name):
    """It belongs to the declaration."""
    with pytest.raises(BadDeclaration, match=name):
        engine.registry.tasks["held"].options(**{name: 1})


def test_show_says_which_limit_a_task_waits_for(two):
    """Who runs, when the rate lets the next one begin, or who is before it."""
    admin = Admin(two.store, two.clock)
    first, second = two.waiting(1, name="slow"), two.waiting(2, name="slow")
    both = Limit(1, 0.5, 1)
    nothing = admin.held_up(second, both)
    limit(two, both)
    two.claimer.tick()
    running = admin.held_up(second, both)
    rated = admin.held_up(second, Limit(None, 0.5, 1))
    two.clock.advance(0.5)

    assert ("", "") == (nothing, admin.held_up(second, Limit(None, 0.5, 1)))
    assert f"max_concurrent: 1 of 1 run: {first.id}" == running
    assert "rate: the next one begins in 0.5 s" == rated
    assert "" == admin.held_up(second, None)


def test_show_says_who_is_before_a_task_in_its_line(engine):
    """Whether that one runs or waits itself; and nothing of the first one."""
    engine.declare(print, "note", serial_by="args.0")
    options = engine.registry.tasks["note"].defaults
    first, second = (engine.office.post("note", ["k"], {}, options) for _ in range(2))
    admin = Admin(engine.store, engine.clock)
    held = admin.held_up(second, None)

    assert f"behind task {first.id}, which has the same serial key" == held
    assert held == why_waiting(second, engine.clock.now(), lambda _: True, "", held)
    assert "" == admin.held_up(first, None)
