"""The public listener against the table of what receivers get wrong, with the limits of a daemon."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from bus.clock import FrozenClock
from bus.config.secrets import Secret
from bus.config.settings import Hook
from bus.daemon.url_maps import public_urls
from bus.errors import StoreUnavailable
from bus.http import Limits, Server

from .stranger import Stranger, ask, chunked, get, post, serving, told
from .test_hostile_http import REFUSED
from .test_webhook import MAX_BODY, NOW, Office, signed

DAEMON = Limits()
BODY = b"{}"
LINE = 8_192 - len("GET /healthz? HTTP/1.1\r\n")


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def server(office: Office) -> Iterator[Server]:
    with serving(office.app(), DAEMON) as server:
        yield server


# those whose sizes are beyond the limits of the other server, not of this one
MODERATE = {"too many headers", "one header too long", "headers too long together", "a target too long"}


@pytest.mark.parametrize("stranger_sends", sorted(set(REFUSED) - MODERATE))
def test_nothing_of_a_hostile_request_is_stored(server: Server, office: Office, stranger_sends: str) -> None:
    """Whatever is refused at the server's own edge is refused at a hook, and its body is no event."""
    data, status = REFUSED[stranger_sends]
    method, _, rest = data.partition(b" ")
    data = b"POST /hooks/open" + rest[rest.index(b" ") :] if rest.startswith(b"/ HTTP/1.") else data
    if b"Length" not in data and b"chunked" not in data:
        data = data.replace(b"POST", method, 1)

    with Stranger(server.address) as stranger:
        stranger.send(data)
        answer = stranger.answer()
        stranger.half_close()

        assert status == answer.status
        assert answer.is_last
        assert stranger.is_hung_up()
    assert [] == office.events


BIG: dict[str, tuple[bytes, int]] = {
    "one header line of 70 KB": (get("/healthz", "X-Long: " + "a" * 70_000), 431),
    "101 header lines": (get("/healthz", *(f"X-{n}: {n}" for n in range(100))), 431),
    "100 header lines": (get("/healthz", *(f"X-{n}: {n}" for n in range(99))), 200),
    "90 headers of 60 KB": (get("/healthz", *(f"X-{n}: {'a' * 60_000}" for n in range(90))), 431),
    "90 headers of 700 bytes": (get("/healthz", *(f"X-{n}: {'a' * 700}" for n in range(90))), 200),
    "a request line of 9 KB": (get("/healthz?" + "a" * 9_000), 414),
    "a request line of 8,192 bytes": (
        get("/healthz?" + "a" * (8_192 - len("GET /healthz? HTTP/1.1\r\n"))),
        200,
    ),
    "a request line of 8,193 bytes": (
        get("/healthz?" + "a" * (8_193 - len("GET /healthz? HTTP/1.1\r\n"))),
        414,
    ),
    "a body of 99,999,999,999 bytes": (post("/hooks/open", b"x", {"Content-Length": "9" * 11}), 413),
    "a body of one byte too many": (post("/hooks/open", b"", {"Content-Length": f"{MAX_BODY + 1}"}), 413),
}


@pytest.mark.parametrize("stranger_sends", BIG)
def test_the_limits_of_a_daemon_are_where_they_are_said_to_be(server: Server, stranger_sends: str) -> None:
    """webhooks.md: 8 KiB of request line, 100 lines and 64 KiB of headers, max_body."""
    data, status = BIG[stranger_sends]

    with Stranger(server.address) as stranger:
        stranger.send(data)
        answer = stranger.answer()

    assert (status, status != 200) == (answer.status, answer.is_last)


PATHS = [
    *(
        "/hooks/../../etc/passwd",
        "/hooks/%2e%2e/open",
        "/hooks/open%2Fx",
        "/hooks/..%5copen",
        "/hooks/open;x",
    ),
    *(
        "/hooks/op%65n%00",
        "/hooks/open%20",
        "/hooks/OPEN",
        "/hooks/%6fpen%0d%0a",
        "/./hooks/open",
        "/hooks/.",
    ),
]


@pytest.mark.parametrize("path", PATHS)
def test_a_name_is_one_of_the_configuration_or_there_is_none(
    server: Server, office: Office, path: str
) -> None:
    """Nothing is resolved, cut off or folded: a name is compared letter by letter."""
    answer = ask(server.address, post(path, BODY))

    assert 404 == answer.status
    assert [] == office.events


def _twice(body: bytes) -> bytes:
    """A true signature, and another one in a second header."""
    lines = post("/hooks/github", body, signed(body))
    return lines.replace(b"X-Hub-Signature-256", b"X-Hub-Signature-256: sha256=00\r\nX-Hub-Signature-256")


UNPROVEN: dict[str, bytes] = {
    "bytes beyond ASCII": post("/hooks/github", BODY, {"X-Hub-Signature-256": "sha256=Ã©ÿ"}),
    "bytes beyond ASCII as a token": post("/hooks/bearer", BODY, {"Authorization": "Bearer tÃ©ken"}),
    "two signatures, of which one is true": _twice(BODY),
    "an underscore in the header's name": post("/hooks/github", BODY, signed(BODY)).replace(
        b"X-Hub-Signature", b"X_Hub_Signature"
    ),
    "an empty signature": post("/hooks/github", BODY, {"X-Hub-Signature-256": ""}),
    "a signature of 60,000 digits": post(
        "/hooks/github", BODY, {"X-Hub-Signature-256": "sha256=" + "0" * 60_000}
    ),
    "another body": post("/hooks/github", b"[]", signed(BODY)),
    "a byte more": post("/hooks/github", BODY + b"\n", signed(BODY)),
}


