"""The access log: one fact a request, whatever becomes of it, and nothing that could be a secret."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bus.http import AccessLog, Limits

from .echo import Echo
from .stranger import Stranger, ask, get, post, serving, told

TRUSTED = (ip_network("127.0.0.0/8"),)


def answered(data: bytes, *, limits: Limits | None = None, answers: int = 1) -> list[dict[str, object]]:
    """What is told of the requests in *data*."""
    with told() as facts:
        with (
            serving(Echo(), limits, access_log=AccessLog(TRUSTED)) as server,
            Stranger(server.address) as one,
        ):
            one.send(data)
            for _ in range(answers):
                one.answer()
            server.stop(5.0)
        return [dict(fields) for fact, fields in facts if fact == "http.answered"]


def test_each_request_of_a_connection_is_told() -> None:
    """Also what the application refused, and what failed in it."""
    found = answered(get("/a", "X-Request-Id: me") + get("/refuse") + get("/fail") + post("/b"), answers=4)

    assert [("GET", "/a", 200), ("GET", "/refuse", 409), ("GET", "/fail", 500), ("POST", "/b", 200)] == [
        (one["method"], one["path"], one["status"]) for one in found
    ]
    assert "me" == found[0]["request"]
    assert all("127.0.0.1" == one["peer"] and 0 <= one["ms"] < 60_000 for one in found)  # type: ignore[operator]


def test_the_bytes_are_those_that_were_sent() -> None:
    """Head and body."""
    with told() as facts, serving(Echo(), access_log=AccessLog(())) as server:
        with Stranger(server.address) as one:
            one.send(get("/pieces", "Connection: close"))
            size = len(one.rest())
        server.stop(5.0)

    assert [size] == [fields["bytes"] for fact, fields in facts if fact == "http.answered"]


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"GET /?key=s3cret\r\n\r\n", 400), (get("/" + "a" * 9000), 414), (b"noise\r\n\r\n", 400)],
)
def test_a_head_that_is_refused_is_told_without_method_and_path(data: bytes, status: int) -> None:
    """Nothing of it was understood."""
    (found,) = answered(data)

    assert (status, "", "") == (found["status"], found["method"], found["path"])


def test_neither_query_nor_headers_are_told() -> None:
    """Both may hold what proves a sender."""
    (found,) = answered(get("/a?token=s3cret", "Authorization: Bearer s3cret", "X-Sig: s3cret"))

    assert "s3cret" not in repr(found)


def test_a_long_path_is_shortened() -> None:
    """A stranger chooses it."""
    (found,) = answered(get("/" + "a" * 5000))

    assert 200 == len(str(found["path"]))


def test_the_client_is_the_one_that_a_trusted_proxy_names() -> None:
    """The proxy's own address would be on every line."""
    (found,) = answered(get("/a", "X-Forwarded-For: 203.0.113.9"))

    assert "203.0.113.9" == found["peer"]


def test_silence_is_no_request() -> None:
    """Who connects and leaves has asked for nothing."""
    assert [] == answered(b"", answers=0)


def test_nothing_is_told_unless_it_is_asked_for() -> None:
    """A line a request is the operator's choice."""
    with told() as facts, serving(Echo()) as server:
        ask(server.address, get("/a"))

    assert [] == facts
