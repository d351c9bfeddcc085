"""Answers that wait for results, of a real daemon: in time, too late, failed, retried, stopped."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import signal
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.mongod import Deployment

from .conftest import SECRET, New, Ran
from .daemons import Daemon

APP = """\
import os
from pathlib import Path

import gevent
from monqbus import Cancel, Retry, c, event_handler

def _write(*words):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(" ".join(str(word) for word in words) + "\\n")

@event_handler("sum", "both")
def add(topic, event):
    return {"sum": sum(event.json["numbers"])}

@event_handler("both")
def refuse(topic, event):
    raise Cancel("not of interest")

@event_handler("fail", max_attempts=1)
def fail(topic, event):
    raise ValueError("the password is hunter2")

@event_handler("retry")
def second_try(topic, event):
    if c.task.attempt == 1:
        raise Retry(delay=0)
    return c.task.attempt

@event_handler("gate")
def pass_gate(topic, event):
    _write("began")
    while not Path(os.environ["PLACE"], "gate").exists():
        gevent.sleep(0.01)
    _write("passed")
    return "passed"

@event_handler("cpu", cpu=True)
def compute(topic, event):
    return os.getpid()
"""
CONFIG = """\
[monqbus]
data_dir = ./data
store = {store}
apps = answering
path = ./apps
[worker]
drain = 2s
lease = 10s
cpu_workers = 1
[http]
listen = 127.0.0.1:0
[hook:ask]
verify = github
secret = env:HOOK_SECRET
topic = {{event}}
when = missing(body.skip)
wait = 60s
header.X-Served-By = monqbus
[hook:brief]
verify = none
topic = gate
wait = 1ms
status = 200
body = {{"later": "{{id}}"}}
header.Content-Type = application/json
[hook:output]
verify = none
topic = shell
wait = 60s
output = yes
[handler:shell]
topic = shell
command = /bin/echo {{body:word}}
[hook:shown]
verify = none
topic = shown
stream = 1m
[handler:shown]
topic = shown
command = /bin/sh -c "echo one; until test -e gate; do sleep 0.05; done; echo two"
"""


@pytest.fixture
def text(tmp_path: Path) -> str:
    """The configuration, and the app beside it."""
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "answering.py").write_text(APP)
    return CONFIG


@pytest.fixture
def daemon(address: str, new_daemon: New, text: str) -> Daemon:
    return new_daemon(address, text=text).start()


def open_gate(daemon: Daemon) -> None:
    (daemon.config.parent / "gate").touch()


def headers_of(kind: str, body: bytes, delivery: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": kind,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}",
    }


def ask(daemon: Daemon, kind: str, delivery: str = "d", **fields: Any) -> tuple[int, Any]:
    """A signed delivery whose answer waits; status and JSON."""
    body = json.dumps({"delivery": delivery, **fields}).encode()
    return daemon.request("POST", "/hooks/ask", body, headers_of(kind, body, delivery))


def connected(daemon: Daemon, kind: str) -> http.client.HTTPConnection:
    """A connection on which a delivery was sent."""
    connection = http.client.HTTPConnection(*daemon.address, timeout=20)
    connection.request("POST", "/hooks/ask", b"{}", headers_of(kind, b"{}", "d"))
    return connection


def test_the_handlers_result_is_the_answer(daemon):
    """Of a function, a command, a process of its own, and after a second attempt."""
    assert (200, {"sum": 6}) == ask(daemon, "sum", "1", numbers=[1, 2, 3])
    assert (200, 2) == ask(daemon, "retry", "2")
    assert (200, None) == ask(daemon, "shell", "3", word="hello")
    status, process = ask(daemon, "cpu", "4")
    assert (200, True) == (status, process != daemon.pid)


def test_what_a_command_prints_is_the_answer_where_the_hook_says_so(daemon):
    """As text, whatever it is."""
    connection = http.client.HTTPConnection(*daemon.address, timeout=20)
    connection.request("POST", "/hooks/output", b'{"word": "<b>"}', {"Content-Type": "application/json"})
    answer = connection.getresponse()
    printed = answer.read()
    connection.close()

    assert (200, b"<b>\n") == (answer.status, printed)
    assert ("text/plain; charset=utf-8", "nosniff") == (
        answer.getheader("Content-Type"), answer.getheader("X-Content-Type-Options"),
    )  # fmt: skip


def test_what_a_command_prints_is_shown_while_it_runs(daemon):
    """Server-sent events, on request; the first line is there while the command still waits."""
    connection = http.client.HTTPConnection(*daemon.address, timeout=20)
    connection.request("POST", "/hooks/shown", b"", {"Accept": "text/event-stream"})
    answer = connection.getresponse()
    shown = b""
    while b'"text": "one"' not in shown:
        shown += answer.read1()
    (running,) = map(json.loads, daemon.monqbus("list", "--json").stdout.splitlines())
    open_gate(daemon)
    shown += answer.read()
    connection.close()

    assert (200, "text/event-stream") == (answer.status, answer.getheader("Content-Type"))
    assert "busy" == running["state"]
    assert ["accepted", "output", "output", "ended", "done"] == [
        line.removeprefix("event: ") for line in shown.decode().splitlines() if line.startswith("event: ")
    ]
    assert 202 == daemon.request("POST", "/hooks/shown")[0]


def test_of_two_handlers_both_are_told(daemon):
    status, told = ask(daemon, "both", numbers=[4])

    ends = sorted((task["state"], str(task["result"])) for task in told["tasks"])
    assert (200, "complete", "{'sum': 4}") == (status, *ends[0])
    assert "skipped" == ends[1][0]


def test_a_failed_handler_is_500_once(daemon):
    """Without its error; the same delivery again is a duplicate as ever, and lets the task be tried again."""
    status, told = ask(daemon, "fail")
    again = ask(daemon, "fail")

    assert (500, "handler_failed") == (status, told["code"])
    assert "hunter2" not in json.dumps(told)
    assert 200 == again[0]
    assert (told["event"], True, 1) == (again[1]["event"], again[1]["duplicate"], again[1]["retried"])
    assert told["event"] in daemon.monqbus("events", "show", told["event"]).stdout


def test_what_nobody_runs_is_answered_at_once(daemon):
    """No handler, and a rule that does not hold."""
    unhandled, nobody = ask(daemon, "nobody", "1")
    filtered, rule = ask(daemon, "sum", "2", skip=1, numbers=[1])

    assert (202, []) == (unhandled, nobody["tasks"])
    assert (202, True) == (filtered, rule["filtered"])


def test_what_ends_too_late_is_answered_in_time_and_ends_all_the_same(daemon, ran: Ran):
    status, told = daemon.request("POST", "/hooks/brief", b"{}")
    open_gate(daemon)

    assert 200 == status
    assert daemon.monqbus("events", "show", str(told["later"])).returncode == 0
    assert ["began", "passed"] == ran(2)


def test_a_client_that_leaves_takes_nothing_with_it(daemon, ran: Ran):
    """The task runs to its end, and the daemon answers on."""
    connection = connected(daemon, "gate")
    ran(1)
    connection.close()
    open_gate(daemon)

    assert ["began", "passed"] == ran(2)
    assert (200, {"sum": 1}) == ask(daemon, "sum", "2", numbers=[1])


def test_a_stop_does_not_wait_for_who_waits(daemon, ran: Ran):
    """202 at once, while the handler has still its time to end."""
    connection = connected(daemon, "gate")
    ran(1)
    daemon.signal(signal.SIGTERM)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    before = ran()
    open_gate(daemon)

    assert (202, "close", "monqbus") == (
        answer.status, answer.getheader("Connection"), answer.getheader("X-Served-By"),
    )  # fmt: skip
    assert 1 == len(told["tasks"])
    assert ["began"] == before
    assert 0 == daemon.wait()
    assert ["began", "passed"] == ran(2)


def test_many_who_wait_get_each_its_own(daemon):
    """64 at once, more than half of the slots."""
    asked = [gevent.spawn(ask, daemon, "sum", f"d-{n}", numbers=[n]) for n in range(64)]
    answers = [one.get(timeout=20) for one in asked]

    assert [(200, {"sum": n}) for n in range(64)] == answers


def test_what_another_daemon_runs_is_answered_too(standalone: Deployment, new_daemon: New, text: str, ran):
    """The one that was asked claims nothing; it finds the end in the store."""
    store = standalone.address("answered_elsewhere")
    door = new_daemon(store, text=text, name="door")
    door.launch("--except", "*")
    door.wait_for("daemon.started")
    new_daemon(store, text=text.replace("./data", "./other"), name="hand").start()

    assert (200, {"sum": 3}) == ask(door, "sum", numbers=[1, 2])


def test_a_reload_changes_the_answer(daemon):
    """The daemon asks the hook's present settings for each delivery."""
    daemon.config.write_text(daemon.config.read_text().replace("wait = 60s\n", "status = 201\n", 1))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")

    assert 201 == ask(daemon, "sum", numbers=[1])[0]
