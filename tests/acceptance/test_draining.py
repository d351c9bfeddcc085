"""Stopping while requests flow, while it starts, while it reloads, while the store is away."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests import mongod
from tests.mongod import Mongod

from .conftest import CONFIG, New, Ran
from .daemons import Daemon, until

DRAIN = 1.0
SENDERS = 16
FLOWING = CONFIG.replace("apps = accepted", "apps = flowing").replace("path = {apps}", "path = ./apps")
FLOWING = FLOWING.replace("drain = 2s", "drain = 1s")
APP = """\
import os
import time
from pathlib import Path

import gevent
from monqbus import event_handler, task

@event_handler("open.flow")
def flow(topic, event):
    gevent.sleep(0.1 + int(event.body) % 20 / 10)

@task
def linger(seconds):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("began\\n")
    gevent.sleep(seconds)

@task
def wait_for(path):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("began\\n")
    while not Path(path).exists():
        gevent.sleep(0.01)

@task
def refuse_to_end():
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("began\\n")
    while True:
        try:
            gevent.sleep(60)
        except BaseException:
            pass
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The app of these daemons, to be changed."""
    path = tmp_path / "apps" / "flowing.py"
    path.parent.mkdir()
    path.write_text(APP)
    return path


class Sender:
    """Delivers one after the other on a kept connection until nobody listens any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answers: dict[str, tuple[int, str]] = {}
        self.unanswered: list[str] = []

    def run(self, address: tuple[str, int]) -> None:
        connection = http.client.HTTPConnection(*address, timeout=20)
        for count in range(10_000):
            try:
                connection.connect() if connection.sock is None else None
            except OSError:
                return
            self._deliver(connection, f"{self.number}{count:05}")
            gevent.sleep(0.005)

    def _deliver(self, connection: http.client.HTTPConnection, name: str) -> None:
        headers = {"X-Kind": "flow", "Idempotency-Key": name}
        try:
            connection.request("POST", "/hooks/open", name.encode(), headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self.unanswered.append(name)
        else:
            self.answers[name] = (answer.status, answer.headers.get("Connection", ""))


def tasks_of(daemon: Daemon, *words: str) -> Iterator[dict[str, Any]]:
    """Every stored task with all of its fields."""
    listed = daemon.monqbus("list", "--json", "--limit", "100000", *words)
    for line in listed.stdout.splitlines():
        yield json.loads(line)


def details(daemon: Daemon, task_id: str) -> dict[str, Any]:
    """One task with all of its fields."""
    shown: dict[str, Any] = json.loads(daemon.monqbus("show", task_id, "--json").stdout)
    return shown


@pytest.mark.usefixtures("app")
def test_while_deliveries_flow_each_is_either_stored_and_answered_or_neither(address: str, new_daemon: New):
    """Sixteen connections send while it stops: nobody is answered and forgotten, or stored and reset."""
    daemon = new_daemon(address, text=FLOWING).start()
    daemon.monqbus("post", "flowing.linger", "--args", "[60]")
    senders = [Sender(number) for number in range(10, 10 + SENDERS)]
    sending = [gevent.spawn(sender.run, daemon.address) for sender in senders]
    until(lambda: [name for sender in senders for name in sender.answers], 200)

    asked = time.monotonic()
    code = daemon.stop()
    took = time.monotonic() - asked
    gevent.joinall(sending, timeout=20, raise_error=True)
    answers = {name: answer for sender in senders for name, answer in sender.answers.items()}
    rows = list(tasks_of(daemon))
    flowed = [row for row in rows if row["task_name"] == "flowing.flow"]

    assert 0 == code
    assert took < DRAIN + 2
    assert {202, 503} >= {status for status, _ in answers.values()}
    assert all(header == "close" for status, header in answers.values() if status == 503)
    assert len(flowed) == sum(status == 202 for status, _ in answers.values())
    assert {"complete", "ready"} == {row["state"] for row in flowed}
    assert {("ready", 0)} == {(row["state"], row["attempt"]) for row in rows if row["state"] != "complete"}


@pytest.mark.usefixtures("app")
def test_a_second_signal_stops_at_once_even_a_handler_that_refuses(new_daemon: New, ran: Ran):
    """TERM, and later INT: the drain time is cut off, the task is released, the exit code is 0."""
    daemon = new_daemon(text=FLOWING.replace("drain = 1s", "drain = 60s")).start()
    task_id = daemon.monqbus("post", "flowing.refuse_to_end").stdout.strip()
    ran(1)
    daemon.signal(signal.SIGTERM)
    daemon.wait_for("daemon.draining")
    with pytest.raises(Exception, match="timed out"):
        daemon.wait(1.2)
    daemon.signal(signal.SIGINT)

    assert 0 == daemon.wait(5)
    shown = details(daemon, task_id)
    assert ("ready", 0, 0) == (shown["state"], shown["attempt"], shown["crashes"])


@pytest.mark.usefixtures("app")
def test_a_term_during_the_start_costs_no_task_anything(
    address: str, new_daemon: New, ran: Ran, tmp_path: Path
):
    """Before something is claimed the process just ends; from then on it drains, started or not."""
    daemon = new_daemon(address, text=FLOWING.replace("drain = 1s", "drain = 0s"))
    task_id = daemon.monqbus("post", "flowing.linger", "--args", "[60]").stdout.strip()
    door = tmp_path / "data" / "control.sock"
    moments = [lambda: until(lambda: ["there"] if door.exists() else [], 1), lambda: ran(len(ran()) + 1)]
    ends = []
    for moment in moments:
        daemon.launch()
        moment()
        ends.append(daemon.stop())
        shown = details(daemon, task_id)
        assert ("ready", 0, 0) == (shown["state"], shown["attempt"], shown["crashes"])

    assert ends[0] in (0, -signal.SIGTERM)
    assert 0 == ends[1]


def test_a_term_during_a_reload_does_not_wait_for_it(new_daemon: New, app: Path, ran: Ran):
    """Apps that take for ever to import hold up neither deliveries nor the end."""
    daemon = new_daemon(text=FLOWING).start()
    app.write_text(f"{APP}\nlinger.function(60)\n")
    daemon.signal(signal.SIGHUP)
    ran(1)
    status, _ = daemon.request("POST", "/hooks/open", b"0", {"X-Kind": "flow"})

    assert 202 == status
    assert 0 == daemon.stop()
    assert not [line for line in daemon.lines if "config.refused" in line or "config.reloaded" in line]


@pytest.fixture
def own_mongod() -> Iterator[Mongod]:
    """A server that this test may stop."""
    server = Mongod()
    mongod.Deployment([server], replicated=False).client.close()
    yield server
    server.remove()


@pytest.mark.usefixtures("app")
def test_a_term_while_the_store_is_away_ends_all_the_same(
    new_daemon: New, ran: Ran, own_mongod: Mongod, tmp_path: Path
):
    """What could not be recorded is told by name, and runs again: the one that ended, the one cut short."""
    address = f"mongodb://{own_mongod.host}/away"
    daemon = new_daemon(address, text=FLOWING).start()
    ids = [
        daemon.monqbus("post", f"flowing.{name}", "--args", args).stdout.strip()
        for name, args in (("wait_for", '["away"]'), ("linger", "[60]"))
    ]
    ran(2)
    own_mongod.kill()
    (tmp_path / "away").touch()

    asked = time.monotonic()
    code = daemon.stop()
    took = time.monotonic() - asked

    assert 0 == code
    assert took < DRAIN + 15
    told = [line for line in daemon.lines if "task.unrecorded" in line]
    assert [[task_id in line for line in told].count(True) for task_id in ids] == [1, 1]
