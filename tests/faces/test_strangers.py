"""What strangers learn from the public listener: whether deliveries may come, and nothing of the house."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import Client

from bus.http import Server

from .stranger import Stranger, ask, get, serving
from .test_webhook import Office


@pytest.fixture
def office() -> Office:
    """Hooks of several kinds, and a readiness that tests set."""
    return Office()


@pytest.fixture
def server(office: Office) -> Iterator[Server]:
    with serving(office.app()) as server:
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "[::1]:8080", "LOCALHOST"])
def test_what_is_worth_saying_is_said_on_this_machine(server: Server, office: Office, host: str) -> None:
    """Whatever the port and however it is written."""
    office.remark = "spooling: 1 deliveries"

    answer: Any = ask(server.address, get("/readyz").replace(b"monqbus.test", host.encode()))

    assert {"status": "ready", "detail": office.remark} == answer.json


STRANGERS: dict[str, tuple[str, ...]] = {
    "a proxy that says so": ("Host: 127.0.0.1", "X-Forwarded-For: 203.0.113.9"),
    "… as the standard has it": ("Host: 127.0.0.1", "Forwarded: for=203.0.113.9"),
    "… in its own way": ("Host: localhost", "X-Real-IP: 203.0.113.9"),
    "… with its own name alone": ("Host: localhost", "Via: 1.1 proxy"),
    "… for somebody who claims to be here": ("Host: localhost", "X-Forwarded-For: 127.0.0.1"),
    "a proxy that keeps the name it was asked for": ("Host: hooks.example.org",),
    "a page whose name leads here": ("Host: evil.example:8080",),
    "a name that only begins so": ("Host: localhost.evil.example",),
    "an address that only ends so": ("Host: 203.0.113.127.0.0.1",),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_read_a_bare_word(server: Server, office: Office, stranger: str) -> None:
    """Paths, hosts and task names are nobody's business; whether deliveries may come is everybody's."""
    host, *lines = STRANGERS[stranger]
    request = get("/readyz", *lines).replace(b"Host: monqbus.test", host.encode())
    office.remark = "spooling: 1 deliveries"
    ready = ask(server.address, request)
    office.reason = "store: /srv/data/monqbus.db: disk I/O error"
    answer = ask(server.address, request)

    assert {"status": "ready"} == ready.json
    assert (503, "not_ready", "not ready") == (answer.status, answer.json["code"], answer.json["detail"])
    assert b"/srv" not in answer.body
    assert 1 <= int(answer.headers["retry-after"]) <= 5


def test_another_machine_reads_a_bare_word(office: Office) -> None:
    """Whatever it calls this one; a missing peer is a stranger as well."""
    office.reason = "store: /srv/data"
    app = office.app()
    answers = [
        Client(app).get("/readyz", headers={"Host": "localhost"}, environ_base={"REMOTE_ADDR": peer}).json
        for peer in ("192.0.2.7", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.7", "", "127.0.0.1.evil")
    ]
    ours = [
        Client(app).get("/readyz", headers={"Host": "localhost"}, environ_base={"REMOTE_ADDR": peer}).json
        for peer in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")
    ]

    assert {"not ready"} == {answer["detail"] for answer in answers}
    assert {"store: /srv/data"} == {answer["detail"] for answer in ours}


METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO")


@pytest.mark.parametrize("method", METHODS)
def test_whether_a_hook_exists_is_told_to_nobody_who_does_not_post(server: Server, method: str) -> None:
    """The same status, headers and body, byte by byte, but for the request's own id and the time."""

    def shown(name: str, *lines: str) -> tuple[int, dict[str, str], bytes]:
        data = get(f"/hooks/{name}", "X-Request-Id: same", *lines).replace(b"GET", method.encode())
        with Stranger(server.address) as stranger:
            stranger.send(data)
            answer = stranger.answer(has_body=method != "HEAD")
        return answer.status, {**answer.headers, "date": ""}, answer.body

    body = ("Content-Length: 2000000", "Content-Type: application/json")
    seen = [[shown(name, *lines) for name in ("github", "closed", "nobody")] for lines in ((), body)]

    assert [405, "POST"] == [seen[0][0][0], seen[0][0][1]["allow"]]
    assert [seen[0][0]] * 3 == seen[0]
    assert [seen[1][0]] * 3 == seen[1]
