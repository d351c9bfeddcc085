"""What some rows of the table of senders have of their own, and the times that senders write."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote

import pytest

from bus.senders import SENDERS, Sender, adapted
from bus.senders.moments import seconds, written
from bus.webhook.request import Request
from bus.webhook.sign import sign
from bus.webhook.verify import Mismatch, claim_of, verify
from tests import deliveries
from tests.deliveries import DELIVERIES, FORM, KEY, OTHER_KEY

URL = "https://hooks.example.org/hooks/a"
PING = b'{"id":"evt_1","type":"ping"}'
NOW = 1_700_000_000.0


def reason(sender: Sender, secrets: tuple[str, ...] | str, request: Request) -> str:
    """Why the request is not believed; "" when it is."""
    try:
        verify(sender, (secrets,) if isinstance(secrets, str) else secrets, request)
    except Mismatch as mismatch:
        return mismatch.reason
    return ""


@pytest.mark.parametrize("form", ["utf-8", "binary"])
def test_trello_signs_what_is_not_ascii_in_either_way(form: str) -> None:
    """Its documentation says the lower bytes of UTF-16, its users the bytes as they come; both are taken."""
    body = '{"action": {"id": "1", "type": "createCard", "text": "a \u2013 b \U0001f600"}}'
    signed = body.encode() if form == "utf-8" else body.encode("utf-16-le")[::2]
    made = base64.b64encode(hmac.digest(KEY.encode(), signed + URL.encode(), "sha1")).decode()
    other = body.encode().replace(b"b", b"c")

    assert "" == reason(
        SENDERS["trello"], KEY, Request("POST", URL, {"x-trello-webhook": made}, body.encode())
    )
    assert "wrong" == reason(SENDERS["trello"], KEY, Request("POST", URL, {"x-trello-webhook": made}, other))
    assert "wrong" == reason(
        SENDERS["trello"], KEY, Request("POST", URL, {"x-trello-webhook": made}, b"\xff")
    )


def test_gitlab_takes_a_token_or_a_signing_token_by_what_the_secret_is() -> None:
    """A plain token is no proof where the hook's secret is a signing token."""
    gitlab = SENDERS["gitlab"]
    request = Request("POST", URL, {"webhook-id": "1"}, PING, NOW)
    plain, by_key = sign(gitlab, KEY, request), sign(gitlab, deliveries.WHSEC, request)
    forged = request._replace(headers={"x-gitlab-token": deliveries.WHSEC})

    assert "" == reason(gitlab, KEY, plain)
    assert "" == reason(gitlab, deliveries.WHSEC, by_key)
    assert "wrong" == reason(gitlab, deliveries.WHSEC, by_key._replace(body=PING + b" "))
    assert "missing" == reason(gitlab, deliveries.WHSEC, forged)
    assert "stale" == reason(gitlab, deliveries.WHSEC, by_key._replace(received=NOW + 301))
    assert "" == reason(gitlab, (KEY, deliveries.WHSEC), by_key)
    assert "" == reason(gitlab, (KEY, deliveries.WHSEC), plain)


def test_standard_webhooks_takes_pairs_of_keys_beside_common_ones() -> None:
    """Version 1a; a secret of one kind is no key of the other."""
    pytest.importorskip("cryptography")
    standard, svix = SENDERS["standard"], DELIVERIES["svix"]
    request = Request("POST", URL, {"webhook-id": "1"}, PING, NOW)
    made = sign(standard, svix.signs, request)

    assert made.headers["webhook-signature"].startswith("v1a,")
    assert "" == reason(standard, (deliveries.WHSEC, svix.secret), made)
    assert "wrong" == reason(standard, svix.other, made)
    assert "malformed" == reason(standard, deliveries.WHSEC, made)
    assert "malformed" == reason(standard, svix.secret, sign(standard, deliveries.WHSEC, request))


def test_a_header_with_many_signatures_is_not_tried_with_a_public_key() -> None:
    """Eight at most: each costs a stranger nothing and us a tenth of a millisecond."""
    pytest.importorskip("cryptography")
    standard, svix = SENDERS["standard"], DELIVERIES["svix"]
    made = sign(standard, svix.signs, Request("POST", URL, {"webhook-id": "1"}, PING, NOW))
    other = "v1a," + base64.b64encode(bytes(64)).decode()

    for count, expected in ((7, ""), (8, "malformed")):
        text = " ".join([*[other] * count, made.headers["webhook-signature"]])
        request = made._replace(headers={**made.headers, "webhook-signature": text})
        assert expected == reason(standard, svix.secret, request)


def test_a_signature_that_wears_out_while_the_body_comes_is_stale() -> None:
    """The head was young enough; the delivery is as old as its last byte."""
    stripe = SENDERS["stripe"]
    request = sign(stripe, KEY, Request("POST", URL, {}, PING, NOW))
    claim = claim_of(stripe, (KEY,), request._replace(body=b""))

    claim.check(request._replace(received=NOW + 300))
    with pytest.raises(Mismatch, match="stale"):
        claim.check(request._replace(received=NOW + 301))


