"""The targets: each takes any bytes, and lets out every error that is not a refusal of ours.

Where one input can be read in two ways, both must agree: two meanings of one request are how requests are
smuggled.
"""

from __future__ import annotations

import gzip
import io
from base64 import b64encode
from collections.abc import Callable
from json import dumps
from typing import Any, Final, NamedTuple

from bus import strict_json
from bus.errors import Refused
from bus.http.body_budget import BodyBudget
from bus.http.chunked import Chunks
from bus.http.deadline_reader import DeadlineReader
from bus.http.limits import Limits
from bus.http.request import Head, read_head
from bus.payload import BadPayload, cloudevents, decode, inflated, tree
from bus.rules import OF_A_DELIVERY, OF_AN_EVENT, BadRule, Subject, compiled
from bus.senders import SENDERS, Sender, adapted
from bus.webhook import handshake
from bus.webhook.request import Request
from bus.webhook.signed import Mismatch
from bus.webhook.verify import verify
from tests import deliveries
from tests.deliveries import DELIVERIES, URL

LIMIT: Final = 64 * 1024
LIMITS: Final = Limits(request_line=256, header_bytes=2048, header_lines=16)
EVERY: Final = OF_A_DELIVERY | OF_AN_EVENT


class Wire(DeadlineReader):
    """What has come from a client, at most *most* bytes a call."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(None)
        self._data = io.BytesIO(data)
        self._most = most

    def readinto(self, buffer: Any) -> int:
        """As a socket that has received no more."""
        piece = self._data.read(min(self._most, len(buffer)))
        memoryview(buffer)[: len(piece)] = piece
        self.received += len(piece)
        return len(piece)


def edge(data: bytes) -> None:
    """A head, a chunked body, and what is behind: the same in one packet and byte by byte."""
    whole, cut = _read(data, len(data) + 1), _read(data, 1)

    assert whole == cut, f"one packet: {whole}, byte by byte: {cut}"


def _read(data: bytes, most: int) -> tuple[Head | str, bytes | str, bytes]:
    wire = Wire(data, most)
    stream = io.BufferedReader(wire)
    try:
        head = read_head(stream, LIMITS)
    except Refused as refusal:
        return refusal.code, b"", b""
    if not head.is_chunked:
        return head, b"", stream.read()
    chunks = Chunks(stream, wire, BodyBudget(LIMIT, LIMIT).share(wire))
    body = b""
    try:
        while not chunks.is_finished:
            body += chunks.read(LIMIT)
    except Refused as refusal:
        return head, refusal.code, b""
    return head, body, stream.read()


def verifiers(data: bytes) -> None:
    """The proof of each sender, with its headers, URL and body from *data*, and its handshakes."""
    if not data:
        return
    name = _NAMES[data[0] % len(_NAMES)]
    sender, secret = _ROWS[name]
    head, _, body = data[1:].partition(b"\n\n")
    lines = head.decode("latin-1").split("\n")
    url = f"{URL}?{lines[0]}" if lines[0] else URL
    given = dict(zip(_headers_of(sender), lines[1:], strict=False))
    for method in ("POST", "GET"):
        request = Request(method, url, given, body, 1_700_000_000.0)
        try:
            handshake.unproven(sender, (secret,), ("word",), request)
            verify(sender, (secret,), request)
            handshake.proven(sender, (secret,), request)
        except (Mismatch, Refused):
            continue
        is_guessed = sender.is_open or secret.encode() in data or b64encode(secret.encode()) in data
        assert is_guessed, f"{name} believes {request}"


def _headers_of(sender: Sender) -> list[str]:
    places = [way.place for way in sender.ways]
    places += [place for way in sender.ways for place in (way.timestamp, way.id) if place]
    places += [place for one in sender.handshakes for place, _ in one.given]
    named = [place[7:] for place in places if place.startswith("header:")]
    return list(dict.fromkeys([*named, "content-type"]))


def events(data: bytes) -> None:
    """CloudEvents in the mode that the first byte names; those that are read have what each must have.

    Behind another byte type and headers stand in front of an empty line.
    """
    first, body = _MODES.get(data[:1], b""), data[1:]
    if not first:
        first, _, body = data.partition(b"\n\n")
    lines = first.decode("latin-1").split("\n")
    content_type, *others = lines
    pairs = (line.partition(":") for line in others)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}
    try:
        mode = cloudevents.mode_of(content_type, headers)
        found = cloudevents.read(mode, headers, body, content_type)
    except (BadPayload, cloudevents.UnknownFormat):
        return
    for one in found:
        assert all(one.attributes[name] for name in ("id", "source", "specversion", "type"))


def rules(data: bytes) -> None:
    """A rule in front of an empty line and what it is asked about, JSON, behind it."""
    text, _, content = data.decode("utf-8", "replace").partition("\n\n")
    try:
        rule = compiled(text, EVERY)
    except BadRule as error:
        assert str(error)
        return
    try:
        body = strict_json.parse(content.encode())
    except strict_json.BadJson:
        body = content
    texts = {"a": content[:20], "x-y": text[:20]}
    subject = Subject(body=body, header=texts, query=texts, args=[body], kwargs={"a": body}, ip=content[:40])

    assert isinstance(rule.holds(subject), bool)


def payloads(data: bytes) -> None:
    """A body of the kind that the first byte names: form, multipart, XML, JSON, text, compressed or not.

    Behind another byte the type stands in front of an empty line.
    """
    body, content_type = data[1:], _TYPES.get(data[:1], "")
    if not content_type:
        first, _, body = data.partition(b"\n\n")
        content_type = first.decode("latin-1")
    for read in (decode, tree):
        try:
            read(body, content_type)
        except BadPayload as error:
            assert str(error)
    try:
        inflated(body)
    except BadPayload as error:
        assert str(error)


class Target(NamedTuple):
    """One target, and inputs that it begins with."""

    takes: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _verifier_seeds() -> tuple[bytes, ...]:
    found = []
    for number, name in enumerate(_NAMES):
        headers = _headers_of(_ROWS[name][0])
        given = {**DELIVERIES[name].type, headers[0]: "sha256=00"}
        values = [given.get(header, "t=1700000000,v1=00") for header in headers]
        found.append("\n".join([chr(number), "secret=a", *values, "", ""]).encode() + DELIVERIES[name].body)
    return tuple(found)


_ROWS: Final[dict[str, tuple[Sender, str]]] = {
    name: (adapted(name, **one.settings), one.secret)
    for name, one in ((name, deliveries.of(name)) for name in SENDERS if name != "sendgrid")
}
_NAMES: Final = list(_ROWS)
_EVENT: Final = {"id": "1", "source": "/a", "specversion": "1.0", "type": "t", "data": {"a": [1]}}
_MODES: Final = {
    b"s": b"application/cloudevents+json",
    b"b": b"application/cloudevents-batch+json",
}
_TYPES: Final = {
    b"f": "application/x-www-form-urlencoded",
    b"m": "multipart/form-data; boundary=ab",
    b"x": "application/xml",
    b"j": "application/json",
    b"z": "application/octet-stream",
}
_PART: Final = b'--ab\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n--ab--'

TARGETS: Final[dict[str, Target]] = {
    "edge": Target(
        edge,
        (
            b"POST /hooks/a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: a\r\n\r\n",
            b"GET http://a/%2e HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
        ),
    ),
    "verifiers": Target(verifiers, _verifier_seeds()),
    "cloudevents": Target(
        events,
        (
            b"s" + dumps(_EVENT).encode(),
            b"b" + dumps([_EVENT, {**_EVENT, "time": "x"}]).encode(),
            b'text/plain\nce-id: 1\nce-source: "/a%20b"\nce-specversion: 1.0\nce-type: t\nce-x: %C3%A9\n\nx',
        ),
    ),
    "rules": Target(
        rules,
        (
            b'body.a == "x" and header.X-Y in ("push", "release")\n\n{"a": "x"}',
            b'not (body["a b"].0 matches "^v[0-9]+$") or ip in ("10.0.0.0/8", "::/0")\n\n10.0.0.1',
            b'exists(query.a) and length(args.0) >= 1 and startswith(lower(kwargs.a), "b")\n\n[1]',
        ),
    ),
    "payloads": Target(
        payloads,
        (
            b"fa=b&payload=%7B%22a%22%3A1%7D&b=%E2%82%AC+c",
            b"m" + _PART,
            b'x<?xml version="1.0" encoding="utf-8"?><a b="c">e&lt;<![CDATA[f]]></a>',
            b'j{"a": [1, 2.5e3, "\\u00e9", null], "b": {"c": true}}',
            b'application/json; charset=utf-16\n\n{"a": 1}',
            b"text/plain; charset=utf-7\n\n+AGE-",
            b"z" + gzip.compress(b'{"a": 1}'),
        ),
    ),
}
