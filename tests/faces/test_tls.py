"""The listener with TLS: the same requests and the same bounds, and nobody is held up by a handshake."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from bus.http import AccessLog, Limits, Server, Tls, listen_tcp, listen_unix
from bus.process import key_pair

from ..tls import Pair, make_pair
from .echo import Echo
from .stranger import Stranger, ask, chunked, get, post, serving, told
from .test_hostile_http import LIMITS, REFUSED, UNDERSTOOD

SLOW = Limits(first_seconds=0.2, idle_seconds=0.2, header_seconds=0.2, body_seconds=0.2, linger_seconds=0.05)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def client(pair: Pair) -> ssl.SSLContext:
    return pair.client()


def tls_of(pair: Pair) -> Tls:
    return Tls(key_pair.load(pair.cert, pair.key).context)


@pytest.fixture(scope="module")
def server(pair: Pair) -> Iterator[Server]:
    with serving(Echo(), LIMITS, tls=tls_of(pair)) as server:
        yield server


@pytest.fixture(scope="module")
def impatient(pair: Pair) -> Iterator[Server]:
    with serving(Echo(), SLOW, tls=tls_of(pair)) as server:
        yield server


def hello() -> bytes:
    """The first message of a client."""
    out, context = ssl.MemoryBIO(), ssl.create_default_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_are_answered_over_each_version(server: Server, pair: Pair, version: ssl.TLSVersion) -> None:
    """Several on one connection, with lengths and with chunks."""
    with Stranger(server.address, tls=pair.client(version)) as stranger:
        stranger.send(post("/a", b"x" * 900))
        first = stranger.answer()
        stranger.send(chunked("/b", b"ab", b"c") + get("/c"))

        assert "x" * 900 == first.json["body"]
        assert ["abc", ""] == [stranger.answer().json["body"] for _ in range(2)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_refused(server: Server, pair: Pair) -> None:
    """RFC 8996: nobody speaks TLS 1.1 any more."""
    old = pair.client(ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises(ssl.SSLError):
        Stranger(server.address, tls=old)


def test_the_application_knows_that_a_request_came_over_tls(pair: Pair, client: ssl.SSLContext) -> None:
    """Senders sign URLs, and theirs begins with https."""
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["wsgi.url_scheme"])
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    with serving(app, tls=tls_of(pair)) as server:
        ask(server.address, get("/"), tls=client)

    assert ["https"] == seen


@pytest.mark.parametrize("stranger_sends", REFUSED)
def test_hostile_requests_are_refused_over_tls_too(
    server: Server, client: ssl.SSLContext, stranger_sends: str
) -> None:
    """The same parser reads what OpenSSL has opened."""
    data, status = REFUSED[stranger_sends]

    with told() as facts, Stranger(server.address, tls=client) as stranger:
        stranger.send(data)
        answer = stranger.answer()
        stranger.half_close()

        assert status == answer.status
        assert answer.is_last
        assert stranger.is_hung_up()
    assert [("event.refused", status)] == [(fact, fields["status"]) for fact, fields in facts]


@pytest.mark.parametrize("stranger_sends", UNDERSTOOD)
def test_what_is_clear_is_understood_over_tls_too(
    server: Server, client: ssl.SSLContext, stranger_sends: str
) -> None:
    """The same parser reads what OpenSSL has opened."""
    data, expected = UNDERSTOOD[stranger_sends]

    answer = ask(server.address, data, tls=client)

    assert 200 == answer.status
    assert expected == {key: answer.json[key] for key in expected}


def test_plain_http_is_told_to_speak_tls(pair: Pair, client: ssl.SSLContext) -> None:
    """In words it understands; the request itself is not answered, and both logs have a line."""
    with (
        serving(Echo(), tls=tls_of(pair), access_log=AccessLog(())) as server,
        told() as facts,
        Stranger(server.address) as plain,
    ):
        plain.send(post("/", b"secret"))
        answer = plain.answer()

        assert (400, True) == (answer.status, answer.is_last)
        assert ("expected_tls", True) == (answer.json["code"], "expected TLS" in answer.json["detail"])
        assert plain.ends_in_order()
        assert 200 == ask(server.address, get("/"), tls=client).status
    assert [("event.refused", 400), ("http.answered", 400), ("http.answered", 200)] == [
        (fact, fields["status"]) for fact, fields in facts
    ]


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x16" * 300, b"\x16\x03\x01\0\x05GET /"]
)
def test_noise_in_place_of_a_handshake_is_hung_up(
    server: Server, client: ssl.SSLContext, noise: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """It costs one connection and one line of the log, of which there are ten a minute."""
    with told() as facts, Stranger(server.address) as stranger:
        stranger.send(noise + b"\r\n\r\n")
        stranger.half_close()
        said = stranger.rest()

        assert b"HTTP/" not in said
    ((fact, fields),) = facts
    assert ("tls.failed", "127.0.0.1") == (fact, fields["peer"])
    assert fields["code"] in ("malformed", "version", "hung_up")
    assert "" == capfd.readouterr().err
    assert 200 == ask(server.address, get("/"), tls=client).status


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["certificate", "version", "too_slow", "hung_up"])
def test_a_handshake_that_fails_is_told_with_its_reason(impatient: Server, pair: Pair, how: str) -> None:
    """A sender that does not trust the certificate, or is too old, would else leave no trace here."""
    clients = {"certificate": ssl.create_default_context(), "version": pair.client(ssl.TLSVersion.TLSv1_1)}
    clients["version"].set_ciphers("ALL:@SECLEVEL=0")
    with told() as facts:
        if how in clients:
            with pytest.raises(ssl.SSLError):
                Stranger(impatient.address, tls=clients[how])
        else:
            with Stranger(impatient.address) as stranger:
                stranger.send(hello()[:50])
                if how == "hung_up":
                    stranger.half_close()
                stranger.rest()
        with gevent.Timeout(5, AssertionError("nothing is told")):
            while not facts:  # a client is gone before its last word is read
                gevent.sleep(0)

    assert [("tls.failed", how, "127.0.0.1")] == [(fact, one["code"], one["peer"]) for fact, one in facts]


def test_who_sends_nothing_or_is_asked_to_leave_has_not_failed(pair: Pair) -> None:
    """A probe of a load balancer connects and leaves; a stop hangs up whoever is in between."""
    with told() as facts:
        with serving(Echo(), tls=tls_of(pair)) as server, Stranger(server.address) as stranger:
            Stranger(server.address).__exit__()
            stranger.send(hello()[:50])
            server.stop(0)
        assert [] == facts


def test_plain_bytes_within_tls_are_never_taken_for_a_request(server: Server, client: ssl.SSLContext) -> None:
    """What is not encrypted after the handshake ends the connection."""
    with told() as facts, Stranger(server.address, tls=client) as stranger:
        stranger.send(get("/"))
        stranger.answer()
        stranger.send_plainly(get("/smuggled"))

        with pytest.raises(ssl.SSLError):  # the alert that says why
            stranger.rest()
    assert [] == facts


@pytest.mark.parametrize("begun", [b"", b"\x16", "half a hello", "a hello"])
def test_a_handshake_that_does_not_go_on_is_hung_up(impatient: Server, begun: bytes | str) -> None:
    """At every place where a client may stop."""
    data = {"half a hello": hello()[:50], "a hello": hello()}.get(begun, begun)  # type: ignore[call-overload]
    with Stranger(impatient.address) as stranger:
        stranger.send(data)

        assert b"HTTP/" not in stranger.rest()


def test_a_trickled_handshake_does_not_extend_its_deadline(impatient: Server) -> None:
    """The limit is on the whole of it, not on the pause between two bytes."""
    with Stranger(impatient.address) as stranger:
        trickle = gevent.spawn(_trickle, stranger.send, hello())

        assert stranger.is_hung_up()
        assert not trickle.successful()
        trickle.kill()


def test_a_trickled_record_does_not_extend_the_deadline_of_a_head(
    impatient: Server, client: ssl.SSLContext
) -> None:
    """A record of which a byte comes now and then gives nothing to parse, and time passes."""
    with Stranger(impatient.address, tls=client) as stranger:
        stranger.send(b"GET / HTTP/1.1\r\n")
        trickle = gevent.spawn(_trickle, stranger.send_plainly, b"\x17\x03\x03\x40\x00" + b"x" * 500)
        answer = stranger.answer()
        trickle.kill()

    assert 408 == answer.status


def _trickle(send: Any, data: bytes) -> None:
    tick = Event()
    for place in range(len(data)):
        send(data[place : place + 1])
        tick.wait(0.02)


def test_two_hundred_silent_connections_hold_up_nobody(pair: Pair, client: ssl.SSLContext) -> None:
    """Handshakes are made in the connections' own greenlets."""
    with serving(Echo(), tls=tls_of(pair)) as server:
        silent = [Stranger(server.address) for _ in range(200)]
        for number, one in enumerate(silent):
            one.send(hello()[: (0, 1, 40)[number % 3]])

        assert 200 == ask(server.address, get("/"), tls=client).status
        for one in silent:
            one.__exit__()


