"""A real daemon is scraped, and what it says is parsed by Prometheus' own parser."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import signal
import socket
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bus.metrics.families import FAMILIES

from .conftest import SECRET, New
from .daemons import PATIENCE, Daemon

APP = """\
from monqbus import event_handler

@event_handler("github.push")
def good(topic, event):
    return None

@event_handler("github.fault", max_attempts=1)
def bad(topic, event):
    raise ValueError("no")
"""
CONFIG = """\
[monqbus]
data_dir = ./data
store = {store}
apps = metered
path = ./apps
[worker]
drain = 2s
lease = 10s
[http]
listen = 127.0.0.1:0
[admin]
listen = 127.0.0.1:0
[hook:github]
verify = github
secret = env:HOOK_SECRET
topic = github.{{event}}
"""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def app(tmp_path: Path) -> None:
    """The module that the daemons import."""
    (tmp_path / "apps").mkdir(mode=0o700)
    (tmp_path / "apps" / "metered.py").write_text(APP)


def admin_address(daemon: Daemon) -> tuple[str, int]:
    """Where the operators' listener is."""
    match = re.search(r"admin=http://([\d.]+):(\d+)", daemon.wait_for("daemon.started"))
    assert match is not None
    return match[1], int(match[2])


def ask(daemon: Daemon, method: str = "GET", path: str = "/metrics") -> tuple[int, str | None, bytes]:
    """One request to the operators' listener."""
    connection = http.client.HTTPConnection(*admin_address(daemon), timeout=PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()
    finally:
        connection.close()


def scrape(daemon: Daemon) -> Samples:
    """Every sample, by its name and labels."""
    status, kind, body = ask(daemon)
    assert (200, True) == (status, str(kind).startswith("text/plain; version="))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """One of them, None when it is not there."""
    return samples.get((name, tuple(sorted(labels.items()))))


def deliver(daemon: Daemon, event: str, body: bytes, delivery: str, hook: str = "github") -> int:
    """One delivery as GitHub signs it; the status."""
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": f"sha256={signature}",
        "Content-Type": "application/json",
    }
    return daemon.request("POST", f"/hooks/{hook}", body, headers)[0]


@pytest.mark.usefixtures("app")
def test_deliveries_tasks_and_failures_are_counted(new_daemon: New, address: str) -> None:
    """Each by its name and outcome, on each kind of store."""
    daemon = new_daemon(address, text=CONFIG).start()
    deliver(daemon, "push", b'{"n": 1}', "one")
    deliver(daemon, "push", b'{"n": 1}', "one")
    deliver(daemon, "fault", b"{}", "two")
    deliver(daemon, "star", b'{"n": 3}', "three")
    daemon.request("POST", "/hooks/github", b"{}", {"X-GitHub-Event": "push"})
    daemon.wait_for("task.finished")
    daemon.wait_for("task.gave_up")

    samples = scrape(daemon)

    outcomes = {
        one: value(samples, "monqbus_deliveries_total", hook="github", outcome=one)
        for one in ("accepted", "duplicate", "unhandled")
    }
    assert {"accepted": 2.0, "duplicate": 1.0, "unhandled": 1.0} == outcomes
    statuses = [
        value(samples, "monqbus_http_responses_total", hook="github", status=one)
        for one in ("202", "200", "401")
    ]
    assert [3.0, 1.0, 1.0] == statuses
    refused = value(samples, "monqbus_deliveries_refused_total", hook="github", reason="not_verified")
    assert 1.0 == refused
    ends = [
        value(samples, "monqbus_task_runs_total", task="metered.good", outcome="complete"),
        value(samples, "monqbus_task_runs_total", task="metered.bad", outcome="error"),
    ]
    assert [1.0, 1.0] == ends
    counted = [
        value(samples, f"monqbus_task_{kind}_seconds_count", task="metered.good") for kind in ("wait", "run")
    ]
    assert [1.0, 1.0] == counted
    assert 1.0 == value(samples, "monqbus_events_unhandled_total")
    assert 4.0 == value(samples, "monqbus_store_call_seconds_count", verb="post")
    assert [1.0, 100.0] == [
        value(samples, "monqbus_ready"),
        value(samples, "monqbus_slots", lane="greenlets"),
    ]


