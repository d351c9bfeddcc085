"""Daemons that die, and claims that are taken away, on a MongoDB that several daemons share."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.mongod import Deployment

from .conftest import CONFIG, New, Ran

# three times the patience of a test: what comes back in time did not wait for it
LONG_LEASE = CONFIG.replace("lease = 10s", "lease = 60s")


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> str:
    """The address of an empty database."""
    deployment: Deployment = request.getfixturevalue("standalone")
    return deployment.address(f"recovery_{uuid4().hex[:8]}")


def test_a_daemon_that_was_killed_and_started_again_has_its_tasks_back_at_once(
    shared: str, new_daemon: New, ran: Ran
):
    """Not when its former lease ends: its former process is seen to be dead."""
    daemon = new_daemon(shared, text=LONG_LEASE).start()
    daemon.monqbus("post", "accepted.stumble")
    ran(1)
    daemon.kill()
    daemon.start()

    assert ["began 1", "began 2", "ended 2"] == ran(3)
    daemon.wait_for("lease.revoked")
    daemon.wait_for("task.rescued", "name=accepted.stumble")


def test_another_daemon_of_the_machine_takes_over_from_a_killed_one(shared: str, new_daemon: New, ran: Ran):
    daemon = new_daemon(shared, text=LONG_LEASE).start()
    other_text = LONG_LEASE.replace("./data", "./other")
    daemon.monqbus("post", "accepted.stumble")
    ran(1)
    other = new_daemon(shared, text=other_text, name="other").start()
    daemon.kill()

    other.wait_for("task.rescued", "name=accepted.stumble")
    assert ["began 1", "began 2", "ended 2"] == ran(3)


def test_a_cancel_from_another_process_interrupts_the_handler(shared: str, new_daemon: New, ran: Ran):
    """The daemon sees that the claim is gone; the operator's word stands."""
    daemon = new_daemon(shared).start()
    posted = daemon.monqbus("post", "accepted.stumble")
    task_id = posted.stdout.strip()
    ran(1)
    assert 0 == daemon.monqbus("cancel", task_id).returncode

    daemon.wait_for("task.skipped", task_id)
    assert "skipped" == json.loads(daemon.monqbus("show", task_id, "--json").stdout)["state"]
    assert ["began 1"] == ran()
