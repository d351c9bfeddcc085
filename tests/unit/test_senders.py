"""The table of senders: published vectors, and every row against every kind of proof."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus.config import load
from bus.config.topics import PLACEHOLDERS
from bus.senders import SENDERS, Proof, Sender, adapted
from bus.senders.guides import GUIDES
from bus.senders.kept import is_kept
from bus.webhook.request import Request
from bus.webhook.sign import sign
from bus.webhook.verify import Mismatch, verify
from tests import deliveries
from tests.deliveries import DELIVERIES, FORM, Delivery

URL = "https://hooks.example.org/hooks/a"
PING = b'{"id":"evt_1","type":"ping"}'
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
    url: str = URL


def in_header(name: str, value: str, body: bytes = AZ, key: str = "secret") -> Vector:
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
    "zoom": Vector(
        "zoomsecret",
        {
            "x-zm-signature": "v0=55da9b2839929a9a259af593fec101ccb2853a44f4499b2caf47387d68593476",
            "x-zm-request-timestamp": "1700000000",
        },
        PING,
        1700000000,
    ),
    "dropbox": in_header("x-dropbox-signature", AZ_SHA256),
    "meta": in_header("x-hub-signature-256", f"sha256={AZ_SHA256}"),
    "whatsapp": in_header("x-hub-signature-256", f"sha256={AZ_SHA256}"),
    "x": in_header("x-twitter-webhooks-signature", f"sha256={AZ_BASE64}"),
    "grafana": in_header("x-grafana-alerting-signature", AZ_SHA256),
    # twilio/twilio-python, tests of the validator
    "twilio": Vector(
        "12345",
        {
            "x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        },
        b"To=%2B18005551212&From=%2B14158675309&Digits=1234&Caller=%2B14158675309&CallSid=CA1234567890ABCDE",
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
    ),
    "vercel": in_header("x-vercel-signature", AZ_SHA1),
    "asana": in_header("x-hook-signature", AZ_SHA256),
    "hookdeck": in_header("x-hookdeck-signature", AZ_BASE64),
}

NOW = 1_700_000_000.0
PROVEN = [name for name in SENDERS if name != "none"]
TIMED = [
    name
    for name in PROVEN
    if DELIVERIES[name].settings.get("timestamp")
    or (name not in ("hmac", "grafana", "gitlab") and SENDERS[name].is_timed)
]


@lru_cache
def delivery_of(name: str) -> Delivery:
    return deliveries.of(name)


def row(name: str) -> Sender:
    """The sender's row with the settings that its delivery needs."""
    return adapted(name, **DELIVERIES[name].settings)


def signed(name: str, *, now: float = NOW) -> Request:
    """The sender's delivery with its true proof."""
    delivery = delivery_of(name)
    request = Request("POST", URL, delivery.type, delivery.body, now)
    return sign(row(name), delivery.signs or delivery.secret, request)


def proof_in(name: str, request: Request) -> str:
    way = row(name).ways[0]
    if way.header:
        return request.headers[way.header]
    if way.parameter:
        return dict(request.query)[way.parameter]
    return "body"


def with_proof(name: str, request: Request, change: Any) -> Request:
    """*request* with *change* made to the text at the place of its proof."""
    way = row(name).ways[0]
    if way.header:
        return request._replace(headers={**request.headers, way.header: change(request.headers[way.header])})
    if way.parameter:
        url, _, query = request.url.partition("?")
        values = {**dict(request.query), way.parameter: change(dict(request.query)[way.parameter])}
        return request._replace(url=f"{url}?{urlencode(values, errors='surrogatepass')}" if query else url)
    content = json.loads(request.body)
    before, star, last = way.place[5:].rpartition(".")
    for target in content["value"] if star and "*" in before else [content["signature"]]:
        target[last] = change(target[last])
    return request._replace(body=json.dumps(content).encode())


def reason(sender: Sender, secrets: tuple[str, ...] | str, request: Request) -> str:
    """Why the request is not believed; "" when it is."""
    try:
        verify(sender, (secrets,) if isinstance(secrets, str) else secrets, request)
    except Mismatch as mismatch:
        return mismatch.reason
    return ""


# published vectors


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_is_believed_and_a_forged_one_is_not(name: str) -> None:
    """Published ones; where none is, a published digest in the sender's own form, or a derived one."""
    sender, vector = SENDERS[name], VECTORS[name]
    request = Request("POST", vector.url, vector.headers, vector.body, vector.now)
    forged = request._replace(body=vector.body + b"&a=b")

    assert "" == reason(sender, vector.secret, request)
    assert ("wrong" if sender.ways and sender.ways[0].scheme == "hmac" else "") == reason(
        sender, vector.secret, forged
    )


