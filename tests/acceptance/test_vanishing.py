"""Tasks whose names nobody knows wait, say why, cost nothing, and run when the name is back."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.mongod import Deployment

from .conftest import CONFIG, New, Ran
from .daemons import Daemon
from .test_draining import details

NewApp = Callable[[str, str], str]
APP = """\
import os
from pathlib import Path
from monqbus import task
"""
TASK = """
@task
def {name}():
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("{name}\\n")
"""


@pytest.fixture
def new_app(tmp_path: Path) -> NewApp:
    """Writes an app with these tasks into a folder of its own; the config of a daemon for it."""

    def new(folder: str, names: str) -> str:
        path = tmp_path / folder / "shop.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(APP + "".join(TASK.format(name=name) for name in names.split()))
        text = CONFIG.replace("apps = accepted", "apps = shop").replace("path = {apps}", f"path = ./{folder}")
        return text.replace("data_dir = ./data", f"data_dir = ./data_{folder}")

    return new


def test_a_task_under_a_name_that_is_gone_waits_until_it_is_back(
    address: str, new_daemon: New, new_app: NewApp, ran: Ran
):
    """Listed, counted and explained as parked; run by the reload that brings the name, not by a poll."""
    daemon = new_daemon(address, text=new_app("apps", "pack")).start()
    parked = daemon.monqbus("post", "shop.send").stdout.strip()
    new_app("apps", "pack more")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded", "tasks=2")
    told = daemon.wait_for("task.parked", "shop.send")
    shown = details(daemon, parked)
    listed = daemon.monqbus("list", "--state", "parked", "--json").stdout

    assert "waiting=1" in told
    assert ("ready", 0, 0) == (shown["state"], shown["attempt"], shown["crashes"])
    assert "parked: no app declares shop.send" in shown["waiting"]
    assert [parked] == [json.loads(line)["id"] for line in listed.splitlines()]
    assert 1 == json.loads(daemon.monqbus("count", "--json").stdout)["parked"]
    assert "1  of the ready ones" in daemon.monqbus("count").stdout
    new_app("apps", "pack send again")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("task.finished", parked)
    ended = details(daemon, parked)
    assert ("complete", 1) == (ended["state"], ended["attempt"])
    assert not daemon.monqbus("list", "--state", "parked").stdout
    assert ["send"] == ran(1)


def test_a_start_with_the_name_runs_what_was_parked_before(new_daemon: New, new_app: NewApp, ran: Ran):
    """A daemon whose app cannot be imported does not start, and says where; mended, it runs what waits."""
    text = new_app("apps", "pack send")
    daemon = new_daemon(text=text)
    parked = daemon.monqbus("post", "shop.send").stdout.strip()
    app = daemon.config.parent / "apps" / "shop.py"
    app.write_text("import nowhere\n")
    daemon.launch()
    code = daemon.wait()
    new_app("apps", "pack send")
    daemon.start()
    daemon.wait_for("task.finished", parked)

    assert 78 == code
    assert "app shop: no module named 'nowhere'" in daemon.log.read_text()
    assert ["send"] == ran(1)


def test_daemons_of_two_versions_share_a_store(
    standalone: Deployment, new_daemon: New, new_app: NewApp, ran: Ran
):
    """The old one does not touch what only the new one knows, whoever posts it."""
    address = standalone.address(f"versions_{uuid4().hex[:8]}")
    old = new_daemon(address, text=new_app("old", "pack"), name="old").start()
    early = old.monqbus("post", "shop.send").stdout.strip()
    new = new_daemon(address, text=new_app("new", "pack send"), name="new").start()
    new.wait_for("task.finished", early)
    late = old.monqbus("post", "shop.send").stdout.strip()
    new.wait_for("task.finished", late)

    assert ["send", "send"] == ran(2)
    assert [] == [line for line in old.lines if "task.finished" in line or "task.released" in line]
    assert [1, 1] == [details(new, task_id)["attempt"] for task_id in (early, late)]


def test_a_cancel_from_another_process_interrupts_the_running_handler(
    standalone: Deployment, new_daemon: New, ran: Ran
):
    """Its daemon notices within seconds that the claim is gone; its end does not overwrite the cancel."""
    daemon: Daemon = new_daemon(standalone.address(f"cancel_{uuid4().hex[:8]}")).start()
    task_id = daemon.monqbus("post", "accepted.linger", "--args", "[60]").stdout.strip()
    ran(1)

    daemon.monqbus("cancel", task_id)
    daemon.wait_for("task.skipped", task_id)
    ended = details(daemon, task_id)

    assert ("skipped", "cancelled by an operator") == (ended["state"], ended["result"])
    assert ["began 1"] == ran(1)
