"""The delivery log at the public listener: what is recorded, what never is, and what a flood costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from bus import networks
from bus.clock import FrozenClock
from bus.config import Hook, Secret
from bus.daemon.url_maps import public_urls
from bus.delivery_record import Delivery, Keep
from bus.errors import Refused, StoreUnavailable
from bus.http import Server
from bus.model import Event, Receipt
from bus.regex import searching
from bus.webhook.delivery_log import (
    LONGEST_BODY,
    MOST_BODY_BYTES,
    MOST_HELD,
    MOST_OF_KIND,
    TRIM_SECONDS,
    DeliveryLog,
    Extent,
    parse_query,
)
from bus.webhook.redaction import LONGEST_VALUE, MOST_HEADERS, REDACTED, redacted

from .stranger import Answer, ask, get, post, serving, told
from .test_webhook import signed

SECRET = "s3cret"
TOKEN = "a-token-of-the-operator-0123456789"
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
MARK = "M4RK"


class Written:
    """What a log has written, call by call; `failure` is raised in its place."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[Delivery], Keep | None]] = []
        self.failure: Exception | None = None

    def __call__(self, records: Sequence[Delivery], keep: Keep | None) -> None:
        if self.failure is not None:
            raise self.failure
        self.calls.append((list(records), keep))

    @property
    def records(self) -> list[Delivery]:
        return [one for records, _ in self.calls for one in records]


@pytest.fixture
def written() -> Written:
    return Written()


NewLog = Callable[..., DeliveryLog]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def new_log(written: Written, clock: FrozenClock) -> NewLog:
    def new(**extent: Any) -> DeliveryLog:
        return DeliveryLog(written, clock, Extent(**{"most": 1000, "size": 2**20, **extent}))

    return new


class Door:
    """The public listener with a log. Each second delivery of one id is a repetition."""

    def __init__(self, log: DeliveryLog, clock: FrozenClock) -> None:
        self.log = log
        self.events: list[Event] = []
        hooks = {
            "github": Hook("github", "github", (Secret(SECRET),)),
            "bearer": Hook("bearer", "token", (Secret(SECRET),)),
            "own": Hook("own", "token", (Secret(SECRET),), header="X-Custom"),
            "chat": Hook("chat", "whatsapp", (Secret(SECRET),), verify_token=(Secret(TOKEN),)),
            "near": Hook("near", "token", (Secret(SECRET),), allow_ips=(networks.network("192.0.2.0/24"),)),
        }
        self.urls = public_urls(
            hooks=lambda: hooks,
            publish=self.publish,
            ready=lambda: None,
            clock=clock,
            max_body=200_000,
            log=log,
        )
        self.address: Any = None

    def publish(self, event: Event) -> Receipt:
        for first in self.events:
            if first.key == event.key:
                return Receipt(first.task_ids, first.id, duplicate=True, retried=1)
        self.events.append(event)
        return Receipt([], event.id)

    def send(self, path: str, body: bytes = b"{}", **headers: str) -> Answer:
        return ask(
            self.address, post(path, body, {name.replace("_", "-"): headers[name] for name in headers})
        )


@pytest.fixture
def new_door(new_log: NewLog, clock: FrozenClock) -> Iterator[Callable[..., Door]]:
    servers: list[Any] = []

    def new(**extent: Any) -> Door:
        door = Door(new_log(**extent), clock)
        serving_it = serving(door.urls)
        server: Server = serving_it.__enter__()
        servers.append(serving_it)
        door.address = server.address
        return door

    yield new
    for one in servers:
        one.__exit__(None, None, None)


# what is recorded


def test_a_refused_delivery_is_recorded_with_its_reason(new_door: Any, written: Written) -> None:
    """More than its sender is told: which step failed, and whose it was."""
    door = new_door()
    answer = door.send(
        "/hooks/github?source=a&b=c", b"{...}", X_Hub_Signature_256="sha256=00", User_Agent="curl"
    )
    door.log.flush()

    (record,) = written.records
    assert (401, "refused", "github", "POST", "/hooks/github", "127.0.0.1", "not_verified", "wrong", 5) == (
        answer.status, record.outcome, record.hook, record.method, record.path, record.peer, record.code,
        record.reason, record.size,
    )  # fmt: skip
    assert "curl" == record.headers["user-agent"]
    assert ["source", "b"] == record.parameters
    assert answer.headers["x-request-id"] == record.request
    assert b"" == record.body


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (post("/hooks/nobody", b"{}"), 404, "unknown_hook"),
        (get("/hooks/github"), 405, "method_not_allowed"),
        (get("/hooks/chat?hub.mode=subscribe&hub.verify_token=no&hub.challenge=1"), 403, "wrong_token"),
        (post("/hooks/near", b"{}"), 403, "address_not_allowed"),
        (post("/hooks/bearer", b"x" * 200_001), 413, "body_too_large"),
        (post("/hooks/bearer", b"{}", {"Content-Encoding": "gzip"}), 415, "unsupported_encoding"),
    ],
)
def test_each_refusal_at_a_hook_is_recorded(
    new_door: Any, written: Written, request_bytes: bytes, status: int, code: str
) -> None:
    """Whatever it is for."""
    door = new_door()
    answer = ask(door.address, request_bytes)
    door.log.flush()

    assert status == answer.status
    assert [(status, answer.json["code"])] == [(one.status, one.code) for one in written.records]


