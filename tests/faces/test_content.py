"""What senders send through the real door: bodies of every kind, compressed ones, CloudEvents."""

from __future__ import annotations

import gzip
import hmac
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from types import ModuleType
from typing import Any

import pytest

from bus import networks
from bus.clock import FrozenClock
from bus.config import Hook, Secret
from bus.daemon.url_maps import public_urls
from bus.http import Limits, Server, UrlMap
from bus.model import Event, Receipt
from bus.rules import OF_A_DELIVERY, Rule, compiled

from .stranger import Answer, ask, chunked, post, serving, told

MAX_BODY = 100_000
SECRET = "s3cret of github"
ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LEAST = {"id": "1", "source": "/mine", "type": "com.example.made", "specversion": "1.0"}
HEADERS = {f"ce-{name}": value for name, value in LEAST.items()}


def hook(name: str, verify: Any = "none", **settings: Any) -> Hook:
    secrets = (Secret(SECRET),) if verify != "none" else ()
    return Hook(name=name, verify=verify, secrets=secrets, **settings)


def rule(text: str) -> Rule:
    return compiled(text, OF_A_DELIVERY)


HOOKS = [
    hook("plain", topic="{body:kind|none}"),
    hook("sns", content_type="application/json"),
    hook("packed", "github", accept_gzip=True, topic="{body:kind|none}"),
    hook("taken", "github", accept_gzip=True),
    hook("sifted", "github", accept_gzip=True, when=rule('body.kind == "made"')),
    hook("chosen", format="cloudevents", when=rule('attribute.type == "com.example.made" and body.n < 2')),
    hook("away", format="cloudevents", allow_ips=(networks.network("198.51.100.0/24"),)),
    hook("both", "hmac", format="cloudevents", header="X-Sum", methods=("POST", "PUT")),
    hook("events", format="cloudevents", topic="{event}.{attribute:subject|none}"),
    hook("sure", "token", format="cloudevents", accept_gzip=True, topic="{body:kind|none}"),
]


class Office:
    """Stores events in lists, one for each write."""

    def __init__(self) -> None:
        self.writes: list[list[Event]] = []

    @property
    def events(self) -> list[Event]:
        return [event for write in self.writes for event in write]

    def publish(self, event: Event) -> Receipt:
        return self.publish_all([event])[0]

    def publish_all(self, events: Sequence[Event]) -> list[Receipt]:
        known = {event.key: event.id for event in self.events if event.key}
        self.writes.append([event for event in events if event.key not in known])
        return [Receipt([], known.get(event.key, event.id), event.key in known) for event in events]


@pytest.fixture
def office() -> Office:
    return Office()


def urls(office: Office) -> UrlMap:
    return public_urls(
        hooks=lambda: {one.name: one for one in HOOKS},
        publish=office.publish,
        publish_all=office.publish_all,
        ready=lambda: None,
        clock=FrozenClock(datetime(2026, 1, 1, tzinfo=timezone.utc)),
        max_body=MAX_BODY,
    )


@pytest.fixture
def server(office: Office) -> Iterator[Server]:
    with serving(urls(office)) as server:
        yield server


Send = Callable[..., Answer]


@pytest.fixture
def send(server: Server) -> Send:
    """Post *body* to /hooks/NAME with *headers* on a connection of its own."""

    def send(name: str, body: bytes, content_type: str = "", **more: str) -> Answer:
        headers = {key.replace("_", "-"): value for key, value in more.items()}
        if content_type:
            headers["Content-Type"] = content_type
        return ask(server.address, post(f"/hooks/{name}", body, headers))

    return send


def signed(body: bytes) -> dict[str, str]:
    """What GitHub would send with *body*."""
    return {"X-Hub-Signature-256": f"sha256={hmac.new(SECRET.encode(), body, 'sha256').hexdigest()}"}


# kinds