def test_a_handshake_that_is_not_finished_gives_way_in_a_full_house(
    pair: Pair, client: ssl.SSLContext
) -> None:
    """As who has sent nothing does without TLS."""
    with (
        serving(Echo(), Limits(connections=2), tls=tls_of(pair)) as server,
        Stranger(server.address) as one,
        Stranger(server.address) as two,
    ):
        one.send(hello())
        two.send(hello())

        assert 200 == ask(server.address, get("/"), tls=client).status


def test_one_connection_too_many_is_told_so_over_tls(pair: Pair, client: ssl.SSLContext) -> None:
    """Connections count from the moment they are accepted, their handshakes included."""
    limits = Limits(connections_per_ip=1, uncounted=())
    with serving(Echo(), limits, tls=tls_of(pair)) as server, Stranger(server.address):
        assert 429 == ask(server.address, get("/"), tls=client).status


def test_a_stop_lets_the_request_in_flight_be_answered_over_tls(pair: Pair, client: ssl.SSLContext) -> None:
    """The one in flight, and the one that has just arrived; whoever is idle, and half a handshake, go."""
    app = Echo()
    with serving(app, tls=tls_of(pair)) as server:
        address = server.address
        with (
            Stranger(address, tls=client) as busy,
            Stranger(address, tls=client) as kept,
            Stranger(address, tls=client) as idle,
            Stranger(address) as half,
        ):
            half.send(hello()[:20])
            for one in (kept, idle):
                one.send(get("/"))
                one.answer()
            busy.send(get("/wait"))
            assert app.entered.wait(5)
            kept.send(get("/late"))
            stopping = gevent.spawn(server.stop, 5.0)

            assert idle.is_hung_up()
            late = kept.answer()
            app.gate.set()
            answer = busy.answer()

            assert [("/late", True), ("/wait", True)] == [
                (one.json["path"], one.is_last) for one in (late, answer)
            ]
            assert busy.ends_in_order()
            assert half.is_hung_up()
            stopping.get(timeout=5)


