"""Handlers that do to the process what they should not: it goes on, or it comes back."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .conftest import CONFIG, New, Ran
from .daemons import Daemon, until
from .test_draining import details

APP = """\
import ctypes
import locale
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gevent
from monqbus import c, event_handler, task

def _write(*words):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(" ".join(words) + "\\n")

@task
def spoil():
    os.close(1)
    os.close(2)
    open("/dev/null")  # so that the numbers are somebody else's
    os.chdir("/")
    os.umask(0o777)
    del os.environ["HOOK_SECRET"]
    sys.path.clear()
    time.sleep = lambda seconds: None
    locale.setlocale(locale.LC_ALL, "C")
    threading.Thread(target=stay).start()
    ThreadPoolExecutor(1).submit(stay)  # Python joins these at its end
    gevent.spawn(stay)
    gevent.spawn(sys.exit, 3)
    gevent.sleep(0.05)
    print("spoilt")

def stay():
    while True:
        gevent.sleep(0.1)

@event_handler("open.hello")
def hello(topic, event):
    _write("hello")

@task
def end_the_process():
    gevent.sleep(0.2)
    if c.task.crashes % 2:
        os._exit(7)
    ctypes.string_at(0)

@task
def innocent():
    if c.task.generation == 1:
        gevent.sleep(600)
"""
TEXT = CONFIG.replace("apps = accepted", "apps = unruly").replace("path = {apps}", "path = ./apps")
RESTARTS = 12


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The app of these daemons."""
    path = tmp_path / "apps" / "unruly.py"
    path.parent.mkdir()
    path.write_text(APP)
    return path


def test_a_handler_that_spoils_the_process_does_not_spoil_the_daemon(new_daemon: New, app: Path, ran: Ran):
    """Closed descriptors, another folder, no environment, threads left behind: it serves, reloads, ends."""
    daemon = new_daemon(text=TEXT).start()
    daemon.monqbus("post", "unruly.spoil")
    daemon.wait_for("task.finished", "unruly.spoil")
    hello = {"X-Kind": "hello"}

    assert 202 == daemon.request("POST", "/hooks/open", b"x", hello)[0]
    assert ["hello"] == ran(1)
    app.write_text(APP.replace('_write("hello")', '_write("hello again")'))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    assert 202 == daemon.request("POST", "/hooks/open", b"x", hello)[0]
    assert ["hello", "hello again"] == ran(2)
    assert 0 == daemon.stop()
    assert "daemon.stopped" in daemon.lines[-1]


@pytest.mark.usefixtures("app")
def test_a_task_that_ends_the_process_again_and_again_is_found_out(new_daemon: New):
    """Started again as a supervisor would, the daemon quarantines it, and what ran beside it completes."""
    daemon = new_daemon(text=TEXT).start()
    innocents = [daemon.monqbus("post", "unruly.innocent").stdout.strip() for _ in range(2)]
    poison = daemon.monqbus("post", "unruly.end_the_process").stdout.strip()
    restarts = 0
    while not is_found_out(daemon, poison):
        restarts += 1
        assert restarts <= RESTARTS
        daemon.launch()
    ended = details(daemon, poison)

    assert "error" == ended["state"]
    assert ended["crashes"] >= 3
    assert "crashes: " in ended["result"]
    assert ["complete", "complete"] == [details(daemon, innocent)["state"] for innocent in innocents]


def is_found_out(daemon: Daemon, task_id: str) -> bool:
    """Wait until the daemon has either given the task up or died of it."""

    def seen() -> list[str]:
        given_up = [line for line in daemon.lines if "task.gave_up" in line and task_id in line]
        return given_up or (["died"] if daemon.process is None or daemon.process.poll() is not None else [])

    return until(seen, 1) != ["died"]


def test_a_control_socket_that_was_deleted_comes_back(new_daemon: New, tmp_path: Path):
    """Clean-up jobs delete such files; commands find the daemon again within seconds."""
    daemon = new_daemon().start()
    path = tmp_path / "data" / "control.sock"
    path.unlink()
    daemon.wait_for("socket.restored")

    added = daemon.monqbus("post", "accepted.add", "--args", "[1, 2]", "--wait", "10")

    assert "3" == added.stdout.split()[-1]
    assert 0o600 == path.stat().st_mode & 0o777
    assert 0 == daemon.stop()
    assert not path.exists()