def test_a_repetition_is_recorded_with_the_event_that_it_repeats(new_door: Any, written: Written) -> None:
    """What was accepted is its event and has no record."""
    door = new_door()
    for _ in range(2):
        door.send("/hooks/github", b"{}", **signed(b"{}"))
    door.log.flush()

    (record,), (event,) = written.records, door.events
    assert ("repeated", 200, event.id, event.delivery) == (
        record.outcome, record.status, record.event_id, record.delivery,
    )  # fmt: skip
    assert "1 failed tasks wait again" == record.reason
    assert "127.0.0.1" == event.peer


def test_an_answered_handshake_is_recorded_without_its_token(new_door: Any, written: Written) -> None:
    """It stores no event; who sets a hook up sees that the sender has asked."""
    door = new_door()
    query = f"hub.mode=subscribe&hub.verify_token={TOKEN}&hub.challenge=12345"
    answer = ask(door.address, get(f"/hooks/chat?{query}"))
    door.log.flush()

    (record,) = written.records
    assert (200, "answered", 200, "chat", "GET", None) == (
        answer.status, record.outcome, record.status, record.hook, record.method, record.event_id,
    )  # fmt: skip
    assert ["hub.mode", "hub.verify_token", "hub.challenge"] == record.parameters
    assert TOKEN not in str(record)


def test_a_refused_address_is_recorded(new_door: Any, written: Written) -> None:
    """Behind a proxy the peer is that, and the reason has the client."""
    door = new_door()
    door.send("/hooks/near")
    door.log.flush()

    (record,) = written.records
    reason = "delivery: the hook takes none from this address; the client is 127.0.0.1"
    assert ("address_not_allowed", reason) == (record.code, record.reason)


def test_without_room_nothing_is_recorded(new_door: Any, written: Written) -> None:
    """delivery_log = 0: what an earlier run has recorded goes, once."""
    door = new_door(most=0)
    door.send("/hooks/github")
    for _ in range(3):
        door.log.tick()

    assert [([], 0)] == [(records, keep and keep.most) for records, keep in written.calls]


# what never is


def test_no_secret_of_a_refused_delivery_is_recorded(new_door: Any, written: Written) -> None:
    """In none of its headers, nor in the query, whatever they are called."""
    door = new_door(is_secret=searching("^x-odd"), bodies=False)
    names = (
        "Authorization", "Proxy-Authorization", "Cookie", "X-Hub-Signature", "X-Hub-Signature-256",
        "X-Signature",
        "Stripe-Signature", "Webhook-Signature", "Svix-Signature", "X-Gitlab-Token", "X-Api-Key", "Api_Key",
        "X-Auth", "X-Session-Id", "X-Secret-Thing", "X-Twilio-Email-Event-Webhook-Signature",
        "X-Slack-Signature",
        "X-Shopify-Hmac-Sha256", "Digest", "X-Password", "X-Jwt", "Referer", "X-Original-Url", "Set-Cookie",
        "X-Odd-One", "X-Vault-Credential", "X-Custom",
    )  # fmt: skip
    for hook in ("github", "bearer", "own"):
        headers = {name: f"{MARK}-{number}" for number, name in enumerate(names)}
        headers["X-Plain"] = f"holds {SECRET}, the hook's own"
        fields = {**headers, "Content-Type": "application/json"}
        if hook != "own":
            del fields["X-Custom"]
        path = f"/hooks/{hook}?token={MARK}&key={MARK}&x={MARK}&{MARK}&{MARK}="
        assert 401 == ask(door.address, post(path, MARK.encode(), fields)).status
    door.log.flush()

    shown = repr(written.records)
    assert 3 == len(written.records)
    assert (False, False) == (MARK in shown, SECRET in shown)
    assert {"application/json"} == {one.headers["content-type"] for one in written.records}
    assert all(REDACTED == one.headers["authorization"] for one in written.records)
    assert [["token", "key", "x"]] * 3 == [one.parameters for one in written.records]


def test_a_repetition_shows_no_header_that_its_operator_hides(new_log: NewLog, written: Written) -> None:
    """Those of an event are without its proof already."""
    log = new_log(is_secret=searching("odd"))
    event = Event(FrozenClock().new_id(), "a", NOW, hook="x", delivery="1", headers={"x-odd": MARK, "b": "c"})
    log.repeated({}, event, Receipt([], event.id))
    log.flush()

    assert [{"x-odd": REDACTED, "b": "c"}] == [one.headers for one in written.records]