def test_json_of_twilio_is_proven_by_the_digest_in_its_url() -> None:
    """And by nothing else: the signature of a URL is none of a body."""
    twilio = SENDERS["twilio"]
    json_type = {"content-type": "application/json"}
    made = sign(twilio, KEY, Request("POST", URL, json_type, PING, NOW))
    bare = sign(twilio, KEY, Request("GET", URL, {}, b"", NOW))

    assert "" == reason(twilio, KEY, made)
    assert "wrong" == reason(twilio, KEY, made._replace(body=PING + b" "))
    assert "wrong" == reason(
        twilio, KEY, made._replace(body=b"", headers={**made.headers, "content-type": FORM})
    )
    assert "" == reason(twilio, KEY, bare)
    assert "malformed" == reason(twilio, KEY, bare._replace(body=PING, headers={**bare.headers, **json_type}))
    too_many = b"&".join(b"a=%d" % number for number in range(1001))
    assert "malformed" == reason(
        twilio, KEY, bare._replace(body=too_many, headers={**bare.headers, "content-type": FORM})
    )


def test_a_form_of_gitea_is_proven_by_its_one_field() -> None:
    """A second field would not be signed."""
    gitea = SENDERS["gitea"]
    body = f"payload={quote(PING.decode())}".encode()
    request = sign(gitea, KEY, Request("POST", URL, {"content-type": FORM}, body, NOW))
    mac = hmac.new(KEY.encode(), PING, hashlib.sha256).hexdigest()

    assert mac == request.headers["x-gitea-signature"]
    assert "" == reason(gitea, KEY, request)
    for forged in (body + b"&payload=%7B%7D", body + b"&a=b", b"a=b&" + body):
        assert "malformed" == reason(gitea, KEY, request._replace(body=forged))


def test_each_notification_of_microsoft_has_to_have_the_secret() -> None:
    """One that is true does not vouch for the others."""
    graph = SENDERS["ms-graph"]

    def verdict(*states: str | None) -> str:
        body = json.dumps({"value": [{} if one is None else {"clientState": one} for one in states]}).encode()
        return reason(graph, (KEY, OTHER_KEY), Request("POST", URL, {}, body))

    assert "" == verdict(KEY)
    assert "" == verdict(KEY, OTHER_KEY)
    assert "wrong" == verdict(KEY, "x")
    assert "missing" == verdict(KEY, None)
    assert "missing" == verdict(KEY, "")
    assert "malformed" == verdict(KEY, " ")
    assert "missing" == verdict()


def test_a_body_that_is_taken_apart_unproven_is_a_short_one() -> None:
    """Of a mebibyte at most: a stranger pays nothing for it."""
    body = json.dumps({"value": [{"clientState": KEY, "more": "x" * 2**20}]}).encode()

    assert "malformed" == reason(SENDERS["ms-graph"], KEY, Request("POST", URL, {}, body))


def test_a_token_has_the_place_that_its_hook_names() -> None:
    """Behind another word of Authorization, in a header or in the query, and then nowhere else."""
    pump, door = adapted("token", scheme="Token"), adapted("token", query="k")
    bare = {"authorization": KEY}

    assert "" == reason(pump, KEY, Request("POST", URL, {"authorization": f"Token {KEY}"}))
    assert "malformed" == reason(pump, KEY, Request("POST", URL, {"authorization": f"Bearer {KEY}"}))
    assert "" == reason(door, KEY, Request("POST", f"{URL}?a=b&k={KEY}", {}))
    assert "missing" == reason(door, KEY, Request("POST", URL, {"authorization": f"Bearer {KEY}"}))
    assert "wrong" == reason(door, KEY, Request("POST", f"{URL}?k=x&k={KEY}", {}))
    assert "" == reason(SENDERS["okta"], KEY, Request("POST", URL, bare))


@pytest.mark.parametrize("password", [KEY, "with:colon-and-\u00e9\u20ac"])
def test_a_password_goes_with_its_user(password: str) -> None:
    """RFC 7617: in UTF-8, and a password may have a colon."""
    basic = adapted("basic", user="ship")
    pair = base64.b64encode(f"ship:{password}".encode()).decode()

    assert "" == reason(basic, password, Request("POST", URL, {"authorization": f"Basic {pair}"}))
    other = base64.b64encode(f"boat:{password}".encode()).decode()
    assert "wrong" == reason(basic, password, Request("POST", URL, {"authorization": f"Basic {other}"}))


@pytest.mark.parametrize("unit", ["s", "ms", "rfc3339", "http"])
def test_a_time_that_is_written_is_read_again(unit: Any) -> None:
    """In whole seconds, in any unit."""
    assert NOW == seconds(written(NOW, unit), unit)


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("rfc3339", "2023-11-14T22:13:20.123456789Z", NOW + 0.123456789),
        ("rfc3339", "2023-11-14T23:13:20+01:00", NOW),
        ("http", "Tue 14 Nov 2023 22:13:20 UTC", NOW),
        ("rfc3339", "2023-02-30T00:00:00Z", None),
        ("rfc3339", "0000-01-01T00:00:00Z", None),
        ("rfc3339", "2023-11-14T22:13:20+99:99", None),
        ("rfc3339", "2023-11-14 22:13:20Z", None),
        ("rfc3339", "\u0662023-11-14T22:13:20Z", None),
        ("http", "Tue, 31 Feb 2023 22:13:20 GMT", None),
        ("http", "Tue, 14 Nov 2023 22:13:20 CET", None),
        ("ms", "1.7e12", None),
        ("s", "", None),
    ],
)
def test_a_time_has_one_form(unit: Any, text: str, expected: float | None) -> None:
    """What another program could read differently is none."""
    assert expected == seconds(text, unit)