KINDS: dict[str, tuple[str, bytes]] = {
    "JSON": ("application/json", b'{"kind": "made"}'),
    "a form": ("application/x-www-form-urlencoded", b"kind=made&x=1"),
    "JSON in a form": ("application/x-www-form-urlencoded", b"payload=%7B%22kind%22%3A%22made%22%7D"),
    "parts": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="kind"\r\n\r\nmade\r\n--a--\r\n',
    ),
    "JSON as text": ("text/plain; charset=UTF-8", b'{"kind": "made"}'),
}


@pytest.mark.parametrize("what", KINDS)
def test_a_topic_finds_its_value_in_each_kind_of_body(send: Send, office: Office, what: str) -> None:
    """And the bytes are kept as they came."""
    content_type, body = KINDS[what]

    answer = send("plain", body, content_type)

    (event,) = office.events
    assert (202, "made", body) == (answer.status, event.topic, event.body)


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_rule_sees_each_kind_of_body(send: Send, office: Office, what: str, is_packed: bool) -> None:
    """Also what is inside of a compressed one; the answer says what the rule has kept out."""
    content_type, body = KINDS[what]
    more = {"Content-Encoding": "gzip"} if is_packed else {}
    bodies = [one.replace(b"made", word) for one in (body,) for word in (b"made", b"gone")]
    sent = [gzip.compress(one) if is_packed else one for one in bodies]

    answers = [send("sifted", one, content_type, **signed(one), **more) for one in sent]

    assert [False, True] == [event.is_filtered for event in office.events]
    assert [None, True] == [json.loads(answer.body).get("filtered") for answer in answers]


def test_xml_is_found_by_its_path(send: Send, office: Office) -> None:
    """Its root is a step of the path."""
    HOOKS[0] = hook("plain", topic="{body:order.item.1}")
    try:
        send("plain", b"<order><item>a</item><item>b</item></order>", "text/xml")
    finally:
        HOOKS[0] = hook("plain", topic="{body:kind|none}")

    assert "b" == office.events[0].topic


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/json", b"{"), ("text/xml", b'<!DOCTYPE a [<!ENTITY x "y">]><a/>')],
)
def test_a_body_that_is_broken_is_stored_and_told(
    send: Send, office: Office, content_type: str, body: bytes
) -> None:
    """A verified delivery is never thrown away for its content."""
    with told() as facts:
        answer = send("plain", body, content_type)

    assert (202, body) == (answer.status, office.events[0].body)
    assert ["event.unreadable"] == [fact for fact, _ in facts]


def test_a_hook_may_know_the_type_better_than_its_sender(send: Send, office: Office) -> None:
    """Amazon SNS sends JSON as text; handlers read the value then, and the header says so."""
    send("sns", b'{"Type": "Notification"}', "text/plain; charset=UTF-8")
    send("plain", b'{"Type": "Notification"}', "text/plain; charset=UTF-8")

    assert {"Type": "Notification"} == office.events[0].data
    assert "application/json" == office.events[0].headers["content-type"]
    assert '{"Type": "Notification"}' == office.events[1].data


# gzip


def test_a_compressed_body_is_verified_and_kept_as_it_came(send: Send, office: Office) -> None:
    """Its sender signs the bytes that it sends; topic and value are found in what is inflated."""
    body = gzip.compress(b'{"kind": "made"}')
    headers = {"Content_Encoding": "gzip", **signed(body)}

    answer = send("packed", body, "application/json", **headers)

    (event,) = office.events
    assert (202, "made", body) == (answer.status, event.topic, event.body)
    assert {"kind": "made"} == event.data


def test_the_signature_is_over_the_compressed_bytes(send: Send, office: Office) -> None:
    """One of the inflated ones proves nothing; neither does one of other bytes with the same content."""
    headers = {"Content_Encoding": "gzip", **signed(b'{"kind": "made"}')}

    answer = send("packed", gzip.compress(b'{"kind": "made"}'), "application/json", **headers)

    assert 401 == answer.status
    assert [] == office.events


@pytest.mark.parametrize(
    ("name", "encoding"), [("plain", "gzip"), ("packed", "br"), ("packed", "gzip, gzip")]
)
def test_an_encoding_that_a_hook_does_not_take_is_refused(send: Send, name: str, encoding: str) -> None:
    """With what it takes, before the body is read."""
    answer = send(name, b"x", "application/json", Content_Encoding=encoding)

    assert (415, "unsupported_encoding") == (answer.status, answer.json["code"])
    assert ("gzip, identity" if name == "packed" else "identity") == answer.headers["accept-encoding"]


