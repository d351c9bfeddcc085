"""What senders ask before they send: answered as they say, to nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.clock import FrozenClock
from bus.config import Hook, Secret
from bus.daemon.url_maps import public_urls
from bus.http import Server
from bus.model import Event, Receipt
from bus.senders import SENDERS
from bus.webhook.delivery import NOT_THE_SENDERS
from bus.webhook.once import Once
from bus.webhook.request import Request
from bus.webhook.sign import sign
from bus.webhook.signed import Mismatch
from tests import deliveries
from tests.deliveries import DELIVERIES, KEY, URL

from .stranger import Answer, Stranger, serving, told

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
WORD = "a-word-of-our-own"


def hook(name: str, **settings: Any) -> Hook:
    delivery = DELIVERIES.get(name, DELIVERIES["token"])
    given = {"verify": name, "public_url": URL if name in ("trello", "twilio") else "", **settings}
    return Hook(name=name, secrets=(Secret(delivery.secret),), verify_token=(Secret(WORD),), **given)


BODIES = [
    b'{"type": 1}', b'{"type": "url_verification"}', b'{"type": "url_verification", "challenge": [1]}',
    b"[" * 70, b'{"event": "endpoint.url_validation", "payload": "x"}', b'{"value": 1}', b'[{"data": null}]',
]  # fmt: skip
ASKING = [name for name, sender in SENDERS.items() if sender.handshakes]
HOOKS = [
    *(hook(name) for name in ASKING),
    hook("github"),
    hook("puts", verify="token", methods=("PUT", "GET", "HEAD")),
    hook("door", verify="token", query="k", methods=("POST", "GET")),
    Hook(name="open", verify="none", methods=("POST", "GET")),
]


class Office:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.hooks = {one.name: one for one in HOOKS}

    def publish(self, event: Event) -> Receipt:
        self.events.append(event)
        return Receipt([], event.id)


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def server(office: Office) -> Iterator[Server]:
    app = public_urls(
        hooks=lambda: office.hooks,
        publish=office.publish,
        ready=lambda: None,
        remark=lambda: None,
        clock=FrozenClock(NOW),
        max_body=100_000,
    )
    with serving(app) as server:
        yield server


Ask = Callable[..., Answer]


@pytest.fixture
def ask(server: Server) -> Ask:
    """Send a request to /hooks/NAME on a connection of its own."""

    def ask(name: str, method: str, body: bytes = b"", headers: Any = None, **query: str) -> Answer:
        path = f"/hooks/{name}?{urlencode(query)}" if query else f"/hooks/{name}"
        fields = {"Host": "monqbus.test", "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in fields.items())]
        with Stranger(server.address) as stranger:
            stranger.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
            return stranger.answer(has_body=method != "HEAD")

    return ask


@pytest.fixture
def ask_signed(ask: Ask) -> Ask:
    """Post *content* as the sender *name* signs it."""

    def ask_signed(name: str, content: Any, headers: Any = None, **query: str) -> Answer:
        delivery = DELIVERIES[name]
        request = Request("POST", URL, headers or {}, json.dumps(content).encode(), NOW.timestamp())
        made = sign(SENDERS[name], delivery.signs or delivery.secret, request)
        return ask(name, "POST", made.body, made.headers, **query)

    return ask_signed


def is_text(answer: Answer, text: str) -> bool:
    return (200, "text/plain", "nosniff", text.encode()) == (
        answer.status,
        answer.headers["content-type"],
        answer.headers["x-content-type-options"],
        answer.body,
    )


def mac(text: str) -> bytes:
    return hmac.new(KEY.encode(), text.encode(), hashlib.sha256).digest()


def test_slack_gets_its_challenge_once_it_is_proven(ask: Ask, ask_signed: Ask, office: Office) -> None:
    """As text/plain, 200, and no event."""
    content = {"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY"}

    with told() as facts:
        answer = ask_signed("slack", content)

    assert is_text(answer, "3eZbrw1aBm2rZgRNFdxV2595E9CY")
    assert [("handshake.answered", "slack")] == [(fact, one["hook"]) for fact, one in facts]
    assert 401 == ask("slack", "POST", json.dumps(content).encode()).status
    assert [] == office.events


def test_zoom_gets_its_token_and_the_mac_of_it(ask: Ask, ask_signed: Ask) -> None:
    """Published example of the token; the MAC by the hook's secret, in hex."""
    token = "qgg8vlvZRS6UYooatFL8Aw"
    content = {"event": "endpoint.url_validation", "payload": {"plainToken": token}}

    answer = ask_signed("zoom", content)

    assert {"plainToken": token, "encryptedToken": mac(token).hex()} == answer.json
    assert ("application/json", "nosniff") == (
        answer.headers["content-type"],
        answer.headers["x-content-type-options"],
    )
    assert 401 == ask("zoom", "POST", json.dumps(content).encode()).status