def test_what_strangers_send_is_bounded() -> None:
    """In number and in length."""
    many = {f"x-{number}": "v" * 10_000 for number in range(500)}
    shown = redacted(many, ())

    assert MOST_HEADERS == len(shown)
    assert {LONGEST_VALUE} == {len(value) for value in shown.values()}
    assert 32 == len(parse_query("&".join(f"a{number}=1" for number in range(900))))
    assert [] == parse_query("&".join("a=1" for _ in range(5000)))


def test_surrogates_and_control_characters_can_be_stored(new_log: NewLog, written: Written) -> None:
    """A path is what its sender made of it."""
    log = new_log()
    environ = {"PATH_INFO": "/hooks/\udcff\x00\x1b[31m", "HTTP_X": "\x9b", "QUERY_STRING": "%ff\udcff=1"}
    log.refused(environ, Refused(404, "unknown_hook", "hook: there is none"))
    log.flush()

    (record,) = written.records
    assert "/hooks/\\udcff\x00\x1b[31m" == record.path
    json.dumps([record.path, record.headers, record.parameters]).encode()


# bodies


def refusal(body: bytes = b"") -> Refused:
    found = Refused(401, "not_verified", "delivery: its sender could not be verified")
    found.body = body
    return found


@pytest.mark.parametrize(
    ("bodies", "size", "kept"),
    [(True, LONGEST_BODY, True), (True, LONGEST_BODY + 1, False), (False, 9, False)],
)
def test_a_refused_body_is_kept_by_switch_and_up_to_64_kib(
    new_log: NewLog, written: Written, bodies: bool, size: int, kept: bool
) -> None:
    """Whole or not at all; its size is known anyway."""
    log = new_log(bodies=bodies)
    log.refused({}, refusal(b"x" * size))
    log.flush()

    (record,) = written.records
    assert (size, size if kept else 0) == (record.size, len(record.body))


def test_bodies_that_wait_have_a_bound_of_their_own(new_log: NewLog, written: Written) -> None:
    """A store that is away must not fill the memory; when it is back there is room again."""
    log = new_log(bodies=True)
    for number in range(200):
        log.refused({}, Refused(400, f"code_{number}", "x"))
        found = refusal(b"x" * LONGEST_BODY)
        found.code = f"body_{number}"
        log.refused({}, found)
    log.flush()
    log.refused({}, refusal(b"again"))
    log.flush()

    assert MOST_BODY_BYTES == sum(len(one.body) for one in written.calls[0][0])
    assert [b"again"] == [one.body for one in written.calls[1][0]]


# a flood


def test_a_flood_costs_one_write_and_ten_records(new_log: NewLog, written: Written) -> None:
    """The last of them says how many more there were; another kind beside it is seen."""
    log = new_log()
    for _ in range(100_000):
        log.refused({}, refusal())
    log.refused({}, Refused(404, "unknown_hook", "hook: there is none of this name"))
    log.tick()

    ((records, _),) = written.calls
    assert [MOST_OF_KIND, 1] == [sum(one.status == status for one in records) for status in (401, 404)]
    assert 100_000 - MOST_OF_KIND == sum(one.omitted for one in records)
    assert records[MOST_OF_KIND - 1].omitted == 100_000 - MOST_OF_KIND


def test_nothing_to_record_writes_nothing(new_log: NewLog, written: Written, clock: FrozenClock) -> None:
    """But once a minute, when old records are let go."""
    log = new_log(age=timedelta(days=3))
    for _ in range(int(2 * TRIM_SECONDS)):
        log.tick()
        clock.advance(1)

    assert [([], Keep(NOW - timedelta(days=3), 1000, 2**20)), []] == [
        written.calls[0], [records for records, _ in written.calls[2:]],
    ]  # fmt: skip
    assert 2 == len(written.calls)


def test_a_ring_is_trimmed_when_a_tenth_of_it_is_new(new_log: NewLog, written: Written) -> None:
    """So that it stays near its size between two minutes."""
    log = new_log(most=1000)
    log.tick()
    for number in range(201):
        log.refused({}, Refused(400, f"code_{number}", "x"))
        log.flush()

    trims = [number for number, (_, keep) in enumerate(written.calls) if keep is not None]
    assert [0, 102] == trims


def test_a_store_that_is_away_gets_the_records_later(new_log: NewLog, written: Written) -> None:
    """As many as wait; it is told once."""
    log = new_log()
    written.failure = StoreUnavailable("store: away")
    with told() as facts:
        for number in range(MOST_HELD + 50):
            log.refused({}, Refused(400, f"code_{number}", "x"))
            log.flush()
    written.failure = None
    log.flush()

    assert ["deliveries.unrecorded"] == [name for name, _ in facts]
    assert [f"code_{number}" for number in range(MOST_HELD)] == [one.code for one in written.records]
