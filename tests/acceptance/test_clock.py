"""A machine whose clock is set while the daemon works, or between two of its starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wrong_clock import WrongClock

from .conftest import CONFIG, New, Ran
from .daemons import Daemon, until
from .test_deliveries import delivery

HOUR = 3600
DAY = 24 * HOUR
ONE_SLOT = CONFIG.replace("[worker]", "[worker]\ngreenlets = 1")


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path)


@pytest.fixture
def daemon(new_daemon: New, clock: WrongClock, address: str, ran: Ran) -> Daemon:
    """Its one slot is taken by a task that never ends."""
    made = new_daemon(address, text=ONE_SLOT)
    made.environ.update(clock.environ)
    made.start()
    made.monqbus("post", "accepted.stumble")
    assert ["began 1"] == ran(1)
    return made


def deliver(daemon: Daemon, number: int) -> tuple[int, dict[str, object]]:
    body, headers = delivery(number, "push")
    return daemon.request("POST", "/hooks/github", body, headers)


def notes(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("github.push")]


def test_what_waited_when_the_clock_was_set_back_runs(daemon: Daemon, clock: WrongClock, ran: Ran):
    """At once when there is a slot, not an hour later."""
    assert 202 == deliver(daemon, 1)[0]
    clock.set(-HOUR)
    daemon.wait_for("clock.stepped", "step_seconds=-3600")
    assert 202 == deliver(daemon, 2)[0]
    daemon.monqbus("cancel", "--state", "busy")

    assert 2 == len(until(lambda: notes(ran()), 2))
    assert "clock.stepped 1" in daemon.monqbus("doctor").stdout


def test_what_waited_when_the_clock_was_set_back_runs_after_a_restart(
    daemon: Daemon, clock: WrongClock, ran: Ran
):
    """Also when nobody looked at the clock in between."""
    assert 202 == deliver(daemon, 1)[0]
    daemon.kill()
    clock.set(-HOUR)
    daemon.start()
    daemon.wait_for("clock.stepped", "step_seconds=-3600")

    assert 1 == len(until(lambda: notes(ran()), 1))


def test_a_moment_400_days_ahead_is_written_nowhere(daemon: Daemon, clock: WrongClock, ran: Ran):
    """A delivery of that moment runs in the present, and is recognised when it comes again."""
    clock.set(400 * DAY)
    daemon.wait_for("clock.stepped", f"step_seconds={400 * DAY}")
    assert 202 == deliver(daemon, 1)[0]
    clock.set(0)
    daemon.wait_for("clock.stepped", f"step_seconds=-{400 * DAY}")
    daemon.monqbus("cancel", "--state", "busy")

    assert 1 == len(until(lambda: notes(ran()), 1))
    assert 200 == deliver(daemon, 1)[0]