@pytest.mark.parametrize("stranger_sends", UNPROVEN)
def test_a_proof_that_is_odd_is_none_and_never_an_error_of_ours(
    server: Server, office: Office, stranger_sends: str
) -> None:
    """401, with the same words for all of them; what was wrong stands in the log alone."""
    with told() as facts:
        answer = ask(server.address, UNPROVEN[stranger_sends])

    assert (401, "not_verified") == (answer.status, answer.json["code"])
    assert "delivery: its sender could not be verified" == answer.json["detail"]
    assert ("bearer" in stranger_sends or "token" in stranger_sends) == ("www-authenticate" in answer.headers)
    assert ["event.refused"] == [fact for fact, _ in facts]
    assert [] == office.events


@pytest.mark.parametrize(
    "sent",
    [
        post("/hooks/github", BODY, signed(BODY))[:-1],
        chunked("/hooks/github", BODY, **signed(BODY))[:-2],
        chunked("/hooks/github", BODY, **signed(BODY))[:-7],
    ],
)
def test_a_signed_body_that_is_cut_short_is_no_delivery(server: Server, office: Office, sent: bytes) -> None:
    """Not even where all of it that is signed has come: its end has not."""
    with Stranger(server.address) as stranger:
        stranger.send(sent)
        stranger.half_close()
        answer = stranger.answer()

    assert (400, "bad_body", True) == (answer.status, answer.json["code"], answer.is_last)
    assert [] == office.events


ANSWERS: dict[str, tuple[bytes, int]] = {
    "a delivery": (post("/hooks/open", BODY), 202),
    "a forged one": (post("/hooks/github", BODY), 401),
    "a path that is not there": (get("/"), 404),
    "a method": (get("/hooks/open"), 405),
    "health": (get("/healthz"), 200),
    "a bad head": (b"noise\r\n\r\n", 400),
}


@pytest.mark.parametrize("stranger_sends", ANSWERS)
def test_every_answer_of_the_listener_says_no_more_than_it_must(server: Server, stranger_sends: str) -> None:
    """Not cached, not sniffed, with an id, and without a word about what runs here."""
    data, status = ANSWERS[stranger_sends]

    answer = ask(server.address, data)

    assert status == answer.status
    assert ("no-store", "nosniff") == tuple(
        answer.headers[name] for name in ("cache-control", "x-content-type-options")
    )
    assert 24 == len(answer.headers["x-request-id"])
    assert {"server", "x-powered-by", "via"}.isdisjoint(answer.headers)
    assert all(word not in answer.body.lower() for word in (b"gevent", b"python", b"monqbus", b"traceback"))


def test_whoever_may_come_again_is_told_when(server: Server, office: Office) -> None:
    """503 and 429 with Retry-After, in whole seconds."""
    office.failure = StoreUnavailable("away")
    away = ask(server.address, post("/hooks/open", BODY))
    limits = replace(DAEMON, connections_per_ip=1, uncounted=())
    with serving(office.app(), limits) as narrow, Stranger(narrow.address):
        crowded = ask(narrow.address, post("/hooks/open", BODY))

    assert [503, 429] == [away.status, crowded.status]
    assert all(1 <= int(one.headers["retry-after"]) <= 5 for one in (away, crowded))


# the URL that senders sign


URL = "https://hooks.example.org/hooks/url?a=1"


def _signs_url(url: str) -> bytes:
    mac = hmac.new(b"s3cret-of-16-byte", url.encode() + BODY, "sha256").hexdigest()
    fields = {"Host": "hooks.example.org", "X-Forwarded-Proto": "https", "X-Signature": mac}
    return post("/hooks/url?a=1", BODY, fields)


@pytest.mark.parametrize(
    ("trusted", "url", "status"),
    [
        (["127.0.0.0/8"], URL, 202),
        ([], URL, 401),
        (["10.0.0.0/8"], URL, 401),
        ([], URL.replace("https", "http"), 202),
        (["127.0.0.0/8"], URL.replace("https", "http"), 401),
    ],
)
def test_a_trusted_proxy_says_by_which_scheme_it_was_asked(
    office: Office, trusted: list[str], url: str, status: int
) -> None:
    """The sender has signed https; from anybody else the header is his own claim, and is not read."""
    one = Hook(
        name="url",
        verify="hmac",
        secrets=(Secret("s3cret-of-16-byte"),),
        header="X-Signature",
        signed="{url}{body}",
    )
    urls = public_urls(
        hooks=lambda: {"url": one},
        publish=office.publish,
        ready=lambda: None,
        clock=FrozenClock(NOW),
        max_body=MAX_BODY,
        trusted_proxies=tuple(map(ip_network, trusted)),
    )
    with serving(urls) as server:
        assert status == ask(server.address, _signs_url(url)).status