def test_a_bomb_is_stored_and_not_inflated(send: Send, office: Office) -> None:
    """No further than to `max_body`; a handler that asks for the value gets an error, too."""
    bomb = gzip.compress(bytes(40_000_000), 9)
    with told() as facts:
        answer = send("packed", bomb, "application/json", Content_Encoding="gzip", **signed(bomb))

    assert (202, bomb) == (answer.status, office.events[0].body)
    assert ["event.unreadable"] == [fact for fact, fields in facts if "at most" in fields["reason"]]
    with pytest.raises(ValueError, match="at most"):
        office.events[0].data  # noqa: B018


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_bomb_that_nobody_asked_for_has_no_value_for_rules(
    send: Send, office: Office, content_type: str
) -> None:
    """What rules of handlers inflate while a delivery waits is known to be within `max_body`."""
    bomb = gzip.compress(bytes(40_000_000), 9)
    with told() as facts:
        send("taken", bomb, content_type, Content_Encoding="gzip", **signed(bomb))

    assert [(bomb, None)] == [(event.body, event.parsed) for event in office.events]
    assert ["event.unreadable"] == [fact for fact, fields in facts if "at most" in fields["reason"]]


def test_what_is_inflated_takes_room_of_all_bodies(office: Office) -> None:
    """The memory of the door is bounded: without room 503, and the room is there again after the answer."""
    body = gzip.compress(b'{"kind": "' + os.urandom(900).hex().encode() * 50 + b'"}')
    small = gzip.compress(b'{"kind": "made"}')

    with serving(urls(office), Limits(bodies=90_000, bodies_per_ip=50_000)) as server:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        full = [ask(server.address, post("/hooks/packed", body, headers | signed(body))) for _ in range(2)]
        after = ask(server.address, post("/hooks/packed", small, headers | signed(small)))

    assert [(503, "bodies_full")] * 2 == [(answer.status, answer.json["code"]) for answer in full]
    assert (202, ["made"]) == (after.status, [event.topic for event in office.events])


# CloudEvents


def test_an_event_is_the_same_in_each_mode(send: Send, office: Office) -> None:
    """Attributes, data and topic; stored once, because source and id are the same."""
    data = b'{"kind": "a"}'
    first = send("events", data, "application/json", ce_subject="sub", **underscored(HEADERS))
    again = send("events", json.dumps(LEAST | {"subject": "sub", "data": {"kind": "a"}}).encode(), ONE)
    batch = send("events", json.dumps([LEAST, LEAST | {"id": "2", "data": 5}]).encode(), BATCH)

    assert [202, 200, 202] == [first.status, again.status, batch.status]
    assert {**first.json, "duplicate": True} == again.json
    assert [True, None] == [one.get("duplicate") for one in batch.json["events"]]
    assert ["com.example.made.sub", "com.example.made.none"] == [event.topic for event in office.events]
    assert ["/mine 1", "/mine 2"] == [event.delivery for event in office.events]
    assert LEAST | {"subject": "sub", "datacontenttype": "application/json"} == office.events[0].attributes
    assert [{"kind": "a"}, 5] == [event.data for event in office.events]


