"""Who is believed: published vectors, forged and worn-out signatures, headers made to hurt."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.senders import SENDERS, Sender, adapted
from bus.webhook.request import Request
from bus.webhook.verify import Mismatch, verify

GITHUB = SENDERS["github"]
STANDARD = SENDERS["standard"]
TOKEN = SENDERS["token"]

GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_TIME = 1614265330
STANDARD_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
STANDARD_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(STANDARD_TIME),
    "webhook-signature": STANDARD_SIGNATURE,
}


def reason(
    sender: Sender, secrets: tuple[str, ...], headers: dict[str, str], body: bytes, now: float = 0.0
) -> str:
    """Why the delivery is not believed; "" when it is."""
    try:
        verify(sender, secrets, Request("POST", "http://a/hooks/a", headers, body, now))
    except Mismatch as mismatch:
        return mismatch.reason
    return ""


def github(signature: str, *secrets: str, body: bytes = GITHUB_BODY) -> str:
    return reason(GITHUB, secrets or (GITHUB_SECRET,), {"x-hub-signature-256": signature}, body)


def standard(
    now: float = STANDARD_TIME, secrets: tuple[str, ...] = (STANDARD_SECRET,), **changed: str
) -> str:
    headers = {**STANDARD_HEADERS, **{f"webhook-{name}": value for name, value in changed.items()}}
    return reason(STANDARD, secrets, headers, STANDARD_BODY, now)


def test_the_example_of_github_is_believed() -> None:
    """docs.github.com, "Validating webhook deliveries"."""
    assert "" == github(GITHUB_SIGNATURE)


def test_the_example_of_standard_webhooks_is_believed() -> None:
    """standard-webhooks/standard-webhooks, tests of the Python library."""
    assert "" == standard()


def test_the_counterexample_of_standard_webhooks_is_not_believed() -> None:
    """The same library: one character of the signature changed."""
    assert "wrong" == standard(signature="v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=")


@pytest.mark.parametrize("changed", [{"id": "msg_other"}, {"timestamp": str(STANDARD_TIME + 1)}])
def test_standard_webhooks_signs_id_and_time(changed: dict[str, Any]) -> None:
    """A captured delivery cannot be sent again under another id or at another time."""
    assert "wrong" == standard(**changed)


def test_one_changed_byte_of_the_body_is_noticed() -> None:
    """The signature covers the raw bytes."""
    assert "wrong" == github(GITHUB_SIGNATURE, body=b"Hello, World?")


@pytest.mark.parametrize("secrets", [("new", GITHUB_SECRET), (GITHUB_SECRET, "old"), (GITHUB_SECRET,)])
def test_any_of_the_secrets_is_enough(secrets: tuple[str, ...]) -> None:
    """Rotation: the sender may know the previous secret or already the next."""
    assert "" == github(GITHUB_SIGNATURE, *secrets)


def test_no_other_secret_is_enough() -> None:
    """Several secrets are several chances for the sender, not for everybody."""
    assert "wrong" == github(GITHUB_SIGNATURE, "new", "old")


def test_any_signature_of_a_list_is_enough() -> None:
    """Standard Webhooks: a rotating sender signs with both keys; other versions are passed over."""
    forged = "v1," + base64.b64encode(b"x" * 32).decode()

    assert "" == standard(signature=f"v1a,AAAA {forged} {STANDARD_SIGNATURE}")
    assert "wrong" == standard(signature=f"v1a,AAAA {forged}")
    assert "malformed" == standard(signature="v1a,AAAA v2,BBBB")


@pytest.mark.parametrize(("late", "verdict"), [(300, ""), (300.5, "stale"), (-300, ""), (-300.5, "stale")])
def test_a_signature_wears_out_both_ways(late: float, verdict: str) -> None:
    """Five minutes late or early is the sender's clock, more is a replay."""
    assert verdict == standard(now=STANDARD_TIME + late)


def test_a_stale_time_is_told_before_the_signature() -> None:
    """The head alone says so: no body is read for it, and none could bear it out."""
    assert "stale" == standard(now=0, signature="v1,AAAA")
    assert "wrong" == standard(signature="v1,AAAA")


