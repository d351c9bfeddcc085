"""What strangers send to the real server, byte by byte, and what they get for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from bus.http import Limits, Server

from .echo import Echo
from .stranger import Stranger, ask, chunked, get, post, serving, told

LIMITS = Limits(header_bytes=4096, header_lines=20, request_line=1024)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(Echo(), LIMITS) as server:
        yield server


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


REFUSED: dict[str, tuple[bytes, int]] = {
    "two differing lengths": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    "two equal lengths": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        400,
    ),
    "a list of lengths": (post("/", b"a", {"Content-Length": "1, 1"}), 400),
    "a length with a sign": (post("/", b"ab", {"Content-Length": "+2"}), 400),
    "a negative length": (post("/", b"ab", {"Content-Length": "-1"}), 400),
    "a length in words": (post("/", b"a", {"Content-Length": "1x"}), 400),
    "an empty length": (post("/", b"", {"Content-Length": ""}), 400),
    "a length of 900 digits": (post("/", b"", {"Content-Length": "1" * 900}), 400),
    "a length and chunks": (post("/", b"0\r\n\r\n", {"Transfer-Encoding": "chunked"}), 400),
    "a compressed transfer": (get("/", "Transfer-Encoding: gzip"), 501),
    "a chunked transfer named twice": (
        get("/", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        501,
    ),
    "a compressed chunked transfer": (get("/", "Transfer-Encoding: gzip, chunked"), 501),
    "chunks in HTTP/1.0": (get("/", "Transfer-Encoding: chunked", version="HTTP/1.0"), 400),
    "a chunk size that is no number": (CHUNKED + b"zz\r\na\r\n0\r\n\r\n", 400),
    "a negative chunk size": (CHUNKED + b"-1\r\na\r\n0\r\n\r\n", 400),
    "an empty chunk size": (CHUNKED + b"\r\na\r\n0\r\n\r\n", 400),
    "a chunk size beyond 64 bits": (CHUNKED + b"f" * 17 + b"\r\na\r\n0\r\n\r\n", 400),
    "a chunk longer than its size": (CHUNKED + b"1\r\nabc\r\n0\r\n\r\n", 400),
    "a bad trailer": (CHUNKED + b"1\r\na\r\n0\r\nb\0d: x\r\n\r\n", 400),
    "a chunked body over the limit": (chunked("/", b"x" * 600, b"x" * 600), 413),
    "a length over the limit": (post("/", b"", {"Content-Length": "1001"}), 413),
    "a gigantic length": (post("/", b"", {"Content-Length": "99999999999"}), 413),
    "a folded header": (get("/", "X-Sig: a", " b"), 400),
    "a folded first header": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "a NUL in a header": (get("/", "X-Sig: a\0b"), 400),
    "an escape in a header": (get("/", "X-Sig: \x1b[31m"), 400),
    "a bare CR in a header": (get("/", "X-Sig: a\rX-Forged: b"), 400),
    "lines ended by LF alone": (get("/").replace(b"\r\n", b"\n"), 400),
    "a header line ended by LF alone": (get("/", "X-Sig: a\nX-Other: b"), 400),
    "a space before the colon": (get("/", "X-Sig : a"), 400),
    "a header without a colon": (get("/", "X-Sig"), 400),
    "a header without a name": (get("/", ": a"), 400),
    "no Host in HTTP/1.1": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "an empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "a Host that is none": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "two Hosts": (get("/", "Host: b"), 400),
    "two content types": (get("/", "Content-Type: text/plain", "Content-Type: application/json"), 400),
    "too many headers": (get("/", *(f"X-{n}: {n}" for n in range(20))), 431),
    "one header too long": (get("/", "X-Long: " + "a" * 5000), 431),
    "headers too long together": (get("/", *(f"X-{n}: {'a' * 500}" for n in range(9))), 431),
    "a target too long": (get("/" + "a" * 2000), 414),
    "HTTP/9.9": (get("/", version="HTTP/9.9"), 400),
    "HTTP/0.9": (b"GET /\r\n", 400),
    "an HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03", 400),
    "noise": (b"\xff\xfe\x00\r\n\r\n", 400),
    "a target with raw bytes": (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target that is no path": (b"GET hooks HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400),
    "two spaces in the request line": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "an unknown expectation": (get("/", "Expect: a-miracle"), 417),
}


@pytest.mark.parametrize("stranger_sends", REFUSED)
def test_what_could_be_understood_in_two_ways_is_refused_and_the_connection_closed(
    server: Server, stranger_sends: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """RFC 9112 sections 3.2, 5.1, 5.2, 6.1, 6.3; nothing of it reaches standard error."""
    data, status = REFUSED[stranger_sends]

    with told() as facts, Stranger(server.address) as stranger:
        stranger.send(data)
        answer = stranger.answer()
        stranger.half_close()

        assert status == answer.status
        assert answer.is_last
        assert stranger.is_hung_up()
    assert "application/problem+json" == answer.headers["content-type"]
    assert status == answer.json["status"]
    assert answer.headers["x-request-id"] == answer.json["request_id"]
    assert [("event.refused", status)] == [(fact, fields["status"]) for fact, fields in facts]
    assert "" == capfd.readouterr().err


UNDERSTOOD: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a length": (post("/", b"abc"), {"body": "abc"}),
    "chunks": (chunked("/", b"ab", b"c"), {"body": "abc"}),
    "chunks up to the limit": (chunked("/", b"x" * 500, b"x" * 500), {"body": "x" * 1000}),
    "a trailer": (CHUNKED + b"2\r\nab\r\n0\r\nX-Check: 1\r\n\r\n", {"body": "ab"}),
    "bytes beyond ASCII in a header": (get("/", "X-Sig: \xe9\xff"), {"x": "\xe9\xff"}),
    "a repeated header": (get("/", "X-Sig: a", "X-Sig: b"), {"x": "a,b"}),
    "an underscore in a header's name": (get("/", "X_Sig: a"), {"x": None}),
    "an unknown method": (get("/").replace(b"GET", b"FOO"), {"method": "FOO"}),
    "percent escapes": (get("/a%20b%00?c=%20"), {"path": "/a b\0", "query": "c=%20"}),
    "an absolute target": (get("http://other.test:80/a?b"), {"host": "other.test:80", "path": "/a"}),
    "an absolute target without a path": (get("http://other.test?b"), {"path": "/", "query": "b"}),
    "an empty line first": (b"\r\n" + get("/a"), {"path": "/a"}),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", {"host": None}),
    "an address as Host": (get("/").replace(b"monqbus.test", b"[::1]:8080"), {"host": "[::1]:8080"}),
    "OPTIONS *": (get("*").replace(b"GET", b"OPTIONS"), {"path": "*"}),
}


@pytest.mark.parametrize("stranger_sends", UNDERSTOOD)
def test_what_is_unusual_but_clear_is_understood(server: Server, stranger_sends: str) -> None:
    """Strict is not the same as narrow."""
    data, expected = UNDERSTOOD[stranger_sends]

    answer = ask(server.address, data)

    assert 200 == answer.status
    assert expected == {key: answer.json[key] for key in expected}


def test_every_answer_carries_its_headers_and_no_version(server: Server) -> None:
    """Nothing is cached or sniffed, every answer can be found in the log, nobody learns what we run."""
    answer = ask(server.address, get("/"))

    assert "no-store" == answer.headers["cache-control"]
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert 24 == len(answer.headers["x-request-id"])
    assert "server" not in answer.headers


@pytest.mark.parametrize(("given", "is_kept"), [("abc-1.2_3", True), ("a b", False), ("a" * 65, False)])
def test_a_client_may_name_its_request(server: Server, given: str, is_kept: bool) -> None:
    """Only 1 to 64 harmless characters: the id is written into answers and logs."""
    answer = ask(server.address, get("/", f"X-Request-Id: {given}"))

    assert is_kept == (given == answer.headers["x-request-id"])


def test_what_the_application_says_about_caching_stays(server: Server) -> None:
    """The server's headers are defaults."""
    with Stranger(server.address) as stranger:
        stranger.send(get("/pieces", "Connection: close"))
        answer = stranger.answer()

    assert "max-age=60" == answer.headers["cache-control"]
    assert "chunked" == answer.headers["transfer-encoding"]