@pytest.mark.usefixtures("app")
def test_names_of_strangers_make_no_new_labels(new_daemon: New) -> None:
    """Hooks and tasks that are not declared are `other`, however many there are and whatever they hold."""
    daemon = new_daemon(text=CONFIG).start()
    for number in range(50):
        daemon.request("POST", f"/hooks/x%22%0A{number}", b"")
        daemon.request("GET", f"/{number}")
        deliver(daemon, "push", b"{}", str(number), hook=f"stranger-{number}")

    samples = scrape(daemon)

    hooks = {dict(labels).get("hook") for _, labels in samples}
    assert hooks == {None, "other"}
    assert 150.0 == value(samples, "monqbus_http_responses_total", hook="other", status="404")
    assert daemon.stop() == 0


@pytest.mark.usefixtures("app")
def test_strangers_read_metrics_and_nothing_else(new_daemon: New) -> None:
    """Pages ask for a sign-in, everything else is 404 or 405; the public listener has no metrics."""
    daemon = new_daemon(text=CONFIG).start()

    assert [401, 404, 404] == [ask(daemon, path=one)[0] for one in ("/", "/healthz", "/hooks/github")]
    assert [405, 405] == [ask(daemon, method)[0] for method in ("POST", "DELETE")]
    assert (200, b"") == ask(daemon, "HEAD")[::2]
    assert 404 == daemon.request("GET", "/metrics")[0]


@pytest.mark.usefixtures("app")
def test_what_is_exported_is_what_the_table_says(new_daemon: New) -> None:
    """Each name, kind and label of the text is in the table; gauges of what a daemon lacks are left out."""
    daemon = new_daemon(text=CONFIG).start()
    deliver(daemon, "push", b"{}", "one")
    daemon.wait_for("task.finished")
    body = ask(daemon)[2].decode()

    told = {family.name: family for family in text_string_to_metric_families(body)}

    table = {one.name.removesuffix("_total"): one for one in FAMILIES}
    assert table.keys() - told.keys() == {"monqbus_spool_deliveries"}
    assert set() == told.keys() - table.keys()
    for name, family in told.items():
        assert family.type == table[name].kind
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(table[name].labels)


def test_a_daemon_without_the_section_has_no_such_listener(new_daemon: New) -> None:
    """Two daemons of one machine would want the same port."""
    daemon = new_daemon().start()

    assert "admin=" not in daemon.wait_for("daemon.started")


@pytest.mark.usefixtures("app")
def test_an_address_that_others_reach_is_refused(new_daemon: New) -> None:
    """Unless a proxy with https is named: passwords would cross the network in plain text."""
    text = CONFIG.replace("[admin]\nlisten = 127.0.0.1:0", "[admin]\nlisten = 0.0.0.0:0")
    daemon = new_daemon(text=text)
    daemon.launch()

    assert 78 == daemon.wait()
    (line,) = [line for line in daemon.log.read_text().splitlines() if "[admin]" in line]
    assert "expected an address that this machine alone reaches, got 0.0.0.0:0; passwords would cross" in line


@pytest.mark.usefixtures("app")
def test_an_address_that_somebody_has_is_told_by_its_setting(new_daemon: New) -> None:
    """It may be free at the next start; nothing has begun to run."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = CONFIG.replace("[admin]\nlisten = 127.0.0.1:0", f"[admin]\nlisten = 127.0.0.1:{port}")
        daemon = new_daemon(text=text)
        daemon.launch()

        assert daemon.wait() != 0
    assert f"[admin] listen: cannot listen on 127.0.0.1:{port}: the port is in use" in daemon.log.read_text()


@pytest.mark.usefixtures("app")
def test_a_unix_socket_does_too_and_is_removed_at_the_end(new_daemon: New, tmp_path: Path) -> None:
    """For a Prometheus, or a proxy, of the same machine."""
    path = tmp_path / "admin.sock"
    text = CONFIG.replace("[admin]\nlisten = 127.0.0.1:0", f"[admin]\nlisten = unix:{path}")
    daemon = new_daemon(text=text).start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"\nmonqbus_ready 1.0\n" in answer
    assert 0 == daemon.stop()
    assert not path.exists()


@pytest.mark.usefixtures("app")
def test_metrics_go_on_over_a_reload(new_daemon: New) -> None:
    """Counters stay; the hooks and tasks of the new configuration have their names."""
    daemon = new_daemon(text=CONFIG).start()
    deliver(daemon, "push", b"{}", "one")
    written = daemon.config.read_text()
    daemon.config.write_text(f"{written}[hook:second]\nverify = none\ntopic = github.push\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    daemon.request("POST", "/hooks/second", b"{}")

    samples = scrape(daemon)

    taken = [
        value(samples, "monqbus_deliveries_total", hook=hook, outcome="accepted")
        for hook in ("github", "second")
    ]
    assert [1.0, 1.0] == taken