@pytest.mark.parametrize("written", ["sha256= {}", "SHA256={}", " sha256={} "])
@pytest.mark.parametrize("form", [str.lower, str.upper])
def test_honest_spellings_of_a_hex_signature_are_believed(written: str, form: type[str]) -> None:
    """Upper case, a space behind the prefix: seen in the wild."""
    assert "" == github(written.format(form(GITHUB_SIGNATURE[7:])))


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ("", "missing"),
        ("sha256=", "malformed"),
        (GITHUB_SIGNATURE[7:], "malformed"),
        ("sha1=" + GITHUB_SIGNATURE[7:], "malformed"),
        (GITHUB_SIGNATURE + "," + GITHUB_SIGNATURE, "wrong"),
        (GITHUB_SIGNATURE[:-1], "wrong"),
        (GITHUB_SIGNATURE + "0", "wrong"),
        ("sha256=\xff\xfe", "wrong"),
        ("sha256=\u20ac\ud800", "wrong"),
        ("sha256=" + "0" * 60_000, "wrong"),
    ],
)
def test_a_bad_signature_header_is_a_mismatch(given: str, verdict: str) -> None:
    """Never a 500: hmac.compare_digest raises TypeError on text beyond ASCII."""
    assert verdict == github(given)


@pytest.mark.parametrize(
    "moment", ["1.5", "1_7", " 17 ", "-1", "+1", "1e9", "\u0661", "9" * 5000, "NaN", "now"]
)
def test_a_timestamp_is_a_whole_number_of_seconds(moment: str) -> None:
    """Signed by a true sender or not: what another program could read differently is refused."""
    signed = f"{STANDARD_HEADERS['webhook-id']}.{moment}.".encode("latin-1", "replace") + STANDARD_BODY
    mac = hmac.digest(base64.b64decode(STANDARD_SECRET[6:]), signed, "sha256")

    assert "malformed" == standard(timestamp=moment, signature="v1," + base64.b64encode(mac).decode())


@pytest.mark.parametrize("lost", ["id", "timestamp", "signature"])
def test_every_part_of_a_standard_signature_must_be_there(lost: str) -> None:
    """An empty id or time would sign something else than the sender meant."""
    without: dict[str, Any] = {lost: ""}

    assert "missing" == standard(**without)


@pytest.mark.parametrize("secrets", [(), ("",), ("whsec_",), ("whsec_not base64",), ("whsec_\xe9",)])
def test_without_a_usable_secret_nobody_is_believed(secrets: tuple[str, ...]) -> None:
    """Fail closed: an empty key would believe everybody who knows that it is empty."""
    mac = base64.b64encode(hmac.digest(b"", b"", "sha256")).decode()

    assert "no_secret" == standard(secrets=secrets, signature=f"v1,{mac}")


def test_a_bad_secret_does_not_spoil_the_good_one() -> None:
    """While rotating, one of two may be mistyped."""
    assert "" == standard(secrets=("whsec_not base64", STANDARD_SECRET))


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ("Bearer t0ken", ""),
        ("bearer  t0ken", ""),
        ("t0ken", "malformed"),
        ("Basic t0ken", "malformed"),
        ("Bearer ", "malformed"),
        ("Bearer T0KEN", "wrong"),
        ("Bearer t0ken2", "wrong"),
        ("Bearer t\xf8ken", "wrong"),
    ],
)
def test_a_bearer_token_is_compared_whole(value: str, verdict: str) -> None:
    """RFC 6750; the word Bearer in any case, the token in its own."""
    assert verdict == reason(TOKEN, ("t0ken",), {"authorization": value}, b"")


def test_a_header_of_its_own_carries_the_bare_token() -> None:
    """As GitLab sends it: X-Gitlab-Token."""
    sender = adapted("token", header="X-Gitlab-Token")

    assert "" == reason(sender, ("t0ken",), {"x-gitlab-token": "t0ken"}, b"")
    assert "missing" == reason(sender, ("t0ken",), {"authorization": "Bearer t0ken"}, b"")


def test_the_tolerance_of_the_hook_counts() -> None:
    """`tolerance` of a hook replaces the row's."""
    sender = adapted("standard", tolerance=10.0)
    late = STANDARD_TIME + 11.0

    assert "stale" == reason(sender, (STANDARD_SECRET,), STANDARD_HEADERS, STANDARD_BODY, late)


def test_none_believes_everybody() -> None:
    """The operator chose it: verify = none."""
    assert "" == reason(SENDERS["none"], (), {}, b"anything")


@given(
    name=st.sampled_from(sorted(SENDERS)),
    signature=st.text(),
    moment=st.text(),
    delivery=st.text(),
    secret=st.text(),
    body=st.binary(),
)
def test_whatever_stands_in_headers_and_secrets_the_answer_is_a_mismatch(
    *, name: str, signature: str, moment: str, delivery: str, secret: str, body: bytes
) -> None:
    """Only `none` believes noise, and nothing raises anything but Mismatch."""
    sender = SENDERS[name]
    others = [
        place[7:]
        for place in (*(way.timestamp for way in sender.ways), *sender.delivery)
        if place.startswith("header:")
    ]
    headers = {**dict(zip(others, (moment, delivery), strict=False)), sender.header: signature}

    believed = not reason(sender, (secret + "!",), headers, body)

    assert (name == "none") == believed
