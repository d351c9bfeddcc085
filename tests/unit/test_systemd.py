"""Which variables of a service manager count, and that children do not see them."""

from __future__ import annotations

import os

import pytest

from bus.clock import FrozenClock
from bus.process.systemd import ServiceManager

SOCKET = "/run/systemd/notify"


def test_children_cannot_speak_for_the_daemon():
    """The variables are taken out of the environment; others stay."""
    environ = {
        "NOTIFY_SOCKET": SOCKET,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/bin",
    }

    ServiceManager(environ, FrozenClock())

    assert {"PATH": "/bin"} == environ


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
    ids=["for anybody", "for this process", "for another process", "no number", "not wanted"],
)
def test_it_beats_twice_in_the_time_that_is_given(variables: dict[str, str], seconds: float | None):
    """WATCHDOG_USEC counts when WATCHDOG_PID names nobody else, as sd_watchdog_enabled(3) has it."""
    assert seconds == ServiceManager({"NOTIFY_SOCKET": SOCKET, **variables}, FrozenClock()).beat()
