"""The public listener as senders meet it: its URL map on the real server."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from hashlib import sha256
from http.client import HTTPConnection
from typing import Any

import pytest
from bson import ObjectId

from bus.clock import FrozenClock
from bus.config import Hook, Secret
from bus.daemon.url_maps import public_urls
from bus.errors import StoreUnavailable, StoreUnusable
from bus.http import Server, UrlMap
from bus.model import Event, Receipt
from bus.senders import SENDERS
from bus.webhook.identity import SLICE_BYTES, _hash, identify, is_guarded
from bus.webhook.request import FORM, Request

from .stranger import Answer, Stranger, ask, chunked, get, post, serving, told

MAX_BODY = 1000
SECRET = "s3cret"
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
KEY = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JSON = {"Content-Type": "application/json"}


def hook(name: str, verify: Any, *secrets: str, **settings: Any) -> Hook:
    return Hook(name=name, verify=verify, secrets=tuple(map(Secret, secrets)), **settings)


HOOKS = [
    hook("open", "none"),
    hook("github", "github", SECRET, "old", topic="github.{event}"),
    hook("standard", "standard", f"whsec_{KEY}", topic="{name}:{event}"),
    hook("bearer", "token", "t0ken"),
    hook("gitlab", "token", "t0ken", header="X-Hello", topic="gitlab.{header:X-Gitlab-Event}"),
    hook("deep", "none", topic="{body:a.b.0.c}"),
    hook("closed", "github"),
]


class Office:
    """Stores events in a list; `publish` may be told to fail."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.hooks = {one.name: one for one in HOOKS}
        self.reason: str | None = None
        self.remark: str | None = None
        self.failure: Exception | None = None
        self.retried = 0
        self.tasks = [ObjectId(), ObjectId()]

    def publish(self, event: Event) -> Receipt:
        if self.failure is not None:
            raise self.failure
        first = next((one for one in self.events if event.key and one.key == event.key), None)
        if first is not None:
            return Receipt(self.tasks, first.id, duplicate=True, retried=self.retried)
        self.events.append(event)
        return Receipt(self.tasks, event.id)

    def app(self) -> UrlMap:
        return public_urls(
            hooks=lambda: self.hooks,
            publish=self.publish,
            ready=lambda: self.reason,
            remark=lambda: self.remark,
            clock=FrozenClock(NOW),
            max_body=MAX_BODY,
        )


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def server(office: Office) -> Iterator[Server]:
    with serving(office.app()) as server:
        yield server


Send = Callable[..., Answer]


@pytest.fixture
def send(server: Server) -> Send:
    """Post *body* to /hooks/NAME with *headers* on a connection of its own."""

    def send(name: str, body: bytes = b"{}", headers: dict[str, str] | None = None, **more: str) -> Answer:
        fields = {**(headers or {}), **{key.replace("_", "-"): value for key, value in more.items()}}
        return ask(server.address, post(f"/hooks/{name}", body, fields))

    return send


def signed(body: bytes, secret: str = SECRET, **more: str) -> dict[str, str]:
    """The headers of a delivery by GitHub."""
    mac = hmac.new(secret.encode(), body, "sha256").hexdigest()
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-Hub-Signature-256": f"sha256={mac}",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def test_a_verified_delivery_is_stored_and_accepted(send: Send, office: Office) -> None:
    """202 with the event's id and one id for each task, after the one durable write."""
    body = b'{"ref": "refs/heads/main"}'

    answer = send("github", body, signed(body))

    (event,) = office.events
    assert 202 == answer.status
    assert {"event": str(event.id), "tasks": [str(task) for task in office.tasks]} == answer.json
    assert "application/json" == answer.headers["content-type"]
    assert ("github.push", "github", NOW, body) == (event.topic, event.hook, event.received, event.body)
    assert "72d3162e-cc78-11e3-81ab-4c9367dc0958" == event.delivery


def test_a_delivery_that_comes_again_gets_the_first_ids(send: Send, office: Office) -> None:
    """200, "duplicate": true; never an error, which would make the sender try on."""
    first = send("github", b"{}", signed(b"{}")).json

    again = send("github", b"{}", signed(b"{}"))

    assert 200 == again.status
    assert {**first, "duplicate": True} == again.json
    assert 1 == len(office.events)


def test_an_event_nobody_handles_is_accepted_without_tasks(send: Send, office: Office) -> None:
    """202 with an empty list: the event is recorded."""
    office.tasks = []

    answer = send("open")

    assert (202, []) == (answer.status, answer.json["tasks"])