def test_a_connection_carries_one_request_after_another(server: Server) -> None:
    """Keep-alive, also over a refusal of the application that leaves no byte unread."""
    with Stranger(server.address) as stranger:
        for path, status in (("/a", 200), ("/refuse", 409), ("/b", 200)):
            stranger.send(get(path))
            answer = stranger.answer()

            assert status == answer.status
            assert not answer.is_last


def test_a_refused_head_request_has_no_body(server: Server) -> None:
    """A body there would be taken for the next answer: RFC 9110 section 9.3.2."""
    with Stranger(server.address) as stranger:
        stranger.send(get("/refuse").replace(b"GET", b"HEAD"))
        refused = stranger.answer(has_body=False)
        stranger.send(get("/after"))

        assert 409 == refused.status
        assert "/after" == stranger.answer().json["path"]


def test_requests_sent_in_one_go_are_answered_in_order(server: Server) -> None:
    """Pipelining: RFC 9112 section 9.3.2."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/1", b"one") + chunked("/", b"two") + get("/3", "Connection: close"))

        assert "one" == stranger.answer().json["body"]
        assert "two" == stranger.answer().json["body"]
        assert "/3" == stranger.answer().json["path"]
        assert stranger.is_hung_up()


def test_a_body_nobody_read_is_not_taken_for_the_next_request(server: Server) -> None:
    """What an application leaves unread ends the connection instead of being drained."""
    smuggled = get("/smuggled")

    with Stranger(server.address) as stranger:
        stranger.send(post("/ignore", smuggled))
        answer = stranger.answer()

        assert 200 == answer.status
        assert answer.is_last
        assert stranger.is_hung_up()


@pytest.mark.parametrize("word", ["100-continue", "100-Continue"])
def test_a_client_that_asks_first_is_told_to_go_on(server: Server, word: str) -> None:
    """Expect: 100-continue, RFC 9110 section 10.1.1."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/", b"", {"Content-Length": "3", "Expect": word}))

        assert 100 == stranger.answer().status

        stranger.send(b"abc")

        assert "abc" == stranger.answer().json["body"]


