"""The senders' own libraries sign, and are believed; what they signed with one bit changed is not."""

from __future__ import annotations

import hashlib
import importlib
import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

import pytest

from bus.senders import SENDERS
from bus.webhook.request import Request
from bus.webhook.sign import sign
from bus.webhook.verify import Mismatch, verify
from tests.deliveries import FORM, KEY, URL, WHSEC

BODY = '{"id":"evt_1","object":"event","type":"ping","name":"\u00e9\u20ac"}'
NOW = int(time.time())
THEN = datetime.fromtimestamp(NOW, timezone.utc)
"""The libraries look at the clock of the machine, so that each test has a moment of its own."""
PARAMS = {"From": "+15550001", "Body": "Ahoy, mate", "To": "+15550002"}


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    now = int(time.time())
    monkeypatch.setitem(globals(), "NOW", now)
    monkeypatch.setitem(globals(), "THEN", datetime.fromtimestamp(now, timezone.utc))


def library(name: str) -> Any:
    """The module *name*, which CI has and a machine at home may lack."""
    try:
        return importlib.import_module(name)
    except ImportError:
        reason = f"{name} is not installed: pip install -e '.[test]'"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def by_standardwebhooks() -> Request:
    signature = library("standardwebhooks").Webhook(WHSEC).sign("msg_1", THEN, BODY)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": signature}
    return Request("POST", URL, headers, BODY.encode(), NOW)


def by_svix() -> Request:
    signature = library("svix.webhooks").Webhook(WHSEC).sign("msg_1", THEN, BODY)
    headers = {"svix-id": "msg_1", "svix-timestamp": str(NOW), "svix-signature": signature}
    return Request("POST", URL, headers, BODY.encode(), NOW)


def by_stripe() -> Request:
    signature = library("stripe").WebhookSignature._compute_signature(f"{NOW}.{BODY}", KEY)
    return Request("POST", URL, {"stripe-signature": f"t={NOW},v1={signature}"}, BODY.encode(), NOW)


def by_slack() -> Request:
    verifier = library("slack_sdk.signature").SignatureVerifier(KEY)
    signature = verifier.generate_signature(timestamp=str(NOW), body=BODY)
    headers = {"x-slack-signature": signature, "x-slack-request-timestamp": str(NOW)}
    return Request("POST", URL, headers, BODY.encode(), NOW)


def by_twilio() -> Request:
    signature = library("twilio.request_validator").RequestValidator(KEY).compute_signature(URL, PARAMS)
    headers = {"x-twilio-signature": signature, "content-type": FORM}
    return Request("POST", URL, headers, urlencode(PARAMS).encode(), NOW)


def by_twilio_of_json() -> Request:
    url = f"{URL}?bodySHA256={hashlib.sha256(BODY.encode()).hexdigest()}"
    signature = library("twilio.request_validator").RequestValidator(KEY).compute_signature(url, {})
    return Request("POST", url, {"x-twilio-signature": signature}, BODY.encode(), NOW)


ORACLES: dict[str, tuple[str, str, Callable[[], Request]]] = {
    "standardwebhooks": ("standard", WHSEC, by_standardwebhooks),
    "svix": ("svix", WHSEC, by_svix),
    "stripe": ("stripe", KEY, by_stripe),
    "slack": ("slack", KEY, by_slack),
    "twilio": ("twilio", KEY, by_twilio),
    "twilio of JSON": ("twilio", KEY, by_twilio_of_json),
}


def is_believed(sender: str, secret: str, request: Request) -> bool:
    try:
        verify(SENDERS[sender], (secret,), request)
    except Mismatch:
        return False
    return True


@pytest.mark.parametrize("oracle", ORACLES)
def test_what_a_senders_own_library_signs_is_believed(oracle: str) -> None:
    """The reference implementations on PyPI."""
    sender, secret, make = ORACLES[oracle]

    assert is_believed(sender, secret, make())


@pytest.mark.parametrize("oracle", ORACLES)
def test_one_flipped_bit_of_it_is_not(oracle: str) -> None:
    """Of the body, at each eighth byte; of the signature, at each letter."""
    sender, secret, make = ORACLES[oracle]
    request = make()
    header = SENDERS[sender].header

    for place in range(0, len(request.body), 8):
        body = bytearray(request.body)
        body[place] ^= 1
        assert not is_believed(sender, secret, request._replace(body=bytes(body)))
    text = request.headers[header]
    start = text.rfind("v1") + 3 if "v1" in text else text.find("=") + 1 if text.startswith("v0") else 0
    for place in range(start, len(text.rstrip("="))):
        flipped = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        assert not is_believed(sender, secret, request._replace(headers={**request.headers, header: flipped}))


def test_the_libraries_believe_what_we_sign() -> None:
    """`sign` makes what the sender would."""
    request = Request("POST", URL, {"webhook-id": "msg_1", "svix-id": "msg_1"}, BODY.encode(), NOW)
    made = {
        name: sign(SENDERS[name], WHSEC if name in ("standard", "svix") else KEY, request)
        for name in ("standard", "svix", "stripe", "slack", "twilio")
    }
    form = sign(
        SENDERS["twilio"], KEY, request._replace(headers={"content-type": FORM}, body=b"A=b&C=%C3%A9")
    )
    slack = library("slack_sdk.signature").SignatureVerifier(KEY)
    twilio = library("twilio.request_validator").RequestValidator(KEY)

    library("standardwebhooks").Webhook(WHSEC).verify(BODY, made["standard"].headers)
    library("svix.webhooks").Webhook(WHSEC).verify(BODY, made["svix"].headers)
    library("stripe").Webhook.construct_event(BODY, made["stripe"].headers["stripe-signature"], KEY)
    headers = made["slack"].headers
    assert slack.is_valid(BODY, headers["x-slack-request-timestamp"], headers["x-slack-signature"])
    assert twilio.validate(made["twilio"].url, BODY, made["twilio"].headers["x-twilio-signature"])
    assert twilio.validate(URL, {"A": "b", "C": "\u00e9"}, form.headers["x-twilio-signature"])


def test_hostile_headers_make_the_libraries_stumble_and_not_us() -> None:
    """Why the verifiers are our own: the published ones raise ValueError and TypeError."""
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": "no comma",
        "x-slack-signature": "v0=\u00e9",
        "x-slack-request-timestamp": "today",
    }

    with pytest.raises(ValueError, match="not enough values"):
        library("standardwebhooks").Webhook(WHSEC).verify(BODY, headers)
    for name, secret in (("standard", WHSEC), ("slack", KEY)):
        assert not is_believed(name, secret, Request("POST", URL, headers, BODY.encode(), NOW))


def test_the_twilio_of_another_url_is_not_believed() -> None:
    """The URL is signed: `public_url` says what it is behind a proxy."""
    request = by_twilio()

    assert is_believed("twilio", KEY, request)
    assert not is_believed("twilio", KEY, request._replace(url=URL.replace("https", "http")))