def test_a_standard_webhook_names_its_event_and_its_delivery(send: Send, office: Office) -> None:
    """The type stands in the body, the id in a signed header."""
    body = b'{"type": "invoice.paid", "data": {}}'

    answer = send("standard", body, standard_headers(body, int(NOW.timestamp())))

    assert 202 == answer.status
    assert ("standard:invoice.paid", "msg_1") == (office.events[0].topic, office.events[0].delivery)


def standard_headers(body: bytes, moment: int) -> dict[str, str]:
    mac = hmac.digest(base64.b64decode(KEY), b"msg_1.%d.%s" % (moment, body), "sha256")
    return {
        **JSON,
        "webhook-id": "msg_1",
        "webhook-timestamp": str(moment),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def test_a_stale_standard_webhook_is_not_accepted(send: Send, office: Office) -> None:
    """The clock of the daemon decides."""
    moment = int(NOW.timestamp()) - 301

    with told() as facts:
        answer = send("standard", b"{}", standard_headers(b"{}", moment))

    assert 401 == answer.status
    assert [] == office.events
    assert "stale" == facts[0][1]["reason"]


def test_missing_and_wrong_signatures_get_the_same_answer(send: Send, office: Office) -> None:
    """A sender who guesses learns nothing; the log does."""
    with told() as facts:
        missing = send("github", b"{}", JSON, X_Request_Id="a")
        wrong = send("github", b"{}", signed(b"other", X_Request_Id="a"))

    assert 401 == missing.status == wrong.status
    assert missing.body == wrong.body
    assert [] == office.events
    assert ["missing", "wrong"] == [fields["reason"] for _, fields in facts]


def test_a_token_is_asked_for_as_http_wants_it(send: Send) -> None:
    """WWW-Authenticate belongs to a 401 for a bearer token: RFC 6750."""
    assert "Bearer" == send("bearer").headers["www-authenticate"]
    assert 202 == send("bearer", Authorization="Bearer t0ken").status


def test_a_hook_without_its_secret_is_closed(send: Send, office: Office) -> None:
    """Never open: 503, so that senders come back when it is repaired."""
    answer = send("closed", b"{}", signed(b"{}", ""))

    assert (503, "hook_disabled") == (answer.status, answer.json["code"])
    assert [] == office.events


def test_a_hook_with_a_fault_is_closed_to_what_its_other_secret_proves(send: Send, office: Office) -> None:
    """503 and when to come again, before the body is read: a secret of it is not there yet."""
    proof = signed(b"{}")
    office.hooks = {"own": hook("own", "github", SECRET, fault="monqbus.ini:3: [hook:own] secret: none")}
    shut = send("own", b"{}", proof)

    assert (503, "hook_disabled") == (shut.status, shut.json["code"])
    assert 1 <= int(shut.headers["retry-after"]) <= 5
    assert b"monqbus.ini" not in shut.body
    assert [] == office.events


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_page_in_a_browser_sends_nothing_to_an_open_hook(
    send: Send, office: Office, headers: dict[str, str]
) -> None:
    """Whatever page somebody looks at on this machine could make handlers run, by DNS rebinding too."""
    answer = send("open", b"x", headers)

    assert (403, "from_a_page") == (answer.status, answer.json["code"])
    assert [] == office.events


def test_a_secret_says_more_than_where_a_request_comes_from(send: Send, office: Office) -> None:
    assert 202 == send("bearer", Authorization="Bearer t0ken", Origin="https://own.example").status


WRONG: dict[str, tuple[bytes, int, str]] = {
    "an unknown name": (post("/hooks/nobody"), 404, "unknown_hook"),
    "an unknown name with another method": (get("/hooks/nobody"), 405, "method_not_allowed"),
    "an unknown path": (get("/"), 404, "not_found"),
    "a path above": (post("/hooks/../open"), 404, "not_found"),
    "a NUL in the name": (post("/hooks/open%00"), 404, "unknown_hook"),
    "a slash behind the name": (post("/hooks/open/"), 404, "not_found"),
    "two slashes inside": (post("/hooks//open"), 404, "not_found"),
    "two slashes first": (post("//hooks/open"), 404, "not_found"),
    "bytes that are no UTF-8 in the name": (post("/hooks/%ff%fe"), 404, "unknown_hook"),
    "a GET": (get("/hooks/open"), 405, "method_not_allowed"),
    "an invented method": (get("/hooks/open").replace(b"GET", b"FOO"), 405, "method_not_allowed"),
    "a method in lower case": (post("/hooks/open").replace(b"POST", b"post"), 405, "method_not_allowed"),
    "OPTIONS": (get("/hooks/open").replace(b"GET", b"OPTIONS"), 405, "method_not_allowed"),
    "a POST for the health": (post("/healthz"), 405, "method_not_allowed"),
    "a compressed body": (
        post("/hooks/open", b"x", {"Content-Encoding": "gzip"}),
        415,
        "unsupported_encoding",
    ),
    "a body too large": (post("/hooks/open", b"x" * 1001), 413, "body_too_large"),
    "a chunked body too large": (chunked("/hooks/open", b"x" * 1001), 413, "body_too_large"),
    "a chunked JSON body too large": (
        chunked("/hooks/open", b"1", b" " * 1000, **JSON),
        413,
        "body_too_large",
    ),
    "a forged body too large": (post("/hooks/github", b"x" * 1001), 413, "body_too_large"),
}


@pytest.mark.parametrize("stranger_sends", WRONG)
def test_what_is_wrong_gets_its_status_and_is_told(
    server: Server, office: Office, stranger_sends: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The table of errors in webhooks.md: a problem document, one fact, nothing stored."""
    data, status, code = WRONG[stranger_sends]

    with told() as facts:
        answer = ask(server.address, data)

    assert (status, code) == (answer.status, answer.json["code"])
    assert "application/problem+json" == answer.headers["content-type"]
    assert {"type", "title", "status", "detail", "code", "request_id"} == set(answer.json)
    assert answer.headers["x-request-id"] == answer.json["request_id"]
    assert [("event.refused", status, code)] == [
        (fact, fields["status"], fields["code"]) for fact, fields in facts
    ]
    assert [] == office.events
    assert "" == capfd.readouterr().err


def test_a_refusal_is_told_with_what_was_asked_and_by_whom(server: Server) -> None:
    """Who has a wrong address, or the wrong secret, is found by it; the query may hold a secret."""
    with told() as facts:
        ask(server.address, post("/hooks/github?token=hush", b"{}", JSON))
        ask(server.address, get("/nowhere"))
        ask(server.address, b"hello\r\n\r\n")

    asked = [[fields.get(name) for name in ("method", "path", "peer")] for _, fields in facts]
    assert [["POST", "/hooks/github", "127.0.0.1"], ["GET", "/nowhere", "127.0.0.1"]] == asked[:2]
    assert [None, None, "127.0.0.1"] == asked[2]
    assert "hush" not in str(facts)


def test_nothing_of_the_request_before_is_told_of_a_bad_one(server: Server) -> None:
    """On one connection the next request may not even have a path."""
    with told() as facts, Stranger(server.address) as stranger:
        stranger.send(post("/hooks/open", b"x"))
        assert 202 == stranger.answer().status
        stranger.send(b"hello\r\n\r\n")
        assert 400 == stranger.answer().status

    assert "path" not in facts[0][1]


@pytest.mark.parametrize(
    "path",
    ["/hooks/githb", "/hooks/github/", "/github", "/hooks/github%20", "//hooks/github", "/hooks/GitHub"],
)
def test_a_mistyped_path_is_told_with_the_hook_it_resembles(server: Server, path: str) -> None:
    """In the log alone: the answer names no hook."""
    with told() as facts:
        answer = ask(server.address, post(path))

    assert 404 == answer.status
    assert b"github" not in answer.body
    assert facts[0][1]["reason"].endswith("; did you mean /hooks/github?")


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/hooks/", "/hooks/" + "github" * 1000])
def test_a_path_that_resembles_no_hook_has_no_hint(server: Server, path: str) -> None:
    """Scanners ask for anything; a long name is not compared at all."""
    with told() as facts:
        ask(server.address, post(path))

    assert "did you mean" not in facts[0][1]["reason"]


@pytest.mark.parametrize(("event", "is_test"), [("ping", True), ("push", False)])
def test_a_ping_of_github_is_known_as_one(send: Send, office: Office, event: str, *, is_test: bool) -> None:
    """It tries the hook, and needs no handler."""
    send("github", b"{}", signed(b"{}", X_GitHub_Event=event))

    assert is_test == office.events[0].is_test


def test_a_wrong_method_is_told_the_right_one(server: Server) -> None:
    """405 carries Allow: RFC 9110 section 15.5.6."""
    assert "POST" == ask(server.address, get("/hooks/open")).headers["allow"]
    assert "GET, HEAD" == ask(server.address, post("/healthz")).headers["allow"]


ASKED = [
    "/hooks/open",
    "/healthz",
    "/readyz",
    "/",
    "/hooks",
    "/hooks/",
    "/hooks/open/",
    "/hooks/open/x",
    "/hooks//open",
    "//hooks/open",
    "//healthz",
    "/healthz/",
    "/healthz/x",
    "/Healthz",
    "/%2Fhealthz",
    "/x/healthz",
    "/readyz/",
    "/static/x",
    "/favicon.ico",
    "/api/v1/status",
    "/api/v1/tasks",
    "/metrics",
    "/NAME",
    "/hooks/NAME/NAME",
]


def test_the_map_lists_every_path_that_answers_anything_but_404(office: Office, server: Server) -> None:
    """Whatever the method; what is not in it is not there, not even with a slash more."""
    found = {
        path
        for path in ASKED
        for method in (b"GET", b"POST", b"PUT", b"OPTIONS")
        if 404 != ask(server.address, get(path).replace(b"GET", method, 1)).status
    }

    assert ("/hooks/NAME", "/healthz", "/readyz") == office.app().paths
    assert {path.replace("NAME", "open") for path in office.app().paths} == found


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_head_is_answered_as_a_get_without_its_body(server: Server, office: Office, path: str) -> None:
    """RFC 9110 section 9.3.2; a body would be read as the next answer."""
    connection = HTTPConnection(*server.address, timeout=5)
    for reason in (None, "draining"):
        office.reason = reason
        seen = []
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, path)
            answer = connection.getresponse()
            kind, length = answer.headers["Content-Type"], int(answer.headers["Content-Length"])
            seen.append((answer.status, kind, length - len(answer.read())))
        status, kind, _ = seen[0]

        assert [status, status, status] == [one[0] for one in seen]
        assert [kind, kind, kind] == [one[1] for one in seen]
        assert [True, False, True] == [one[2] == 0 for one in seen]
    connection.close()


def test_nothing_is_parsed_before_it_is_verified(send: Send) -> None:
    """Bad JSON without a signature is 401, with one it is looked at and kept."""
    with told() as facts:
        forged = send("github", b"{", JSON)
        true = send("github", b"{", signed(b"{"))

    assert [401, 202] == [forged.status, true.status]
    assert ["event.refused", "event.unreadable"] == [fact for fact, _ in facts]


UNREADABLE: dict[str, tuple[bytes, str, str]] = {
    "cut short": (b'{"a":', "application/json", "not JSON"),
    "an empty body": (b"", "application/json", "empty"),
    "UTF-16": ("{}".encode("utf-16"), "application/json", "UTF-8"),
    "a key twice": (b'{"a":1,"a":2}', "application/json", "stands twice"),
    "NaN": (b'{"a":NaN}', "application/json", "NaN is not JSON"),
    "an unsigned number of 64 bits": (b'{"a":18446744073709551615}', "application/json", "64 bits"),
    "half an emoji": (b'{"a":"cut \\ud83d"}', "application/json", "surrogate"),
    "ISO-8859-1 without a word": (b'{"a":"J\xfcrgen"}', "application/json", "UTF-8"),
    "a charset nobody knows": (b"{}", "application/json; charset=x-mac", "expected a charset"),
    "brackets without end": (b"[" * 900, "application/json", "64 levels"),
    "bad vendor JSON": (b"{", "Application/Vnd.X+JSON; v=1", "not JSON"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_verified_delivery_is_stored_whatever_its_json_is(send: Send, office: Office, what: str) -> None:
    """GitHub never sends again; the handler that asks for the JSON is told what is wrong with it."""
    body, kind, reason = UNREADABLE[what]

    with told() as facts:
        answer = send("github", body, signed(body, Content_Type=kind))

    (event,) = office.events
    assert (202, "github.push", body) == (answer.status, event.topic, event.body)
    assert ["event.unreadable"] == [fact for fact, _ in facts]
    assert reason in facts[0][1]["reason"]
    with pytest.raises(ValueError, match="body: .*" + re.escape(reason)):
        _ = event.json


PAYLOAD = b"a=1&payload=%7B%22action%22%3A+%22opened%22%2C+%22n%22%3A+%22%C3%BC+%2B%22%7D&b=2"
READABLE: dict[str, tuple[bytes, str, dict[str, str]]] = {
    "a byte order mark": (b'\xef\xbb\xbf{"action":"opened"}', "application/json", {"action": "opened"}),
    "a charset": (
        b'{"action":"opened","n":"\xfc"}',
        'application/json; charset="ISO-8859-1"',
        {"action": "opened", "n": "\xfc"},
    ),
    "JSON as text": (b'{"action":"opened"}', "text/plain", {"action": "opened"}),
    "JSON without a type": (b'{"action":"opened"}', "", {"action": "opened"}),
    "a form of GitHub": (
        PAYLOAD,
        "application/x-www-form-urlencoded",
        {"action": "opened", "n": "\xfc +"},
    ),
}


@pytest.mark.parametrize("what", READABLE)
def test_json_is_found_however_it_was_sent(send: Send, office: Office, what: str) -> None:
    """By the topic's placeholders and by `event.json` alike."""
    body, kind, value = READABLE[what]
    office.hooks = {"github": hook("github", "github", SECRET, topic="github.{event}.{body:action}")}

    with told() as facts:
        send("github", body, signed(body, Content_Type=kind))

    (event,) = office.events
    assert ("github.push.opened", value) == (event.topic, event.json)
    assert [] == facts


@pytest.mark.parametrize("given", ["a" * 257, "caf\xe9"])
def test_an_odd_delivery_id_is_known_again_by_its_hash(send: Send, office: Office, given: str) -> None:
    """It cannot be stored as it is; the delivery is."""
    head = f"POST /hooks/open HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nIdempotency-Key: {given}\r\n\r\n"
    with serving(office.app()) as server, told() as facts:
        first, again = (ask(server.address, head.encode("latin-1")) for _ in range(2))

    assert [202, 200] == [first.status, again.status]
    assert "sha256:" == (office.events[0].delivery or "")[:7]
    assert {"delivery.renamed"} == {fact for fact, _ in facts}


def test_a_body_that_is_no_json_is_kept_as_it_is(send: Send, office: Office) -> None:
    """Forms, XML and the rest are the handler's to read."""
    assert 202 == send("open", b"\xff\x00<a/>", Content_Type="text/xml").status
    assert b"\xff\x00<a/>" == office.events[0].body


TOPICS: dict[str, tuple[str, bytes, str]] = {
    "a text": ("open.{body:a}", b'{"a": "b-c_d.e:f"}', "open.b-c_d.e:f"),
    "a number": ("{body:a}", b'{"a": 17}', "17"),
    "a truth": ("{body:a}", b'{"a": true}', "true"),
    "an item of a list": ("{body:a.1.b}", b'{"a": [1, {"b": "c"}]}', "c"),
    "the hook where the sender names no event": ("{name}.{event}", b"{}", "open.open"),
    "a header": ("{header:x-kind}", b"{}", "push"),
    "a parameter of the query": ("a.{query:kind}", b"{}", "a.x_y"),
    "a parameter that is a secret": ("a.{query:Token|none}", b"{}", "a.none"),
    "characters unfit for a topic": ("x.{body:a}", '{"a": "ä b/{name}\\n"}'.encode(), "x.__b__name__"),
    "a default for what is not there": ("gh.{event}.{body:action|none}", b'{"zen": "x"}', "gh.open.none"),
    "a default for what is empty or no text": ("{body:a|no}.{header:X-None|none}", b'{"a": ""}', "no.none"),
    "a value that is there, not its default": ("{body:action|none}", b'{"action": "opened"}', "opened"),
    "exactly 128 characters": ("{body:a}", b'{"a": "%s"}' % (b"a" * 128), "a" * 128),
}


@pytest.mark.parametrize("from_", TOPICS)
def test_a_topic_is_made_from(send: Send, office: Office, from_: str) -> None:
    """{event}, {name}, {header:X} and {body:dotted.path}."""
    template, body, topic = TOPICS[from_]
    office.hooks = {"open": hook("open", "none", topic=template)}

    answer = send("open?kind=x%20y&Token=hush", body, JSON, X_Kind="push")

    assert 202 == answer.status
    assert topic == office.events[0].topic


@pytest.mark.parametrize(
    ("template", "body"),
    [
        ("{body:a.b}", b'{"a": 1}'),
        ("{body:a}", b'{"a": null}'),
        ("{body:a}", b'{"a": ""}'),
        ("{body:a}", b'{"a": {"b": 1}}'),
        ("{body:a.2}", b'{"a": [1, 2]}'),
        ("{body:a.-1}", b'{"a": [1, 2]}'),
        ("{body:a}", b"17"),
        ("{header:X-None}", b"{}"),
        ("{header:Authorization}", b"{}"),
    ],
)
def test_a_topic_without_a_value_is_the_fallback(
    send: Send, office: Office, template: str, body: bytes
) -> None:
    """The fact names the placeholder. A secret header has no value for a topic."""
    office.hooks = {
        "open": hook("open", "none", topic=f"a.{template}", topic_fallback="{name}.other"),
    }

    with told() as facts:
        answer = send("open", body, JSON, Authorization="Bearer x")

    assert 202 == answer.status
    assert "open.other" == office.events[0].topic
    assert [("topic.missed", f"topic: the delivery has no value for {template}")] == [
        (fact, fields["reason"]) for fact, fields in facts
    ]


def test_a_topic_without_a_value_is_the_hook_s_name_by_default(send: Send, office: Office) -> None:
    """Nobody who is verified is turned away."""
    office.hooks = {"open": hook("open", "none", topic="a.{body:action}")}

    send("open", b"{}", JSON)

    assert "open" == office.events[0].topic


def test_a_topic_too_long_is_cut_with_a_hash(send: Send, office: Office) -> None:
    """At most 128 characters, and two that differ at their end only are still two."""
    office.hooks = {"open": hook("open", "none", topic="{body:a}")}

    with told() as facts:
        for end in (b"b", b"c", b"c"):
            send("open", b'{"a": "%s"}' % (b"a" * 128 + end), JSON)

    one, other, same = (event.topic for event in office.events)
    assert [128, 128] == [len(one), len(other)]
    assert "a" * 100 == one[:100]
    assert one != other == same
    assert ["topic.shortened"] * 3 == [fact for fact, _ in facts]


def test_secrets_in_headers_are_not_stored(send: Send, office: Office) -> None:
    """Redacted by pattern before the write: GitHub itself once sent the secret in a header."""
    kept = {"x-gitlab-event": "push", "user-agent": "x", "idempotency-key": "k-1"}
    dropped = ["Authorization", "Proxy-Authorization", "Cookie", "X-Gitlab-Token", "X-GitHub-Encoded-Secret"]
    dropped += ["X-Hub-Signature", "X-API-Key", "X-ApiKey", "X-Password", "X-$where", "X.dotted"]

    send("gitlab", b"", {**kept, **dict.fromkeys(dropped, "hush"), "X-Hello": "t0ken"})

    (event,) = office.events
    assert {**kept, "host": "monqbus.test", "content-length": "0"} == event.headers
    assert "k-1" == event.delivery


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("{header:X-Id}", "h-1"),
        ("{body:run.id}", "7"),
        ("{query:id}", "q-1"),
        ("{header:X-Id}/{body:run.id}", "h-1/7"),
        ("{header:X-None|{}}".replace("{}", "same"), "same"),
        ("{header:X-None}", None),
    ],
)
def test_a_hook_may_say_where_its_deliveries_have_their_id(
    server: Server, office: Office, place: str, expected: str | None
) -> None:
    """For senders that have no row of their own; a placeholder without a value is no id."""
    office.hooks["own"] = hook("own", "none", delivery_id=place)
    headers = {**JSON, "X-Id": "h-1"}
    answer = ask(server.address, post("/hooks/own?id=q-1", b'{"run": {"id": 7}}', headers))

    assert 202 == answer.status
    assert [(expected, expected and f"own:{expected}")] == [(one.delivery, one.key) for one in office.events]


