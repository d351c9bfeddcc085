"""One stranger's worst does not hold the hub: between two of its turns only so much is done."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from bus import strict_json
from bus.clock import Clock
from bus.config import Hook, Secret
from bus.daemon.url_maps import public_urls
from bus.http import Limits, Queue, Server, read_body
from bus.model import Event, Receipt
from bus.webhook.verify import SLICE_BYTES

from .stranger import Stranger, chunked, get, post, serving
from .turns import counted

MOST_CALLS = 10_000
"""Some 2 ms. An ordinary delivery takes 300."""

MAX_BODY = 4 * 1024 * 1024
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def swallow(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """An application that reads a body and says how long it was."""
    body = b"%d" % len(read_body(environ, MAX_BODY))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def publish(event: Event) -> Receipt:
    return Receipt([], event.id)


HOOKS = {
    "open": Hook(name="open", verify="none", topic="{body:topic}", accept_gzip=True),
    "xml": Hook(name="xml", verify="none"),
    "events": Hook(name="events", verify="none", format="cloudevents"),
    "github": Hook(name="github", verify="github", secrets=(Secret("s" * 16),)),
    "standard": Hook(name="standard", verify="standard", secrets=(Secret("whsec_MfKQ9r8GKYqr"),)),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(swallow, Limits(linger_seconds=0.5)) as server:
        yield server


@pytest.fixture(scope="module")
def receiver() -> Iterator[Server]:
    app = public_urls(
        hooks=lambda: HOOKS, publish=publish, ready=lambda: None, clock=Clock(), max_body=MAX_BODY
    )
    with serving(app, Limits(linger_seconds=0.5)) as server:
        yield server


WORST: dict[str, bytes] = {
    "trailers without end": CHUNKED + b"1\r\na\r\n0\r\n" + b"X: y\r\n" * 200_000,
    "one trailer without end": CHUNKED + b"1\r\na\r\n0\r\nX: " + b"y" * 1_000_000,
    "a chunk extension without end": CHUNKED + b"1;" + b"y" * 1_000_000,
    "chunks with extensions of 8 KB": CHUNKED + (b"10;" + b"y" * 8000 + b"\r\n" + b"a" * 16 + b"\r\n") * 200,
    "small chunks": chunked("/", *[b"a" * 16] * 100_000),
    "tiny chunks": chunked("/", *[b"a"] * 100_000),
    "large chunks": chunked("/", *[b"a" * 65_536] * 60),
    "a long body": post("/", b"a" * MAX_BODY),
    "requests in one go": get("/") * 1000,
    "requests of 8 KiB in one go": (get("/", "X: ") + b"").replace(b"X: ", b"X: " + b"a" * 8119) * 200,
    "headers in lines of one byte": (get("/", *["X:"] * 90) * 200),
    "a body that nobody wants": post("/", b"a" * 30_000_000, {"Content-Length": "99999999"}),
}


@pytest.mark.parametrize("what", WORST)
def test_the_hub_turns_however_a_request_is_made(server: Server, what: str) -> None:
    """Bytes that are there are read without waiting: nothing but the reader itself lets the others in."""
    assert MOST_CALLS > _longest(server, WORST[what])


def _longest(server: Server, data: bytes) -> int:
    """The longest stretch while *data* is sent, all at once, and what comes back is read."""
    with Stranger(server.address) as stranger, counted() as stretch:
        sender = gevent.spawn(_send, stranger, data)
        while _next_status(stranger):
            pass
        sender.kill()
    return stretch.calls


def _send(stranger: Stranger, data: bytes) -> None:
    try:
        stranger.send(data)
        stranger.half_close()
    except OSError:
        pass  # it was refused


def _next_status(stranger: Stranger) -> int:
    try:
        return stranger.answer().status
    except (OSError, IndexError):
        return 0


# JSON, signatures: what one call of a C function does is counted in bytes

JSON = {"Content-Type": "application/json"}
PIECES = 1024 * 1024 // strict_json.PIECE_BYTES


def json_of(member: str) -> bytes:
    """A megabyte of *member*, and a topic behind it."""
    return ('{"a": [%s 1], "topic": "x"}' % (member * (1024 * 1024 // len(member)))).encode()


@pytest.mark.parametrize(
    "member", ["[],", "{},", "1,", '"",', "null,", '{"a": 1},', "[" * 60 + "]" * 60 + ","]
)
def test_the_hub_turns_while_a_long_json_body_is_parsed(receiver: Server, member: str) -> None:
    """A body that anybody may send is parsed in pieces, with at least one turn behind each."""
    body = json_of(member)
    with Stranger(receiver.address) as stranger, counted() as stretch:
        stranger.send(post("/hooks/open", body, JSON))
        answer = stranger.answer()

    assert 202 == answer.status
    assert PIECES <= stretch.turns
    assert 3 * strict_json.PIECE_BYTES > stretch.calls


MEGABYTE = 1024 * 1024
EVENT = b'{"id": "1", "source": "/a", "type": "t", "specversion": "1.0"'
ONE = {"Content-Type": "application/cloudevents+json"}
NOISE = random.Random(1).randbytes(MEGABYTE // 2).hex().encode()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
XML = {"Content-Type": "text/xml"}
PARTS = {"Content-Type": "multipart/form-data; boundary=a"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
PART = b'--a\r\nContent-Disposition: form-data; name="topic"\r\n\r\n' + b"x" * 10_000 + b"\r\n"
OF_OTHER_KINDS: dict[str, tuple[str, dict[str, str], bytes]] = {
    "a form": ("open", FORM, b"topic=x&a=" + b"%41" * 349_000),
    "elements": ("xml", XML, b"<a>" + b"<b/>" * 99_998 + b"</a>"),
    "attributes": ("xml", XML, b"<a>" + b'<b c=""/>' * 49_998 + b"</a>"),
    "characters": ("xml", XML, b"<a>" + b"&lt;" * (MEGABYTE // 4) + b"</a>"),
    "parts": ("open", PARTS, PART * 99 + b"--a--"),
    "gzip": ("open", JSON | {"Content-Encoding": "gzip"}, gzip.compress(b'{"topic": "' + NOISE + b'"}')),
    "an event's data": ("events", ONE, EVENT + b', "data": [' + b"[]," * 340_000 + b"1]}"),
    "an event's attributes": (
        "events",
        ONE,
        EVENT + b"".join(b',"a%d":1' % number for number in range(90)) + b" " * 900_000 + b"}",
    ),
    "a thousand events": (
        "events",
        BATCH,
        b"[" + b",".join(EVENT.replace(b"1", b"%d" % n, 1) + b', "data": "x"}' for n in range(1000)) + b"]",
    ),
}


@pytest.mark.parametrize("what", OF_OTHER_KINDS)
def test_the_hub_turns_while_a_long_body_of_another_kind_is_read(receiver: Server, what: str) -> None:
    """Forms, XML, parts, compressed bodies and CloudEvents are read in pieces too."""
    name, headers, body = OF_OTHER_KINDS[what]
    with Stranger(receiver.address) as stranger, counted() as stretch:
        stranger.send(post(f"/hooks/{name}", body, headers))
        answer = stranger.answer()

    assert 202 == answer.status
    assert 10 <= stretch.turns
    assert 3 * strict_json.PIECE_BYTES > stretch.calls


def test_the_hub_turns_while_a_long_body_is_verified(receiver: Server) -> None:
    """A forged signature is as much work as a true one."""
    forged = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
    with Stranger(receiver.address) as stranger:
        stranger.send(post("/hooks/github", b"a" * MAX_BODY, forged)[:-1])
        with counted() as stretch:
            stranger.send(b"a")
            answer = stranger.answer()

    assert 401 == answer.status
    assert MAX_BODY // SLICE_BYTES <= stretch.turns


def test_a_header_of_ten_thousand_signatures_is_no_work(receiver: Server) -> None:
    """A sender who changes its key sends two."""
    many = {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,A " * 10_000}
    with Stranger(receiver.address) as stranger, counted() as stretch:
        stranger.send(post("/hooks/standard", b"", many))
        answer = stranger.answer()

    assert 401 == answer.status
    assert MOST_CALLS > stretch.calls


@pytest.mark.parametrize("member", ["[],", "{},", '"",', '"a\\n",'])
def test_the_memory_that_json_takes_is_bounded_by_its_length(member: str) -> None:
    """Parsing keeps what the topic needs; a whole megabyte of empty lists would be thirty as objects."""
    body = json_of(member)
    tracemalloc.start()
    try:
        value = strict_json.parse(body, only=["topic"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert "x" == strict_json.at_path(value, "topic")
    assert 8 * len(body) > peak


def test_names_of_headers_that_strangers_choose_are_not_kept(receiver: Server) -> None:
    """A cache that counts names and not their bytes kept 64 KiB for each of a thousand."""
    with Stranger(receiver.address) as stranger:
        tracemalloc.start()
        try:
            for number in range(100):
                odd = {f"X-{number}-{'a' * 20_000}": "1", "Content-Type": f"text/{number}{'b' * 10_000}"}
                stranger.send(post("/hooks/open", b"{}", odd))
                stranger.answer()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert 20 * 30_000 > kept


def test_one_of_a_queue_goes_on_in_each_turn() -> None:
    """However many there are: together they are no longer than one."""
    queue, went = Queue(), 0

    def go_on() -> None:
        nonlocal went
        queue.step_back()
        went += 1

    with counted() as stretch:
        gevent.joinall([gevent.spawn(go_on) for _ in range(50)])

    assert 50 == went
    assert 50 <= stretch.turns


def test_whoever_is_verified_does_not_wait_behind_strangers() -> None:
    """A queue for each kind of work: many who read hold up nobody who parses."""
    strangers, verified = Queue(), Queue()
    connection_quota = [gevent.spawn(strangers.step_back) for _ in range(200)]
    gevent.sleep(0)

    with counted() as stretch:
        for _ in range(3):
            verified.step_back()
    gevent.joinall(connection_quota)

    assert 20 > stretch.turns