def test_the_derived_vector_of_zoom_is_answered() -> None:
    """The MAC of a token under a known secret."""
    expected = "83b2a60d4bbe49dc93763ed9e727a9a7690cbe4c1f8bb0adc0ffccd09ecb1384"

    assert expected == hmac.new(b"zoomsecret", b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()


def test_what_is_signed_for_x_or_zoom_is_no_delivery(ask: Ask, ask_signed: Ask) -> None:
    """A MAC of what a stranger likes would be the signature of a delivery that the stranger likes."""
    for token in ('{"for_user_id": "1"}', "v0:1767225600:{}", "a=b&c", "a b", "x" * 300, "\u00e9"):
        assert 400 == ask("x", "GET", crc_token=token).status
        content = {"event": "endpoint.url_validation", "payload": {"plainToken": token}}
        assert 400 == ask_signed("zoom", content).status


def test_x_gets_the_mac_of_its_token(ask: Ask) -> None:
    """In base64 behind sha256=."""
    token = "OTQ0NDUzMzI3"

    answer = ask("x", "GET", crc_token=token, nonce="1")

    assert {"response_token": "sha256=" + base64.b64encode(mac(token)).decode()} == answer.json


def test_twitch_gets_its_challenge_once_it_is_proven(ask_signed: Ask, office: Office) -> None:
    """By the type of its message; what else it sends is an event."""
    challenge = {
        "twitch-eventsub-message-id": "1",
        "twitch-eventsub-message-type": "webhook_callback_verification",
        "twitch-eventsub-subscription-type": "channel.follow",
    }
    revoked = {**challenge, "twitch-eventsub-message-type": "revocation"}

    assert is_text(
        ask_signed("twitch", {"challenge": "pogchamp-kappa-360noscope"}, challenge),
        "pogchamp-kappa-360noscope",
    )
    assert 202 == ask_signed("twitch", {"challenge": "x"}, revoked).status
    assert 1 == len(office.events)


def test_discord_gets_its_pong_once_it_is_proven(ask: Ask, ask_signed: Ask, office: Office) -> None:
    """Type 1 of interactions; the ping of webhook events has type 0 and gets 204."""
    pytest.importorskip("cryptography")
    event = {"version": 1, "type": 1, "event": {"type": "APPLICATION_AUTHORIZED"}}

    assert {"type": 1} == ask_signed("discord", {"type": 1, "id": "1", "application_id": "2"}).json
    assert {"type": 1} == ask_signed("discord", {"type": 1}).json
    assert (204, b"") == (ask_signed("discord", {"type": 0}).status, ask_signed("discord", {"type": 0}).body)
    assert 401 == ask("discord", "POST", b'{"type":1}').status
    assert [] == office.events
    assert 202 == ask_signed("discord", event).status
    assert 202 == ask_signed("discord", {"type": 2, "id": "1"}).status


@pytest.mark.parametrize("name", ["meta", "whatsapp"])
def test_meta_gets_its_challenge_for_the_word_we_gave_it(ask: Ask, name: str) -> None:
    """403 for another word: whoever asks is told nothing else."""
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}

    assert is_text(ask(name, "GET", **query, **{"hub.verify_token": WORD}), "1158201444")
    for other in ("", WORD[:-1], WORD + "x", "\u00e9\ud7ff"):
        refused = ask(name, "GET", **query, **{"hub.verify_token": other})
        assert (403, "wrong_token") == (refused.status, refused.json["code"])
    assert 403 == ask(name, "GET", **query).status


def test_dropbox_gets_its_challenge(ask: Ask) -> None:
    """As text that no browser takes for a page; the query is percent-decoded once."""
    assert is_text(ask("dropbox", "GET", challenge="a b&c"), "a b&c")
    assert is_text(ask("dropbox", "GET", challenge="<script>alert(1)</script>"), "<script>alert(1)</script>")


def test_microsoft_gets_its_token_decoded(ask: Ask, office: Office) -> None:
    """Of an empty POST alone: a notification with the parameter is verified as any other."""
    token = "Validation: Testing client application reachability"
    body = json.dumps({"value": [{"clientState": "guessed"}]}).encode()

    assert is_text(ask("ms-graph", "POST", validationToken=token), token)
    assert 401 == ask("ms-graph", "POST", body, validationToken=token).status
    assert [] == office.events


def test_okta_gets_its_challenge(ask: Ask) -> None:
    """From a header into JSON."""
    answer = ask("okta", "GET", headers={"X-Okta-Verification-Challenge": "abc"})

    assert {"verification": "abc"} == answer.json