@pytest.mark.parametrize(
    ("verify", "settings", "is_guarded"),
    [
        ("github", {}, True),
        ("github", {"replay_guard": False}, False),
        ("github", {"on_duplicate": "accept"}, False),
        ("github", {"delivery_id": "{body:id}"}, False),
        ("token", {"delivery_id": "{header:X-Id}"}, False),
        ("none", {"delivery_id": "{header:X-Id}"}, False),
    ],
)
def test_an_id_that_nobody_signed_is_backed_by_the_hash_of_the_body(
    send: Send, office: Office, verify: str, settings: dict[str, Any], is_guarded: bool
) -> None:
    """Where the body is signed and the id is not; the holder of a token could change both."""
    secrets = () if verify == "none" else (SECRET,)
    office.hooks["own"] = hook("own", verify, *secrets, **settings)
    send("own", b"{}", {**signed(b"{}"), "Authorization": f"Bearer {SECRET}"})

    (event,) = office.events
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert (f"own:{digest}" if is_guarded else None) == event.guard


def test_a_sender_that_signs_its_id_needs_no_guard() -> None:
    """Nobody can send a recorded delivery under another id."""
    proven = {name for name, row in SENDERS.items() if row.proves("body:") and not is_guarded("", row)}

    assert proven >= {"standard", "svix", "slack", "stripe", "pagerduty", "vercel", "twitch", "discord"}
    assert proven.isdisjoint(
        {"github", "gitea", "forgejo", "gogs", "bitbucket", "jira", "shopify", "hookdeck", "twilio"}
    )