def test_the_vectors_of_adnanh_webhook_are_believed_in_every_hash() -> None:
    """hook_test.go: SHA-1, 256 and 512 of one body under one key."""
    for algorithm, mac in {"sha1": AZ_SHA1, "sha256": AZ_SHA256, "sha512": AZ_SHA512}.items():
        sender = adapted("hmac", header="X-Sig", algorithm=algorithm)

        assert "" == reason(sender, "secret", Request("POST", URL, {"x-sig": mac}, AZ))
        assert "wrong" == reason(sender, "secret", Request("POST", URL, {"x-sig": mac}, AZ + b" "))


def test_a_vector_of_rfc_8032_is_made_and_believed() -> None:
    """Section 7.1, test 2, as a Discord that signs the body alone would send it."""
    pytest.importorskip("cryptography")
    sender = Sender("", "", (Proof("ed25519", "header:sig", key="ed25519"),))
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    request = Request("POST", URL, {}, b"\x72")
    made = sign(sender, deliveries.OTHER_SEED, request)

    assert signature == made.headers["sig"]
    assert "" == reason(sender, deliveries.OTHER_PUBLIC, made)
    assert "wrong" == reason(sender, deliveries.PUBLIC, made)


# every sender, every kind of proof


def test_every_sender_has_a_delivery_and_a_guide() -> None:
    """A row without them is a guess."""
    assert list(SENDERS) == list(DELIVERIES)
    assert list(SENDERS) == list(GUIDES)


@pytest.mark.parametrize("name", SENDERS)
def test_the_true_proof_is_believed(name: str) -> None:
    """What `sign` makes, at once, from the first row to the last."""
    assert "" == reason(row(name), delivery_of(name).secret, signed(name))


@pytest.mark.parametrize("name", PROVEN)
def test_the_proof_of_another_secret_is_not_believed(name: str) -> None:
    """Nor one without any."""
    assert "wrong" == reason(row(name), delivery_of(name).other, signed(name))
    assert "no_secret" == reason(row(name), "", signed(name))
    assert "no_secret" == reason(row(name), (), signed(name))


@pytest.mark.parametrize("name", PROVEN)
def test_a_changed_signature_is_not_believed(name: str) -> None:
    """One letter of it."""
    changed = with_proof(
        name, signed(name), lambda text: text[:-4] + ("0" if text[-4] != "0" else "1") + text[-3:]
    )

    assert "wrong" == reason(row(name), delivery_of(name).secret, changed)


@pytest.mark.parametrize(
    "name", [name for name in PROVEN if SENDERS[name].ways[0].scheme != "token" or name == "svix"]
)
def test_one_flipped_bit_of_the_signed_content_is_noticed(name: str) -> None:
    """Of the body, or of what stands for it."""
    request = signed(name)
    if name == "mailgun":  # the rest of its body is not signed
        changed = request._replace(body=request.body.replace(b'"token": "', b'"token": "x'))
    else:
        body = bytearray(request.body)
        body[-3] ^= 1
        changed = request._replace(body=bytes(body))

    assert reason(row(name), delivery_of(name).secret, changed) in ("wrong", "malformed")


@pytest.mark.parametrize("name", PROVEN)
@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: " ",
        lambda text: text[:-2],
        lambda text: text[: len(text) // 2],
        lambda text: text + "\u00e9\u00ff",
        lambda text: "\u00e9" + text,
        lambda text: text + "\u20ac",
        lambda text: text * 2000,
        lambda _: ",; =" * 100,
    ],
    ids=["empty", "blank", "cut", "half", "not ASCII", "not ASCII before", "not Latin-1", "endless", "marks"],
)
def test_a_broken_proof_is_a_mismatch(name: str, change: Any) -> None:
    """Missing, malformed or wrong, and never another exception."""
    broken = with_proof(name, signed(name), change)

    assert reason(row(name), delivery_of(name).secret, broken) in ("missing", "malformed", "wrong")


@pytest.mark.parametrize("name", PROVEN)
def test_without_its_proof_a_delivery_is_not_believed(name: str) -> None:
    """The request as it was before it was signed."""
    delivery = delivery_of(name)
    bare = Request("POST", URL, delivery.type, delivery.body, NOW)

    assert "missing" == reason(row(name), delivery.secret, bare)


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("sign_of_it", [1, -1], ids=["stale", "future"])
def test_a_signed_time_wears_out_both_ways(name: str, sign_of_it: int) -> None:
    """By the tolerance of the row: at its end it counts, a second later not."""
    tolerance = max(way.tolerance for way in row(name).ways)
    request, secret = signed(name), delivery_of(name).secret

    assert "" == reason(row(name), secret, request._replace(received=NOW + sign_of_it * tolerance))
    assert "stale" == reason(row(name), secret, request._replace(received=NOW + sign_of_it * (tolerance + 1)))


