"""Rules in a real daemon: signed deliveries filtered and accepted, handlers with rules, reloads, replays."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from .conftest import SECRET, New
from .daemons import Daemon

APP = """\
import os
from pathlib import Path

from monqbus import event_handler, task

def _write(*words):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(" ".join(str(word) for word in words) + "\\n")

@event_handler("github.push")
def every(topic, event):
    _write("every", event.json["number"])

@event_handler("github.push", when='body.number >= 10 and header.X-GitHub-Event == "push"')
def large(topic, event):
    _write("large", event.json["number"])

@task
def record(number, words, team="nobody"):
    _write("record", number, words, team)

@event_handler("order", when='args.0 > 100 and kwargs.currency == "EUR"')
def expensive(topic, amount, currency):
    _write("expensive", amount, currency)
"""
CONFIG = """\
[monqbus]
data_dir = ./data
store = {store}
apps = ruled
path = ./apps
[worker]
drain = 2s
lease = 10s
[http]
listen = 127.0.0.1:0
trusted_proxies = 127.0.0.1
[hook:github]
verify = github
secret = env:HOOK_SECRET
topic = github.{{event}}
when = body.ref == "refs/heads/main"
    and header.X-GitHub-Event in ("push", "release")
    and (missing(ip) or ip not in "203.0.113.0/24")
[hook:office]
verify = none
allow_ips = 198.51.100.0/24, 2001:db8::/32
[handler:shell]
topic = github.push
when = body.number == 7
command = /bin/sh -c 'echo shell "$1" >> "$RAN"' sh {{body:number}}
environment = RAN
[handler:mapped]
topic = github.push
when = body.number in (7, 11)
task = ruled.record
args = ["{{body:number}}", "{{topic}}:{{body:gone|none}}"]
kwargs = {{"team": "{{query:team|none}}"}}
"""
MAIN = {"ref": "refs/heads/main"}


@pytest.fixture
def daemon(address: str, new_daemon: New, tmp_path: Path) -> Daemon:
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "ruled.py").write_text(APP)
    return new_daemon(address, text=CONFIG).start()


def push(daemon: Daemon, number: int, **fields: Any) -> tuple[int, dict[str, Any]]:
    """A signed delivery, with the fields of its body."""
    body = json.dumps({"number": number, **fields}).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": f"d-{number}",
        "X-Hub-Signature-256": f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}",
    }
    return daemon.request("POST", "/hooks/github", body, headers)


def reconfigure(daemon: Daemon, old: str, new: str) -> str:
    """Change the file and send HUP; what became of it."""
    text = daemon.config.read_text()
    assert old in text
    daemon.config.write_text(text.replace(old, new))
    seen = len([line for line in daemon.lines if "config.re" in line and "reloading" not in line])
    daemon.signal(signal.SIGHUP)
    return daemon.wait_for("config.re", times=seen + 1)


def test_what_no_rule_wants_has_no_task(daemon, ran):
    """Signed deliveries and published events, functions and commands."""
    answers = [
        push(daemon, 1, **MAIN),
        push(daemon, 2, ref="refs/heads/other"),
        push(daemon, 7, **MAIN),
        push(daemon, 11, **MAIN),
        push(daemon, 12),
    ]
    daemon.monqbus("event", "order", "--args", "[700]", "--kwargs", '{"currency": "EUR"}')
    cheap = daemon.monqbus("event", "order", "--args", "[7]", "--kwargs", '{"currency": "EUR"}')

    assert "filtered: the rule (`when`) of no handler holds for it; the event is recorded" in cheap.stderr
    assert [202] * 5 == [status for status, _ in answers]
    assert [1, 0, 3, 3, 0] == [len(answer["tasks"]) for _, answer in answers]
    assert [False, True, False, False, True] == ["filtered" in answer for _, answer in answers]
    ran_ = ["every 1", "every 11", "every 7", "expensive 700 EUR", "large 11"]
    ran_ += ["record 11 github.push:none none", "record 7 github.push:none none", "shell 7"]
    assert ran_ == sorted(ran(8))
    daemon.wait_for("event.filtered", times=2)  # on MongoDB the command has published by itself
    assert not [line for line in daemon.lines if "event.unhandled" in line]


def test_a_broken_rule_changes_nothing_and_a_changed_one_is_asked_from_then_on(daemon, ran):
    """Redeliveries and replays as well: a filtered event waits for its rule."""
    _, first = push(daemon, 2, ref="refs/heads/other")
    assert "config.refused" in reconfigure(daemon, "body.ref ==", "body.ref =")
    status, met = push(daemon, 2, ref="refs/heads/other")
    assert (200, first["event"], True, True) == (status, met["event"], met["duplicate"], met["filtered"])
    daemon.config.write_text(daemon.config.read_text().replace("body.ref =", "body.ref =="))
    refused = daemon.monqbus("events", "replay", first["event"])
    assert (1, True) == (refused.returncode, "[hook:github] does not hold for it" in refused.stderr)
    assert "filtered" in daemon.monqbus("events", "list").stdout
    assert "a rule (`when`) has filtered it" in daemon.monqbus("events", "show", first["event"]).stdout
    assert "config.reloaded" in reconfigure(daemon, "body.ref == ", 'body.ref != "x" or body.ref == ')
    replayed = daemon.monqbus("events", "replay", first["event"])
    again = push(daemon, 2, ref="refs/heads/other")
    new = push(daemon, 3, ref="refs/heads/other")

    assert 0 == replayed.returncode, replayed.stderr
    assert (200, replayed.stdout.split()) == (again[0], again[1]["tasks"])
    assert "filtered" not in new[1]
    assert ["every 2", "every 3"] == sorted(ran(2))
    assert '"filtered"' not in daemon.monqbus("events", "show", first["event"], "--json").stdout


def test_addresses_are_those_of_clients_behind_the_proxy(daemon):
    """A rule and an allow list, told by the proxy alone."""
    statuses = [
        daemon.request("POST", "/hooks/office", b"{}", {"X-Forwarded-For": hops})[0]
        for hops in ("198.51.100.7", "2001:db8::7", "192.0.2.1", "198.51.100.7, 192.0.2.1")
    ]

    assert [202, 202, 403, 403] == statuses
    assert "address_not_allowed" in daemon.wait_for("event.refused", times=2)


def test_check_prints_the_rules_and_shows_where_a_wrong_one_is_wrong(daemon):
    """The line, and a caret below it."""
    printed = daemon.monqbus("check").stdout
    written = daemon.config.read_text()
    daemon.config.write_text(written.replace("body.number == 7", "body.number = 7"))
    refused = daemon.monqbus("check")
    daemon.config.write_text(written.replace("ruled.record", "ruled.recrod"))
    missing = daemon.monqbus("check")

    assert 'rule     /hooks/github when body.ref == "refs/heads/main" and header' in printed
    assert "rule     github.push → handler:shell when body.number == 7" in printed
    assert 'rule     order → ruled.expensive when args.0 > 100 and kwargs.currency == "EUR"' in printed
    assert [78, 78] == [refused.returncode, missing.returncode]
    assert "expected one that an app declares, got ruled.recrod; did you mean ruled.record?" in missing.stderr
    assert "    body.number = 7\n                ^\n" in refused.stderr