def test_half_a_body_at_the_stop_is_sent_back_over_tls(pair: Pair, client: ssl.SSLContext) -> None:
    """Hanging up must leave the encryption: the answer comes through it."""
    with serving(Echo(), tls=tls_of(pair)) as server, Stranger(server.address, tls=client) as half:
        half.send(get("/"))
        half.answer()
        half.send(post("/", b"a", {"Content-Length": "2"}))

        server.stop(5.0)

        answer = half.answer()
        assert 503 == answer.status
        assert "retry-after" in answer.headers


def test_a_client_that_asks_first_is_told_to_go_on_over_tls(server: Server, client: ssl.SSLContext) -> None:
    """Expect: 100-continue is answered through the encryption, too."""
    with Stranger(server.address, tls=client) as stranger:
        stranger.send(post("/", b"", {"Content-Length": "3", "Expect": "100-continue"}))

        assert 100 == stranger.answer().status

        stranger.send(b"abc")

        assert "abc" == stranger.answer().json["body"]


def test_the_answer_to_an_endless_body_arrives_over_tls(server: Server, client: ssl.SSLContext) -> None:
    """What comes after the answer is read and forgotten as ciphertext, until the client has seen it."""
    with Stranger(server.address, tls=client) as stranger:
        stranger.send(post("/", b"x" * 1_000_000, {"Content-Length": "99999999999"}))

        assert 413 == stranger.answer().status


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/", "Connection: close"), b"HTTP/1.1 200"),
        (post("/", b"x" * 5000, {"Content-Length": "9000"}), b"HTTP/1.1 413"),
    ],
)
def test_the_last_answer_is_followed_by_the_end_of_the_stream(
    server: Server, pair: Pair, data: bytes, status: bytes
) -> None:
    """RFC 8446 section 6.1: without close_notify a client cannot tell the end from an attack."""
    with (
        socket.create_connection(server.address[:2]) as plain,
        pair.client().wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as stranger,
    ):
        stranger.sendall(data)
        answer = b""
        while piece := stranger.recv(65536):
            answer += piece

    assert answer.startswith(status)


def test_an_answer_larger_than_the_sockets_hold_arrives_whole(pair: Pair, client: ssl.SSLContext) -> None:
    """The rest of a record waits for the client, as plain bytes do."""
    body = bytes(range(256)) * 40_000

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with serving(app, tls=tls_of(pair)) as server, Stranger(server.address, tls=client) as stranger:
        stranger.send(get("/"))
        gevent.idle()

        assert body == stranger.answer().body


def test_a_new_certificate_is_for_new_connections(tmp_path: Path, pair: Pair, client: ssl.SSLContext) -> None:
    """Whoever has begun goes on with the one it knows."""
    tls, renewed = tls_of(pair), make_pair(tmp_path)
    with serving(Echo(), tls=tls) as server, Stranger(server.address, tls=client) as old:
        old.send(get("/"))
        old.answer()

        tls.context = tls_of(renewed).context

        old.send(get("/"))
        assert 200 == old.answer().status
        assert 200 == ask(server.address, get("/"), tls=renewed.client()).status
        with pytest.raises(ssl.SSLCertVerificationError):
            Stranger(server.address, tls=client)


def test_a_unix_socket_beside_tls_stays_plain(tmp_path: Path, pair: Pair, client: ssl.SSLContext) -> None:
    """A proxy of this machine speaks HTTP there."""
    path = tmp_path / "http.sock"
    server = Server([listen_tcp("127.0.0.1", 0), listen_unix(path)], Echo(), tls=tls_of(pair))
    server.start()
    try:
        assert 200 == ask(str(path), get("/")).status
        assert 200 == ask(server.address, get("/"), tls=client).status
    finally:
        server.stop(0.0)