def test_the_guard_of_a_signed_url_is_that_of_url_and_body() -> None:
    """Two requests with one body and two addresses are two deliveries; fields in another order are one."""
    sender = SENDERS["twilio"]
    form = {"content-type": FORM}

    def guard(url: str, body: bytes) -> str | None:
        request = Request("POST", url, form, body)
        return identify(hook("sms", "twilio", SECRET), sender, request, lambda _: None, lambda: None).guard

    assert guard("https://a/x", b"a=1&b=2") == guard("https://a/x", b"b=2&a=1")
    assert guard("https://a/x", b"a=1&b=2") != guard("https://a/y", b"a=1&b=2")
    assert guard("https://a/x", b"a=1&b=2") != guard("https://a/x", b"a=1&b=3")


def test_the_hash_of_a_long_body_is_that_of_all_of_it() -> None:
    """It is made piece by piece, so that the hub turns meanwhile."""
    pauses: list[None] = []
    body = bytes(range(256)) * (3 * SLICE_BYTES // 256) + b"end"
    hashed = _hash(body, lambda: pauses.append(None))

    assert sha256(body).hexdigest() == hashed
    assert 3 == len(pauses)


def test_a_hook_may_accept_the_same_delivery_again(send: Send, office: Office) -> None:
    """on_duplicate = accept: the id is known, and no key."""
    office.hooks["own"] = hook("own", "github", SECRET, on_duplicate="accept")
    answers = [send("own", b"{}", signed(b"{}")) for _ in range(2)]

    assert [202, 202] == [answer.status for answer in answers]
    assert 1 == len({event.delivery for event in office.events})
    assert 2 == len({event.key for event in office.events})


def test_an_answer_says_how_many_failed_tasks_wait_again(send: Send, office: Office) -> None:
    """Beside the first ids."""
    office.retried = 2
    send("open", Idempotency_Key="k-1")
    answer = send("open", Idempotency_Key="k-1")

    assert (200, True, 2) == (answer.status, answer.json["duplicate"], answer.json["retried"])


def test_without_an_id_every_delivery_is_an_event_of_its_own(send: Send, office: Office) -> None:
    """No id given, no duplicates recognised."""
    send("open")
    send("open")

    assert [None, None] == [event.delivery for event in office.events]


def test_a_store_that_does_not_answer_is_not_the_sender_s_fault(send: Send, office: Office) -> None:
    """503 with Retry-After: the sender comes again, and the delivery id makes that safe."""
    office.failure = StoreUnavailable("store: mongodb://user:hush@db does not answer")

    with told() as facts:
        answer = send("open")

    assert (503, "store_unavailable", "3") == (
        answer.status,
        answer.json["code"],
        answer.headers["retry-after"],
    )
    assert b"hush" not in answer.body
    assert [("open", 503)] == [(fields["hook"], fields["status"]) for _, fields in facts]


def test_an_error_nobody_expected_is_500_without_a_word(send: Send, office: Office) -> None:
    """The traceback is the log's."""
    office.failure = RuntimeError("hush")

    answer = send("open")

    assert (500, "internal_error") == (answer.status, answer.json["code"])
    assert b"hush" not in answer.body


def test_the_process_says_that_it_is_alive_and_whether_it_is_ready(server: Server, office: Office) -> None:
    """/healthz touches nothing, /readyz gives the reason to a program on this machine."""
    assert (200, {"status": "ready"}) == _look(server, "/readyz")

    office.reason = "draining"

    assert (200, {"status": "ok"}) == _look(server, "/healthz")
    assert "draining" == _look(server, "/readyz")[1]["detail"]
    assert 503 == _look(server, "/readyz")[0]


def test_a_probe_is_not_an_event(server: Server, office: Office) -> None:
    """One comes every few seconds: the log would be full of them when it matters."""
    office.reason = "draining"

    with told() as facts:
        assert 503 == _look(server, "/readyz")[0]
    assert [] == facts


def test_a_store_that_is_damaged_is_answered_as_one_that_is_away(send: Send, office: Office) -> None:
    """The sender comes again; by then somebody may have put a backup in its place."""
    office.failure = StoreUnusable("damaged")

    assert (503, "store_unavailable") == ((answer := send("open")).status, answer.json["code"])


def test_a_draining_daemon_still_takes_what_it_can_store(send: Send, office: Office) -> None:
    """A delivery on an open connection is better stored than sent back."""
    office.reason = "draining"

    assert 202 == send("open").status


def test_hooks_are_swapped_between_two_deliveries(server: Server, office: Office) -> None:
    """A reload needs no new connection."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/hooks/new"))
        assert 404 == stranger.answer().status

        office.hooks = {"new": hook("new", "none")}
        stranger.send(post("/hooks/new"))

        assert 202 == stranger.answer().status


def _look(server: Server, path: str, host: str = "127.0.0.1") -> tuple[int, Any]:
    answer = ask(server.address, get(path).replace(b"Host: monqbus.test", f"Host: {host}".encode()))
    return answer.status, json.loads(answer.body)


# what the head decides


CONDEMNED: dict[str, tuple[str, dict[str, str], int, str]] = {
    "no signature": ("github", JSON, 401, "missing"),
    "a signature of another kind": ("github", {"X-Hub-Signature-256": "sha1=00"}, 401, "malformed"),
    "no token": ("bearer", {}, 401, "missing"),
    "a wrong token": ("bearer", {"Authorization": "Bearer t0ken2"}, 401, "wrong"),
    "another way of proving oneself": ("bearer", {"Authorization": "Basic t0ken"}, 401, "malformed"),
    "a wrong token in a header of its own": ("gitlab", {"X-Hello": "t0ken2"}, 401, "wrong"),
    "no time": ("standard", {"webhook-id": "a", "webhook-signature": "v1,AAAA"}, 401, "missing"),
    "a time that is none": (
        "standard",
        {"webhook-id": "a", "webhook-timestamp": "now", "webhook-signature": "v1,AAAA"},
        401,
        "malformed",
    ),
    "a time long ago": (
        "standard",
        {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"},
        401,
        "stale",
    ),
    "no secret here": ("closed", {}, 503, "hook: not usable, its secret is missing"),
    "an unknown hook": ("nobody", {}, 404, "hook: there is none of this name"),
    "a compressed body": (
        "open",
        {"Content-Encoding": "gzip"},
        415,
        "header Content-Encoding: send the body uncompressed",
    ),
    "a body too large": ("open", {"Content-Length": "1001"}, 413, f"body: at most {MAX_BODY} bytes"),
}


@pytest.mark.parametrize(
    ("what", "is_chunked"),
    [(what, is_chunked) for what in CONDEMNED for is_chunked in (False, True) if what != "a body too large"]
    + [("a body too large", False)],
)
def test_what_the_head_decides_is_answered_before_the_body_comes(
    server: Server, what: str, is_chunked: bool
) -> None:
    """A body costs memory and patience: whoever cannot be let in is told so at once, and hung up."""
    name, headers, status, reason = CONDEMNED[what]
    length = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": "900"}
    lines = [f"{key}: {value}" for key, value in {"Host": "a", **length, **headers}.items()]

    with told() as facts, Stranger(server.address) as stranger:
        stranger.send("\r\n".join([f"POST /hooks/{name} HTTP/1.1", *lines, "", ""]).encode())
        answer = stranger.answer()

        assert status == answer.status
        assert answer.is_last
        stranger.half_close()
        assert stranger.ends_in_order()
    assert [reason] == [fields["reason"] for _, fields in facts]


def test_a_chunk_too_large_is_refused_when_it_is_announced(server: Server) -> None:
    """Nothing of it need come: whoever waits for it waits for the time limit of bodies."""
    head = b"POST /hooks/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Stranger(server.address) as stranger:
        stranger.send(head + b"10\r\n" + b"x" * 16 + b"\r\n%x\r\n" % (MAX_BODY - 15))
        answer = stranger.answer()

    assert (413, "body_too_large") == (answer.status, answer.json["code"])


@pytest.mark.parametrize("name", ["Expect", "Content-Encoding"])
def test_an_empty_header_is_as_none(send: Send, office: Office, name: str) -> None:
    """Proxies make them of headers that they take away."""
    assert 202 == send("open", b"x", {name: ""}).status
    assert [b"x"] == [event.body for event in office.events]


def test_a_header_is_kept_as_its_sender_wrote_it(server: Server, office: Office) -> None:
    """In UTF-8, or in Latin-1 where it is not that."""
    lines = "X-Author: J\xfcrgen \u2013 \u20ac\r\n".encode() + b"X-Old: J\xfcrgen\r\n"

    ask(server.address, post("/hooks/open").replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n"))

    (event,) = office.events
    assert ("J\xfcrgen \u2013 \u20ac", "J\xfcrgen") == (event.headers["x-author"], event.headers["x-old"])


def test_the_query_is_kept_without_its_secrets(send: Send, office: Office) -> None:
    """Any name, percent-decoded, a repeated one joined; what looks like a secret is not stored."""
    send("open?project.id=7&env=p%20r%C3%BC&$a=&x=1&x=2&token=hush&access_token=hush&api_key=hush&sig=hush")

    assert {"project.id": "7", "env": "p r\xfc", "$a": "", "x": "1,2"} == office.events[0].query


def test_who_asks_before_sending_is_not_let_send_what_the_head_condemns(server: Server) -> None:
    """Expect: 100-continue saves the sender the body, too."""
    asking = {"Content-Length": "900", "Expect": "100-continue"}
    with Stranger(server.address) as stranger:
        stranger.send(post("/hooks/bearer", b"", asking))

        assert 401 == stranger.answer().status


def test_a_true_token_is_asked_for_its_body(server: Server, office: Office) -> None:
    asking = {"Content-Length": "2", "Expect": "100-continue", "Authorization": "Bearer t0ken"}
    with Stranger(server.address) as stranger:
        stranger.send(post("/hooks/bearer", b"", asking))
        assert 100 == stranger.answer().status

        stranger.send(b"{}")

        assert 202 == stranger.answer().status
    assert [b"{}"] == [event.body for event in office.events]
