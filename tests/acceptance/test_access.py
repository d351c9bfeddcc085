"""A real daemon's listener of operators: closed until somebody shows who he is, then all of it is there."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.program import PROGRAM

from .conftest import New
from .daemons import PATIENCE, Daemon
from .test_metrics import APP, CONFIG, admin_address, deliver

PASSWORD = "four cheap words here"
Said = tuple[int, http.client.HTTPMessage, str]


@pytest.fixture
def place(tmp_path: Path) -> None:
    """The module that the daemons import."""
    (tmp_path / "apps").mkdir(mode=0o700)
    (tmp_path / "apps" / "metered.py").write_text(APP)


@pytest.fixture
def daemon(new_daemon: New, address: str, place: None) -> Daemon:
    """A running one on each kind of store."""
    return new_daemon(address, text=CONFIG).start()


@pytest.fixture
def embedded(new_daemon: New, place: None) -> Daemon:
    """A running one on the embedded store."""
    return new_daemon("sqlite", text=CONFIG).start()


def ask(daemon: Daemon, method: str, path: str, body: Any = None, **headers: str) -> Said:
    """One request; a dict goes as a form, text as JSON."""
    connection = http.client.HTTPConnection(*admin_address(daemon), timeout=PATIENCE)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        body, sent["Content-Type"] = urlencode(body), "application/x-www-form-urlencoded"
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def origin(daemon: Daemon) -> str:
    host, port = admin_address(daemon)
    return f"http://{host}:{port}"


def cookie_of(said: Said) -> str:
    return str(said[1]["Set-Cookie"]).partition(";")[0]


def monqbus(daemon: Daemon, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *words, "--config", str(daemon.config)]
    return subprocess.run(
        command,
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=daemon.environ,
        check=False,
    )


def sign_in(daemon: Daemon, name: str) -> Said:
    form = {"name": name, "password": PASSWORD}
    return ask(daemon, "POST", "/sign-in", form, Origin=origin(daemon))


def test_the_first_start_tells_a_link_that_signs_an_admin_in_once(embedded: Daemon) -> None:
    """Nothing else opens the listener; a reload neither tells another one nor ends the session."""
    daemon = embedded
    line = daemon.wait_for("access.link")
    path = str(re.search(r"http://[\d.:]+(/link/[\w-]+)", line)[1])  # type: ignore[index]
    closed = ask(daemon, "GET", "/api/v1/tasks")
    entered = ask(daemon, "POST", path, {}, Origin=origin(daemon))
    again = ask(daemon, "POST", path, {}, Origin=origin(daemon))
    cookie = cookie_of(entered)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    users = ask(daemon, "GET", "/api/v1/users", Cookie=cookie)

    assert [401, 303, 410, 200] == [closed[0], entered[0], again[0], users[0]]
    assert {"users": []} == json.loads(users[2])
    assert 1 == len([one for one in daemon.lines if "access.link" in one])


def test_a_user_of_the_command_line_signs_in_retries_and_is_seen_in_the_audit(daemon: Daemon) -> None:
    """From the failure to the audit, on each kind of store."""
    added = monqbus(daemon, "user", "add", "anna", "--role", "operator", typed=f"{PASSWORD}\n")
    deliver(daemon, "fault", b"{}", "one")
    daemon.wait_for("task.gave_up")
    cookie = cookie_of(sign_in(daemon, "anna"))
    task = json.loads(ask(daemon, "GET", "/api/v1/tasks?state=error", Cookie=cookie)[2])["tasks"][0]
    shown = ask(daemon, "GET", f"/api/v1/tasks/{task['id']}", Cookie=cookie)
    path = f"/api/v1/tasks/{task['id']}/retry"
    bare = ask(daemon, "POST", path, Cookie=cookie, Origin=origin(daemon))
    page = ask(daemon, "GET", "/sign-in", Cookie=cookie)[2]
    token = str(re.search(r'name="csrf_token" value="(\w+)"', page)[1])  # type: ignore[index]
    proof = {
        "Cookie": cookie,
        "Origin": origin(daemon),
        "X_CSRF_Token": token,
        "If_Match": str(shown[1]["ETag"]),
    }
    retried = ask(daemon, "POST", path, **proof)
    daemon.wait_for("task.gave_up", times=2)
    twice = ask(daemon, "POST", path, **proof)
    daemon_s_audit = monqbus(daemon, "audit", "--json")
    entries = [json.loads(line) for line in daemon_s_audit.stdout.splitlines()]

    assert "added anna, operator\n" == added.stdout
    assert [200, 403, 200, 412] == [shown[0], bare[0], retried[0], twice[0]]
    assert ["retry", "sign in", "add user"] == [one["action"] for one in entries]
    assert {"who": "anna", "way": "session", "number": 1, "address": "127.0.0.1"}.items() <= entries[
        0
    ].items()
    assert PASSWORD not in "\n".join(daemon.lines) + daemon_s_audit.stdout


def test_a_token_scrapes_and_reads_from_the_command_line_to_its_end(embedded: Daemon) -> None:
    """It is shown once, and over when it is revoked."""
    daemon = embedded
    word = monqbus(daemon, "token", "add", "ci", "--scope", "viewer").stdout.strip()
    bearer = {"Authorization": f"Bearer {word}"}
    read = ask(daemon, "GET", "/api/v1/workers", **bearer)
    changed = ask(daemon, "POST", "/api/v1/tasks/retry", '{"all": true}', **bearer)
    listed = monqbus(daemon, "token", "list", "--json")
    revoked = monqbus(daemon, "token", "revoke", "ci")
    over = ask(daemon, "GET", "/metrics", **bearer)
    own = ask(daemon, "GET", "/metrics")

    assert [200, 403, 401, 200] == [read[0], changed[0], over[0], own[0]]
    assert word not in listed.stdout
    assert revoked.stdout.startswith("revoked ci (")
    workers = json.loads(read[2])
    assert {"slots": 100, "taken": 0} == workers["lanes"]["greenlets"]
    assert [workers["title"]] == workers["daemons"]


def test_sessions_and_users_outlive_a_restart(daemon: Daemon, new_daemon: New, address: str) -> None:
    """And a daemon with users tells no link."""
    monqbus(daemon, "user", "add", "anna", typed=f"{PASSWORD}\n")
    cookie = cookie_of(sign_in(daemon, "anna"))
    daemon.stop()
    second = new_daemon(address, text=CONFIG).start()

    assert 200 == ask(second, "GET", "/api/v1/tasks", Cookie=cookie)[0]
    assert [] == [line for line in second.lines if "access.link" in line]


def test_behind_a_proxy_its_header_says_who_asks(new_daemon: New, place: None) -> None:
    """At an address of the network, too, once the proxy is named; no link is told, nobody signs in here."""
    proxied = "listen = 0.0.0.0:0\nauth = header:X-Forwarded-User\ntrusted_proxies = 127.0.0.1"
    text = CONFIG.replace("[admin]\nlisten = 127.0.0.1:0", f"[admin]\n{proxied}")
    daemon = new_daemon("sqlite", text=text).start()
    monqbus(daemon, "user", "add", "anna", "--role", "operator", "--no-password")
    known = ask(daemon, "GET", "/api/v1/tasks", X_Forwarded_User="anna")
    unknown = ask(daemon, "GET", "/api/v1/tasks", X_Forwarded_User="ben")
    nobody = ask(daemon, "GET", "/api/v1/tasks")
    page = ask(daemon, "GET", "/sign-in")

    assert [200, 403, 401, 404] == [known[0], unknown[0], nobody[0], page[0]]
    assert [] == [line for line in daemon.lines if "access.link" in line]