def test_event_grid_gets_its_code_once_it_is_proven(ask: Ask, ask_signed: Ask) -> None:
    """The subscription is made by it."""
    content = [
        {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d"}}
    ]
    headers = {"aeg-event-type": "SubscriptionValidation"}

    assert {"validationResponse": "512d"} == ask_signed("event-grid", content, headers).json
    assert 401 == ask("event-grid", "POST", json.dumps(content).encode(), headers).status


def test_trello_and_mailchimp_only_look_whether_somebody_is_there(ask: Ask, office: Office) -> None:
    """By HEAD, and by GET with the token."""
    assert 200 == ask("trello", "HEAD").status
    assert 200 == ask("mailchimp", "GET", secret=KEY).status
    assert 401 == ask("mailchimp", "GET", secret="guessed").status
    assert [] == office.events


def test_asana_gets_its_secret_back_before_the_hook_knows_it(ask: Ask, office: Office) -> None:
    """In the header alone, and by a closed hook too; what is signed with it then is refused all the same."""
    made, asks = "b537207f20cbfa02357cf448134da559", "X-Hook-Secret"
    closed = Hook(name="new", verify="asana", secrets=(Secret(KEY),), fault="file asana.secret: none")
    office.hooks["new"] = closed
    signature = hmac.digest(made.encode(), b"{}", "sha256").hex()

    for name in ("asana", "new"):
        answer = ask(name, "POST", b"{}", {asks: made})
        assert (200, made, b"") == (answer.status, answer.headers["x-hook-secret"], answer.body)
        assert 400 == ask(name, "POST", b"{}", {asks: "short"}).status
    assert 401 == ask("asana", "POST", b"{}", {"X-Hook-Signature": signature, asks: made}).status
    assert 503 == ask("new", "POST", b"{}", {"X-Hook-Signature": signature, asks: made}).status
    assert 401 == ask("github", "POST", b"{}", {asks: made}).status
    assert [] == office.events


def test_a_subscription_of_sns_is_stored_and_told_and_never_opened(ask: Ask, office: Office) -> None:
    """Who set it up opens the URL: what a request names is not fetched by a daemon inside of some net."""
    theirs = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336"
    others = "https://sns.eu-west-1.amazonaws.com.example.org/?Action=ConfirmSubscription"
    office.hooks["sns"] = hook("sns")
    with told() as facts:
        for kind, url in (
            ("SubscriptionConfirmation", theirs),
            ("SubscriptionConfirmation", others),
            ("Notification", theirs),
        ):
            body = json.dumps({"Type": kind, "SubscribeURL": url}).encode()
            headers = {"x-amz-sns-message-type": kind, "content-type": "text/plain; charset=UTF-8"}
            assert 202 == ask("sns", "POST", body, headers, token=KEY).status

    assert [("subscription.offered", theirs), ("subscription.offered", NOT_THE_SENDERS)] == [
        (fact, one["reason"]) for fact, one in facts
    ]
    assert 3 == len(office.events)


@pytest.mark.parametrize("value", ["", "a\r\nSet-Cookie: a=b", "\u00e9", "x" * 1025, "\x00"])
def test_an_answer_holds_no_more_than_a_kibibyte_of_printable_ascii(ask: Ask, value: str) -> None:
    """Nothing that could be a header, a page or a download."""
    assert 400 <= ask("dropbox", "GET", challenge=value).status < 500
    assert is_text(ask("dropbox", "GET", challenge="x" * 1024), "x" * 1024)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(ASKING),
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT"]),
    value=st.text(max_size=40),
    parameter=st.sampled_from(
        ["challenge", "crc_token", "validationToken", "hub.challenge", "hub.verify_token"]
    ),
    body=st.one_of(st.binary(max_size=60), st.sampled_from(BODIES)),
    is_proven=st.booleans(),
)
def test_whatever_is_asked_the_answer_is_ours(
    ask: Ask, *, name: str, method: str, value: str, parameter: str, body: bytes, is_proven: bool
) -> None:
    """Never a 500, signed or not; what is repeated is text or JSON, and printable."""
    headers = {"X-Okta-Verification-Challenge": "a", "Content-Type": "application/json"}
    if is_proven and name not in ("ms-graph", "mailchimp"):
        delivery = DELIVERIES[name]
        request = Request(method, URL, headers, body, NOW.timestamp())
        headers = dict(sign(SENDERS[name], delivery.signs or delivery.secret, request).headers)
    query = {parameter: value, "hub.mode": "subscribe"}

    answer = ask(name, method, b"" if method == "HEAD" else body, headers, **query)

    assert answer.status in (200, 202, 204, 400, 401, 403, 405)
    if answer.status == 200 and method != "HEAD":
        assert answer.headers["content-type"] in ("text/plain", "application/json")
        assert answer.body.isascii()


