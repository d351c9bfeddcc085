"""The table of senders: each row is shown to fit by a delivery with its true signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple

import pytest

from bus.config import load
from bus.config.topics import PLACEHOLDERS
from bus.senders import SENDERS, Sender
from bus.webhook.request import Request
from bus.webhook.verify import Mismatch, verify

URL = "https://hooks.example.org/hooks/a"
PING = b'{"id":"evt_1","type":"ping"}'
KEY = "secret"
AZ = b'{"a": "z"}'
# adnanh/webhook, hook_test.go: AZ under the key "secret"
AZ_SHA1 = "b17e04cbb22afa8ffbff8796fc1894ed27badd9e"
AZ_SHA256 = "f417af3a21bd70379b5796d5f013915e7029f62c580fb0f500f59a35a6f04c89"
AZ_SHA512 = (
    "4ab17cc8ec668ead8bf498f87f8f32848c04d5ca3c9bcfcd3db9363f0deb44e5"
    "80b329502a7fdff633d4d8fca301cc5c94a55a2fec458c675fb0ff2655898324"
)
AZ_BASE64 = base64.b64encode(bytes.fromhex(AZ_SHA256)).decode()
PING_SHA256 = "c58a4aee28fe9f7114a58b9f49326b8e5938b4e1e839f2d7cf3cd5d2f5935923"
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
    b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class Vector(NamedTuple):
    """A delivery that its sender's *secret* proves at *now*."""

    secret: str
    headers: dict[str, str]
    body: bytes
    now: float = 0.0


def in_header(name: str, value: str, body: bytes = AZ, key: str = KEY) -> Vector:
    return Vector(key, {name: value}, body)