def underscored(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


def test_a_batch_is_one_write(send: Send, office: Office) -> None:
    """Of all its events; one that comes twice in it is there once, and an empty batch is none."""
    items = [LEAST | {"id": str(number % 50)} for number in range(100)]

    answer = send("events", json.dumps(items).encode(), BATCH)
    empty = send("events", b"[]", BATCH)

    assert [50] == [len(write) for write in office.writes if write]
    assert 50 == len(answer.json["events"])
    assert (200, {"events": []}) == (empty.status, empty.json)


def test_each_event_of_a_batch_is_asked_for(send: Send, office: Office) -> None:
    """By its own attributes and data: one answer tells of those that the rule has kept out."""
    batch = [LEAST | {"id": str(n), "data": {"n": n}} for n in range(3)]
    batch.append(LEAST | {"id": "x", "type": "other", "data": {"n": 0}})

    answer = send("chosen", json.dumps(batch).encode(), BATCH)

    assert 1 == len(office.writes)
    assert [False, False, True, True] == [event.is_filtered for event in office.events]
    said = json.loads(answer.body)["events"]
    assert [None, None, True, True] == [one.get("filtered") for one in said]


def test_a_signed_event_may_be_put(server: Server, office: Office) -> None:
    """What senders need, methods and signatures of their own, is there for CloudEvents too."""
    body = json.dumps(LEAST).encode()
    proof = hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    request = post("/hooks/both", body, {"Content-Type": ONE, "X-Sum": proof})

    answers = [
        ask(server.address, request.replace(b"POST", b"PUT", 1)),
        ask(server.address, request.replace(b"POST", b"PATCH", 1)),
        ask(server.address, options("/hooks/both", "WebHook-Request-Origin: example.org")),
    ]

    assert [202, 405, 200] == [answer.status for answer in answers]
    assert ["POST, PUT"] * 2 == [answer.headers["allow"] for answer in answers[1:]]
    assert ["1"] == [event.attributes["id"] for event in office.events]


def test_who_may_not_send_may_not_ask(server: Server) -> None:
    """The addresses of a hook are those of the question, too."""
    answer = ask(server.address, options("/hooks/away", "WebHook-Request-Origin: example.org"))

    assert (403, "address_not_allowed") == (answer.status, json.loads(answer.body)["code"])


def test_one_bad_item_refuses_a_batch_and_stores_nothing(send: Send, office: Office) -> None:
    """400 with the item's place, however many good ones there are."""
    items = [LEAST, LEAST | {"id": "2", "source": ""}, LEAST | {"id": "3"}]

    answer = send("events", json.dumps(items).encode(), BATCH)

    assert (400, "bad_cloudevent") == (answer.status, answer.json["code"])
    assert "item 1" in answer.json["detail"]
    assert [] == office.writes


NO_EVENTS: dict[str, tuple[int, str, bytes, dict[str, str]]] = {
    "JSON": (415, "application/json", b"{}", {}),
    "another format": (415, "application/cloudevents+xml", b"<a/>", {}),
    "half of the headers": (400, "application/json", b"{}", {"ce_id": "1"}),
    "an overlong encoding": (400, "", b"{}", underscored(HEADERS) | {"ce_subject": "%C0%A0"}),
    "broken JSON": (400, ONE, b"{", {}),
    "broken gzip": (415, ONE, b"{}", {"Content_Encoding": "gzip"}),
}


@pytest.mark.parametrize("what", NO_EVENTS)
def test_what_is_no_cloudevent_is_refused(send: Send, office: Office, what: str) -> None:
    """415 where no format is known, 400 where it is broken; nothing is stored."""
    status, content_type, body, headers = NO_EVENTS[what]

    answer = send("events", body, content_type, **headers)

    assert status == answer.status
    assert [] == office.writes


def test_a_compressed_event_is_kept_inflated(send: Send, office: Office) -> None:
    """In each mode alike its body is the data; the token was proven before anything was inflated."""
    token = {"Authorization": f"Bearer {SECRET}", "Content_Encoding": "gzip"}
    send("sure", gzip.compress(json.dumps(LEAST | {"data": {"kind": "a"}}).encode()), ONE, **token)
    send(
        "sure",
        gzip.compress(b'{"kind": "b"}'),
        "application/json",
        **token,
        **underscored(HEADERS | {"ce-id": "2"}),
    )
    broken = send("sure", b"{}", ONE, **token)

    assert [b'{"kind": "a"}', b'{"kind": "b"}'] == [event.body for event in office.events]
    assert ["a", "b"] == [event.topic for event in office.events]
    assert not any("content-encoding" in event.headers for event in office.events)
    assert (400, "bad_cloudevent") == (broken.status, broken.json["code"])


def test_an_event_in_chunks_is_an_event(server: Server, office: Office) -> None:
    """Framing is no affair of its mode."""
    body = json.dumps(LEAST).encode()

    answer = ask(server.address, chunked("/hooks/events", body[:9], body[9:], **{"Content-Type": ONE}))

    assert 202 == answer.status


# the handshake


def options(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"OPTIONS {path} HTTP/1.1", "Host: monqbus.test", *lines, "", ""]).encode()