def test_a_client_that_asks_first_is_refused_before_it_sends(server: Server) -> None:
    """A body that is too large is never asked for."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/", b"", {"Content-Length": "2000", "Expect": "100-continue"}))
        answer = stranger.answer()

    assert 413 == answer.status
    assert answer.is_last


def test_the_answer_to_an_endless_body_arrives(server: Server) -> None:
    """The refusal is sent at once and read before the connection is reset: nothing is drained first."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/", b"x" * 8_000_000, {"Content-Length": "99999999999"}))

        assert 413 == stranger.answer().status


def test_a_body_cut_short_is_refused(server: Server) -> None:
    """Half a delivery is none."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/", b"ab", {"Content-Length": "3"}))
        stranger.half_close()

        assert 400 == stranger.answer().status


def test_a_failing_application_costs_one_answer(
    server: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The client gets an id, the log the traceback under that id, standard error nothing."""
    with caplog.at_level(logging.ERROR, "monqbus"), Stranger(server.address) as stranger:
        stranger.send(get("/fail") + get("/after"))
        answer = stranger.answer()

        assert 500 == answer.status
        assert b"outside" not in answer.body
        assert 200 == stranger.answer().status
    assert [f"request {answer.json['request_id']}: the application failed"] == caplog.messages
    assert "" == capfd.readouterr().err


SLOW = Limits(idle_seconds=0.15, header_seconds=0.15, body_seconds=0.15, linger_seconds=0.05)


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    with serving(Echo(), SLOW) as server:
        yield server


@pytest.mark.parametrize("first", [b"", get("/")])
def test_a_connection_that_stays_silent_is_closed(impatient: Server, first: bytes) -> None:
    """Before the first request and between two."""
    with Stranger(impatient.address) as stranger:
        stranger.send(first)
        if first:
            stranger.answer()

        assert stranger.is_hung_up()


@pytest.mark.parametrize(
    "begun",
    [
        b"GET",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        post("/", b"a", {"Content-Length": "2"}),
        chunked("/", b"a")[:-5],
    ],
)
def test_what_was_begun_must_be_finished_in_time(impatient: Server, begun: bytes) -> None:
    """408 for half a head and for half a body."""
    with Stranger(impatient.address) as stranger:
        stranger.send(begun)
        answer = stranger.answer()

        assert 408 == answer.status
        assert answer.is_last
        assert stranger.is_hung_up()


def test_a_trickle_does_not_extend_the_deadline(impatient: Server) -> None:
    """The limit is on the whole, not on the pause between two bytes (slowloris)."""
    with Stranger(impatient.address) as stranger:
        begun = gevent.get_hub().loop.now()
        stranger.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        trickle = gevent.spawn(_trickle, stranger)
        answer = stranger.answer()
        trickle.kill()

    assert 408 == answer.status
    assert gevent.get_hub().loop.now() - begun < 2


def _trickle(stranger: Stranger) -> None:
    tick = Event()
    while True:
        stranger.send(b"x")
        tick.wait(0.03)