def of_standard(family: str) -> Vector:
    headers = {
        f"{family}-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        f"{family}-timestamp": "1614265330",
        f"{family}-signature": STANDARD_SIGNATURE,
    }
    return Vector("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, STANDARD_BODY, 1614265330)


VECTORS = {
    "none": Vector("", {}, b"anything"),
    "token": in_header("authorization", "Bearer t0ken", key="t0ken"),
    # docs.github.com, "Validating webhook deliveries"
    "github": in_header(
        "x-hub-signature-256",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        b"Hello, World!",
        "It's a Secret to Everybody",
    ),
    # standard-webhooks/standard-webhooks, tests of the Python library
    "standard": of_standard("webhook"),
    "svix": of_standard("svix"),
    "gitlab": in_header("x-gitlab-token", "t0ken", key="t0ken"),
    "gitea": in_header("x-gitea-signature", PING_SHA256, PING),
    "forgejo": in_header("x-forgejo-signature", PING_SHA256, PING),
    "gogs": in_header("x-gogs-signature", PING_SHA256, PING),
    "bitbucket": in_header("x-hub-signature", f"sha256={AZ_SHA256}"),
    "jira": in_header("x-hub-signature", f"sha256={AZ_SHA256}"),
    # docs.slack.dev, "Verifying requests from Slack"
    "slack": Vector(
        "8f742231b10e8888abcd99yyyzzz85a5",
        {
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "x-slack-request-timestamp": "1531420618",
        },
        SLACK_BODY,
        1531420618,
    ),
    "stripe": Vector(
        "whsec_test",
        {
            "stripe-signature": "t=1700000000,v1=00,"
            "v1=33ff6664879612e191c4e01184f3da32597a3c9b33ca2655fac317d01c5abc3f,v0=00"
        },
        PING,
        1700000000,
    ),
    "shopify": in_header("x-shopify-hmac-sha256", AZ_BASE64),
    "woocommerce": in_header("x-wc-webhook-signature", AZ_BASE64),
    "pagerduty": in_header(
        "x-pagerduty-signature",
        "v1=00,v1=328eea0283a9862f47654dd5be6035ec6700fc477616e188c545d0eaebc6477f",
        PING,
        "pdsecret",
    ),
    "vercel": in_header("x-vercel-signature", AZ_SHA1),
    "hookdeck": in_header("x-hookdeck-signature", AZ_BASE64),
}
TO_COME = {
    "milliseconds": (
        Sender("", "", "hmac", "header:sig", signed="{timestamp}:{body}", timestamp="header:at", unit="ms"),
        Vector(
            "secret",
            {
                "sig": hmac.new(b"secret", b"1700000000123:" + PING, hashlib.sha256).hexdigest(),
                "at": "1700000000123",
            },
            PING,
            1700000000,
        ),
    ),
    "sha512": (
        Sender("", "", "hmac", "header:sig", algorithm="sha512"),
        in_header("sig", AZ_SHA512),
    ),
    # twilio/twilio-python, tests of the validator
    "url and form": (
        Sender("", "", "hmac", "header:sig", algorithm="sha1", encoding="base64", signed="{url}{form}"),
        Vector(
            "12345",
            {
                "sig": "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
                "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            },
            b"To=%2B18005551212&From=%2B14158675309&Digits=1234&Caller=%2B14158675309&CallSid=CA1234567890ABCDE",
        ),
    ),
    "method, header and query": (
        Sender("", "", "hmac", "query:sig", signed="{method}{header:date}{query:foo}{body}"),
        Vector("secret", {"date": "today"}, b'z"}'),
    ),
}


def reason(sender: Sender, secret: str, request: Request) -> str:
    """Why the request is not believed; "" when it is."""
    try:
        verify(sender, (secret,), request)
    except Mismatch as mismatch:
        return mismatch.reason
    return ""


def test_every_sender_has_its_vector() -> None:
    """A row without one is a guess."""
    assert list(SENDERS) == list(VECTORS)


@pytest.mark.parametrize("name", SENDERS)
def test_a_delivery_of_each_sender_is_believed_and_a_forged_one_is_not(name: str) -> None:
    """Published vectors; where none is, a published digest in the sender's own form, or a derived one."""
    sender, vector = SENDERS[name], VECTORS[name]
    request = Request("POST", URL, vector.headers, vector.body, vector.now)
    forged = request._replace(body=vector.body + b" ")

    assert "" == reason(sender, vector.secret, request)
    assert ("wrong" if sender.scheme == "hmac" else "") == reason(sender, vector.secret, forged)
    if sender.scheme != "none":
        assert "wrong" == reason(sender, vector.secret[:-2] + "00", request)
        assert "no_secret" == reason(sender, "", request)
        assert "missing" == reason(sender, vector.secret, request._replace(headers={}))


@pytest.mark.parametrize("name", [name for name, sender in SENDERS.items() if sender.timestamp])
@pytest.mark.parametrize("late", [301, -301])
def test_a_signed_time_wears_out(name: str, late: int) -> None:
    """Both ways, by the tolerance of the row."""
    vector = VECTORS[name]
    request = Request("POST", URL, vector.headers, vector.body, vector.now + late)

    assert "stale" == reason(SENDERS[name], vector.secret, request)


@pytest.mark.parametrize("kind", TO_COME)
def test_another_kind_of_sender_is_another_row(kind: str) -> None:
    """The columns of the table say enough for schemes that sign URL, form, query or other headers."""
    sender, vector = TO_COME[kind]
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    if kind.startswith("method"):
        mac = hmac.new(b"secret", b"POSTtoday1" + vector.body, "sha256").hexdigest()
        url += f"&sig={mac}"
    request = Request("POST", url, vector.headers, vector.body, vector.now)

    assert "" == reason(sender, vector.secret, request)
    assert "wrong" == reason(sender, vector.secret, request._replace(body=vector.body + b"&a=b"))


@pytest.mark.parametrize("name", SENDERS)
def test_the_topic_of_each_row_is_one_a_hook_can_have(name: str) -> None:
    """Its placeholders are known, and no row is without the line of the page."""
    sender = SENDERS[name]

    assert PLACEHOLDERS.compile(sender.topic).parts
    assert sender.title
    assert sender.proof


@pytest.mark.parametrize("name", SENDERS)
def test_each_sender_can_be_named_in_a_configuration(name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """`verify` takes every word of the table."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if name != "none" else ""
    path = tmp_path / "monqbus.ini"
    path.write_text(f"[hook:a]\nverify = {name}\n" + (f"secret = {secret}\n" if secret else ""))
    path.chmod(0o600)

    assert name == load(path, {}).hooks["a"].verify
