"""A handler that blocks the whole daemon is named while it does, and costs no lease."""

from __future__ import annotations

import sys
from uuid import uuid4

from tests.mongod import Deployment

from .conftest import CONFIG, New, Ran
from .daemons import ROOT

SHORT_LEASES = (sys.executable, str(ROOT / "tests" / "chaos" / "weakened.py"), "leases.short")


def test_the_task_that_blocks_is_named_before_it_ends(new_daemon: New, ran: Ran):
    """On stderr at once; by /readyz as soon as it can answer: to the probe that waited, and to later ones."""
    daemon = new_daemon().start()
    task_id = daemon.monqbus("post", "accepted.burn", "--args", "[3]", "--delay", "300ms").stdout.strip()
    told = daemon.wait_for("hub.blocked")
    written_by_then = ran()
    answers = [daemon.request("GET", "/readyz") for _ in range(2)]
    free = daemon.wait_for("hub.unblocked")

    assert ["began 1"] == written_by_then
    assert f"task={task_id} name=accepted.burn" in told
    assert 'at="apps/accepted.py:' in told
    assert ["began 1", "ended 1"] == ran(2)
    assert f"task={task_id}" in free
    for status, problem in answers:
        assert 503 == status
        assert f" s by task accepted.burn ({task_id}); " in str(problem["detail"])
        assert "cpu=True" in str(problem["detail"])


def test_a_block_costs_no_lease(standalone: Deployment, new_daemon: New, ran: Ran):
    """Twice as long as the lease: the other daemon, which looks twice a second, takes nothing over."""
    address = standalone.address(f"blocked_{uuid4().hex[:8]}")
    blocked = new_daemon(address, name="blocked")
    other = new_daemon(address, name="other", text=CONFIG.replace("./data", "./other"))
    for daemon in (blocked, other):
        daemon.program = SHORT_LEASES
    blocked.start()
    task_id = blocked.monqbus("post", "accepted.burn", "--args", "[6]", "--delay", "300ms").stdout.strip()
    blocked.wait_for("hub.blocked", task_id)
    other.start()
    blocked.wait_for("task.finished", task_id)

    assert ["began 1", "ended 1"] == ran()
    for daemon in (blocked, other):
        assert [] == [line for line in daemon.lines if "task.rescued" in line or "lease." in line]