def test_every_row_with_a_time_is_tried_with_it() -> None:
    """Rows that have one only by a setting or by another secret are tried with those."""
    assert {name for name in PROVEN if any(way.timestamp for way in row(name).ways)} - {"gitlab"} == {*TIMED}


@pytest.mark.parametrize("name", PROVEN)
def test_while_secrets_are_changed_each_of_them_is_enough(name: str) -> None:
    """Whichever stands first."""
    delivery, request = delivery_of(name), signed(name)

    assert "" == reason(row(name), (delivery.secret, delivery.other), request)
    assert "" == reason(row(name), (delivery.other, delivery.secret), request)


@pytest.mark.parametrize("name", [name for name in PROVEN if SENDERS[name].header])
def test_a_header_that_came_twice_counts_only_where_it_is_a_list(name: str) -> None:
    """RFC 9110 joins them by a comma, which is such a list's separator or a part of nonsense."""
    twice = with_proof(name, signed(name), lambda text: f"{text},{text}")
    is_list = row(name).ways[0].separator in (",", ";")

    verdict = reason(row(name), delivery_of(name).secret, twice)

    assert is_list == (verdict == "")
    assert verdict in ("", "wrong", "malformed")


@pytest.mark.parametrize("name", [name for name in PROVEN if row(name).ways[0].separator])
def test_the_true_one_of_several_signatures_is_enough(name: str) -> None:
    """A sender that changes its key signs with both."""
    sender = row(name)
    way = next(way for way in reversed(sender.ways) if way.separator)
    more = with_proof(name, signed(name), lambda text: f"{text}{way.separator}{way.prefix}{'00' * 32}")

    assert "" == reason(sender, delivery_of(name).secret, more)


@pytest.mark.parametrize("name", SENDERS)
def test_no_proof_is_stored_with_its_event(name: str) -> None:
    """Its header is the one that is left out for the row, or has a name that is never kept."""
    sender = row(name)

    for way in sender.ways:
        assert way.header in ("", sender.header) or not is_kept(way.header)
        assert way.parameter in ("", sender.parameter)


# nothing else is raised

ODD_BODIES = [b"[" * 5000, b'{"value": 1}', b'{"value": [1]}', b'{"signature": []}', b"payload=%"]


@given(
    name=st.sampled_from(PROVEN),
    proof=st.text(max_size=200),
    moment=st.text(max_size=40),
    secret=st.text(min_size=1),
    body=st.one_of(
        st.binary(), st.sampled_from([b"[" * 5000, b'{"value": 1}', b'{"signature": []}', b"payload=%"])
    ),
    content_type=st.sampled_from(["application/json", FORM, "text/plain; charset=utf-16", "x"]),
    query=st.text(max_size=60),
)
def test_whatever_comes_the_answer_is_a_mismatch(
    *, name: str, proof: str, moment: str, secret: str, body: bytes, content_type: str, query: str
) -> None:
    """No input to the verifiers raises anything else, and noise is never believed."""
    sender = row(name)
    places = [place for way in sender.ways for place in (way.timestamp, way.id)]
    others = {place[7:]: moment for place in places if place.startswith("header:")}
    headers = {"content-type": content_type, **others, sender.header: proof}
    request = Request("POST", f"{URL}?{sender.parameter}={query}&bodySHA256={moment}", headers, body, NOW)

    for one in (secret + "!", delivery_of(name).secret):
        assert "" != reason(sender, one, request)


@example(name="svix", at=365, byte=66)  # bits of base64 that say nothing
@given(name=st.sampled_from(PROVEN), at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_of_a_proof_is_never_believed(name: str, at: int, byte: int) -> None:
    """Unless it says the same in another way, as hex digits of both cases do."""

    def change(text: str) -> str:
        place = at % len(text)
        return text[:place] + chr(byte) + text[place + 1 :]

    request = signed(name)
    changed = with_proof(name, request, change)
    verdict = reason(row(name), delivery_of(name).secret, changed)

    if verdict == "":
        assert proof_in(name, changed).strip().lower() == proof_in(name, request).lower()


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
    delivery = delivery_of(name)
    settings = {
        "verify": name,
        **({"secret": delivery.secret} if delivery.secret else {}),
        **delivery.settings,
    }
    path = tmp_path / "monqbus.ini"
    path.write_text("[hook:a]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
    path.chmod(0o600)

    assert name == load(path, {}).hooks["a"].verify