def test_no_handshake_is_answered_on_another_senders_hook(ask: Ask, office: Office) -> None:
    """A GET is not for everybody, and a POST is verified as ever."""
    asked = {
        "challenge": "a",
        "crc_token": "a",
        "validationToken": "a",
        "hub.mode": "subscribe",
        "hub.challenge": "a",
    }

    for name in ("github", "slack", "nobody"):
        answer = ask(name, "GET", **asked)
        assert (405, "POST") == (answer.status, answer.headers["allow"])
        assert b"challenge" not in answer.body
    assert 401 == ask("github", "POST", b'{"type": "url_verification", "challenge": "a"}', **asked).status
    assert [] == office.events


def test_a_hook_without_a_secret_answers_no_handshake(ask: Ask, office: Office) -> None:
    """503 `hook_disabled`, and the log says so: an empty key would sign for everybody."""
    office.hooks["x"] = Hook(name="x", verify="x")

    with told() as facts:
        answer = ask("x", "GET", crc_token="abc")

    assert (503, "hook_disabled") == (answer.status, answer.json["code"])
    assert [("event.refused", "x", "hook_disabled")] == [
        (fact, one["hook"], one["code"]) for fact, one in facts
    ]


def test_a_hook_takes_the_methods_that_it_names(ask: Ask, office: Office) -> None:
    """405 with those for any other; HEAD is answered and stores nothing."""
    proof = {"Authorization": f"Bearer {KEY}"}

    assert 202 == ask("puts", "PUT", b"{}", proof).status
    assert 202 == ask("puts", "GET", b"", proof, a="b").status
    assert 200 == ask("puts", "HEAD").status
    assert 401 == ask("puts", "PUT", b"{}").status
    refused = ask("puts", "POST", b"{}", proof)
    assert (405, "PUT, GET, HEAD") == (refused.status, refused.headers["allow"])
    assert 405 == ask("github", "PUT").status
    assert [b"{}", b""] == [event.body for event in office.events]
    assert {"a": "b"} == office.events[1].query


def test_a_token_in_the_query_is_not_stored(ask: Ask, office: Office) -> None:
    """Under whatever name it comes, and another parameter is."""
    assert 202 == ask("door", "GET", k=KEY, a="b").status
    assert 401 == ask("door", "GET", k="guessed").status

    (event,) = office.events
    assert {"a": "b"} == event.query


def test_a_page_cannot_get_into_an_open_hook_by_get(ask: Ask, office: Office) -> None:
    """As it cannot by POST: a picture's address is a GET."""
    assert 403 == ask("open", "GET", headers={"Sec-Fetch-Site": "cross-site"}).status
    assert 202 == ask("open", "GET", a="b").status
    assert 1 == len(office.events)


def test_a_token_of_mailgun_proves_one_event(ask_signed: Ask, office: Office) -> None:
    """Its body is not signed: who has read one delivery could send any other with the same token."""
    office.hooks["mailgun"] = hook("mailgun")
    forged = {"event-data": {"id": "m-2", "event": "delivered"}}

    first = ask_signed("mailgun", {"event-data": {"id": "m-1", "event": "delivered"}})
    again = ask_signed("mailgun", {"event-data": {"id": "m-1", "event": "delivered"}})
    with told() as facts:
        other = ask_signed("mailgun", forged)

    assert (202, 202, 401) == (first.status, again.status, other.status)
    assert ["replayed"] == [one["reason"] for _, one in facts]
    assert {"m-1"} == {event.delivery for event in office.events}


def test_what_a_token_has_proved_is_forgotten_once_it_is_too_old() -> None:
    """And the oldest when they are too many."""
    once = Once(most=2)
    once.check("a", "t1", "d1", 0.0, 300.0)
    once.check("b", "t1", "d2", 0.0, 300.0)

    with pytest.raises(Mismatch):
        once.check("a", "t1", "d3", 600.0, 300.0)
    once.check("a", "t2", "d1", 601.0, 300.0)
    once.check("a", "t1", "d3", 601.0, 300.0)
    once.check("a", "t4", "d4", 601.0, 300.0)
    once.check("a", "t5", "d5", 601.0, 300.0)
    once.check("a", "t2", "d9", 601.0, 300.0)


def test_a_401_names_the_scheme_that_its_hook_wants(ask: Ask, office: Office) -> None:
    """RFC 9110 section 11.6.1: basic, bearer, or a word of the hook's own; of a signature none."""
    office.hooks["basic"] = hook("basic", user="ship")
    office.hooks["pump"] = hook("pump", verify="token", scheme="Token")

    assert 'Basic realm="hooks"' == ask("basic", "POST").headers["www-authenticate"]
    assert "Token" == ask("pump", "POST").headers["www-authenticate"]
    assert "www-authenticate" not in ask("slack", "POST").headers
    assert deliveries.KEY not in str(ask("basic", "POST"))