def test_a_sender_may_ask_whether_it_may_send(server: Server) -> None:
    """200 with its origin and any rate; the address for a later answer is not called."""
    asked = options(
        "/hooks/events",
        "WebHook-Request-Origin: eventemitter.example.com",
        "WebHook-Request-Callback: http://127.0.0.1:1/",
        "WebHook-Request-Rate: 120",
    )

    answer = ask(server.address, asked)

    assert (200, b"") == (answer.status, answer.body)
    assert "POST" == answer.headers["allow"]
    assert "eventemitter.example.com" == answer.headers["webhook-allowed-origin"]
    assert "*" == answer.headers["webhook-allowed-rate"]


def test_a_rate_is_only_told_when_it_was_asked_for(server: Server) -> None:
    """Section 4.2 of the web hook specification."""
    answer = ask(server.address, options("/hooks/events", "WebHook-Request-Origin: a.example"))

    assert 200 == answer.status
    assert "webhook-allowed-rate" not in answer.headers


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("/hooks/events", ()),
        ("/hooks/plain", ("WebHook-Request-Origin: a.example",)),
        ("/hooks/none", ("WebHook-Request-Origin: a.example",)),
    ],
)
def test_other_questions_are_answered_405(server: Server, path: str, lines: tuple[str, ...]) -> None:
    """At hooks that take no CloudEvents, and without an origin."""
    answer = ask(server.address, options(path, *lines))

    assert (405, "POST") == (answer.status, answer.headers["allow"])
    assert "webhook-allowed-origin" not in answer.headers


@pytest.mark.parametrize(
    "lines",
    [
        ("WebHook-Request-Origin: a b",),
        ("WebHook-Request-Origin: <script>",),
        ("WebHook-Request-Origin: a", "WebHook-Request-Rate: -1"),
    ],
)
def test_a_question_that_is_malformed_is_refused(server: Server, lines: tuple[str, ...]) -> None:
    """Nothing of it is sent back."""
    answer = ask(server.address, options("/hooks/events", *lines))

    assert (400, "bad_handshake") == (answer.status, answer.json["code"])
    assert "webhook-allowed-origin" not in answer.headers


# what the library of the specification's authors sends


@pytest.fixture
def library() -> ModuleType:
    """`cloudevents`. Skips the asking test, or fails it under CI, when it is not there."""
    try:
        from cloudevents.core.bindings import http
    except ImportError:
        reason = "no library of others to send with: pip install 'cloudevents>=2'"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return http  # type: ignore[no-any-return]


LIBRARY_DATA: dict[str, tuple[str, Any, Any]] = {
    "an object": ("application/json", {"kind": "ä", "n": [1, None]}, {"kind": "ä", "n": [1, None]}),
    "text": ("text/plain", "ä €", "ä €"),
    "bytes": ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
}


@pytest.mark.parametrize("mode", ["to_binary", "to_structured"])
@pytest.mark.parametrize("what", LIBRARY_DATA)
def test_what_the_library_of_the_specification_sends_is_taken(
    send: Send, office: Office, library: ModuleType, what: str, mode: str
) -> None:
    """The attributes and data that were given to it are those that a handler gets."""
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

    content_type, data, value = LIBRARY_DATA[what]
    attributes = LEAST | {"datacontenttype": content_type, "subject": 'Euro € 😀 "%" \\ end'}
    message = getattr(library, mode)(CloudEvent(dict(attributes), data), JSONFormat())

    answer = send("events", message.body, **underscored(message.headers))

    (event,) = office.events
    assert 202 == answer.status
    assert attributes == {name: event.attributes[name] for name in attributes}
    assert value == event.data
