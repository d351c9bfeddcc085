"""Stopping, killing and reloading a running daemon."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.mongod import Deployment

from .conftest import CONFIG, New, Ran
from .daemons import Daemon

APP = """\
import os
from pathlib import Path
from monqbus import event_handler

@event_handler("open.hello", "fresh")
def version(topic, event):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("version {number}\\n")
"""
CHANGING = CONFIG.replace("apps = accepted", "apps = changing").replace("path = {apps}", "path = ./apps")
HELLO = {"X-Kind": "hello"}


class Changing:
    """A daemon whose app and config a test rewrites."""

    def __init__(self, daemon: Daemon, app: Path) -> None:
        self.daemon = daemon
        self.app = app

    def reload(self, app: str, config: str) -> None:
        self.app.write_text(app)
        self.daemon.config.write_text(config)
        self.daemon.signal(signal.SIGHUP)

    def greet(self, hook: str = "open") -> int:
        """Deliver a greeting; its status."""
        return self.daemon.request("POST", f"/hooks/{hook}", b"x", HELLO)[0]


@pytest.fixture
def changing(new_daemon: New, tmp_path: Path) -> Changing:
    """A running daemon with version 1 of an app."""
    app = tmp_path / "apps" / "changing.py"
    app.parent.mkdir()
    app.write_text(APP.format(number=1))
    return Changing(new_daemon(text=CHANGING).start(), app)


def test_term_lets_a_running_task_end(new_daemon: New, ran: Ran):
    """Within the drain time a task runs to its end and the exit code is 0."""
    daemon = new_daemon().start()
    daemon.monqbus("post", "accepted.linger", "--args", "[0.5]")

    code = daemon.stop()

    assert 0 == code
    assert ["began 1", "ended 1"] == ran()


def test_what_an_app_has_registered_for_the_end_is_done(new_daemon: New, tmp_path: Path, ran: Ran):
    """What it flushes there is not lost, whatever threads it has left behind."""
    (tmp_path / "apps").mkdir()
    lines = 'import atexit\natexit.register(lambda: Path(os.environ["RAN"]).write_text("flushed"))\n'
    (tmp_path / "apps" / "changing.py").write_text(APP.format(number=1) + lines)
    daemon = new_daemon(text=CHANGING).start()

    assert 0 == daemon.stop()
    assert ["flushed"] == ran()


@pytest.mark.parametrize("kind", ["sqlite", "standalone", "replica_set"])
def test_an_idle_daemon_ends_at_once(kind: str, request: pytest.FixtureRequest, new_daemon: New):
    """Nobody waits for greenlets that listen or for threads of the driver: two seconds at most."""
    store = kind
    if kind != "sqlite":
        deployment: Deployment = request.getfixturevalue(kind)
        store = deployment.address(f"idle_{uuid4().hex[:8]}")
    daemon = new_daemon(store).start()

    asked = time.monotonic()
    code = daemon.stop()

    assert 0 == code
    assert time.monotonic() - asked < 3


def test_what_outlasts_the_drain_goes_back_without_using_an_attempt(new_daemon: New, ran: Ran):
    """A task that is cut short is ready again with the attempt given back."""
    daemon = new_daemon().start()
    daemon.monqbus("post", "accepted.linger", "--args", "[60]")
    ran(1)

    asked = time.monotonic()
    code = daemon.stop()
    took = time.monotonic() - asked
    listed = daemon.monqbus("list", "--json").stdout

    assert 0 == code
    assert 2 <= took < 5
    assert '"state": "ready"' in listed
    assert '"attempt": 0' in listed


def test_a_killed_daemon_loses_nothing(new_daemon: New, ran: Ran):
    """After SIGKILL in the middle of a task the next start runs it again at once."""
    daemon = new_daemon().start()
    task_id = daemon.monqbus("post", "accepted.stumble").stdout.strip()
    ran(1)
    daemon.kill()

    daemon.start()
    daemon.wait_for("task.rescued", task_id)
    daemon.wait_for("task.finished", task_id)

    assert ["began 1", "began 2", "ended 2"] == ran()


def test_a_daemon_killed_beside_others_is_rescued_from(standalone: Deployment, new_daemon: New, ran: Ran):
    """On a shared store another daemon takes the task over when the lease has run out."""
    address = standalone.address(f"killed_{uuid4().hex[:8]}")
    killed, other = new_daemon(address, name="killed").start(), new_daemon(address, name="other")
    task_id = killed.monqbus("post", "accepted.stumble").stdout.strip()
    ran(1)
    killed.kill()

    other.start()
    other.wait_for("task.rescued", task_id)
    other.wait_for("task.finished", task_id)

    assert ["began 1", "began 2", "ended 2"] == ran()


def test_hup_brings_new_code_and_hooks(changing: Changing, ran: Ran):
    """What is delivered after the reload meets the new version; a hook that is gone is unknown."""
    config = changing.daemon.config.read_text()
    before = changing.greet()
    ran(1)
    fresh = config.replace("[hook:open]", "[hook:fresh]").replace("open.{header:X-Kind}", "fresh")
    changing.reload(APP.format(number=2), fresh)
    changing.daemon.wait_for("config.reloaded")
    after = [changing.greet("open"), changing.greet("fresh")]

    assert [202, [404, 202]] == [before, after]
    assert ["version 1", "version 2"] == ran(2)


def test_a_broken_reload_keeps_the_old_serving_and_is_told(changing: Changing, ran: Ran):
    """Whatever is wrong: one line that says what and where, nothing changes."""
    app, config = APP.format(number=2), changing.daemon.config.read_text()
    broken = {
        "changing.py:1": ("def broken(:\n", config),
        "ZeroDivisionError": ("1 / 0\n", config),
        "declared at": (f"{app}\n{app.partition('monqbus import event_handler')[2]}", config),
        "SystemExit": ("raise SystemExit(3)\n", config),
        "no module named 'nowhere'": (app, config.replace("apps = changing", "apps = changing, nowhere")),
        "worker2": (app, f"{config}[worker2]\n"),
        "greenlets": (app, config.replace("[worker]", "[worker]\ngreenlets = many")),
    }
    for word, (bad_app, bad_config) in broken.items():
        changing.reload(bad_app, bad_config)
        changing.daemon.wait_for("config.refused", word)
        changing.greet()
    changing.daemon.config.unlink()
    changing.daemon.signal(signal.SIGHUP)
    changing.daemon.wait_for("config.refused", "expected a configuration file, got nothing")

    assert ["version 1"] * len(broken) == ran(len(broken))
    assert not [line for line in changing.daemon.lines if "config.reloaded" in line]


def test_usr1_tells_what_every_slot_is_doing(new_daemon: New, ran: Ran):
    """The log names the running task."""
    daemon = new_daemon().start()
    task_id = daemon.monqbus("post", "accepted.linger", "--args", "[1]").stdout.strip()
    ran(1)

    daemon.signal(signal.SIGUSR1)

    assert "taken=1" in daemon.wait_for("slots.described")
    assert task_id in daemon.wait_for("slot.described")


@pytest.mark.parametrize("pause", [True, False], ids=["a second later", "at once"])
def test_a_second_term_stops_at_once_unless_it_is_the_same_one(new_daemon: New, ran: Ran, pause: bool):
    """The bootloader of a one-file binary and a process group send TERM twice; a person waits."""
    text = CONFIG.replace("drain = 2s", "drain = 3s")
    daemon = new_daemon(text=text).start()
    daemon.monqbus("post", "accepted.linger", "--args", "[2]")
    ran(1)
    daemon.signal(signal.SIGTERM)
    if pause:
        daemon.wait_for("daemon.draining")
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.wait(1.2)
    daemon.signal(signal.SIGTERM)
    code = daemon.wait()

    assert 0 == code
    assert (["began 1"] if pause else ["began 1", "ended 1"]) == ran()
