"""What is said of a saved delivery: which step fails, by how much, for which secret; and no secret in it."""

from __future__ import annotations

from json import dumps

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ConfigError, UsageError
from bus.senders import SENDERS, adapted
from bus.webhook.attempt import completed, sample_body, signed_by_any
from bus.webhook.request import Request
from bus.webhook.saved import head_of, header_of
from bus.webhook.signed import Mismatch
from bus.webhook.verdict import verdict
from bus.webhook.verify import verify
from tests import deliveries
from tests.deliveries import URL, Delivery

NOW = 1_767_225_600.0
_ALL = {name: deliveries.of(name) for name in SENDERS}


def tried(name: str, **changed: object) -> Request:
    """The made-up delivery of the sender *name*, signed, with *changed* fields of it."""
    one = _ALL[name]
    sender = adapted(name, **one.settings)
    request = Request("POST", URL, completed(sender, {}, "d-1"), sample_body(sender, "d-1"), NOW)
    signed = signed_by_any(sender, (one.secret,), request, (one.signs,) if one.signs else ())
    return signed._replace(**changed)  # type: ignore[arg-type]


def fault(name: str, request: Request, *secrets: str) -> str:
    one = _ALL[name]
    return verdict(adapted(name, **one.settings), secrets or (one.secret,), request).fault


def without(request: Request, header: str, value: str = "") -> dict[str, str]:
    """The headers with another value of one, or without it."""
    rest = {key: one for key, one in request.headers.items() if key != header}
    return {**rest, header: value} if value else rest


@pytest.mark.parametrize("name", _ALL)
def test_every_senders_attempt_is_proven_by_the_secret_that_is_named(name: str) -> None:
    """The second of two, after one of another's."""
    one = _ALL[name]
    found = verdict(adapted(name, **one.settings), (one.other, one.secret), tried(name))

    assert "" == found.fault
    assert not one.secret or found.steps[-1] == "proof: right, by secret 2 of 2"


GITHUB, STRIPE, TWITCH = tried("github"), tried("stripe"), tried("twitch")
SIGNATURE = "x-hub-signature-256"


@pytest.mark.parametrize(
    ("name", "request_", "says"),
    [
        ("github", GITHUB._replace(headers=without(GITHUB, SIGNATURE)),
         "header x-hub-signature-256: expected the proof of the sender, got none; has the sender a secret?"),
        ("github", tried("gitea"), "got none; the headers are those of verify = gitea"),
        ("github", GITHUB._replace(headers=without(GITHUB, SIGNATURE, "sha1=00")),
         "header x-hub-signature-256: expected a value beginning with sha256=, got one beginning with sha1="),
        ("github", GITHUB._replace(headers=without(GITHUB, SIGNATURE, "sha256=")), "got nothing behind it"),
        ("github", GITHUB._replace(body=GITHUB.body + b"\n"),
         "proof: wrong for secret 1 of 1; the saved body has a newline at its end that was not signed"),
        ("github", GITHUB._replace(body=b"{}"),
         "proof: wrong for secret 1 of 1; compare the secret with the sender's, save the body byte for byte"),
        ("stripe", STRIPE._replace(received=NOW + 1000),
         "t= in header stripe-signature: expected at most 300 s from the time of receiving, got 1000 s "
         "older, 700 s too much; name when it came with --at, set the clock, or write a larger tolerance"),
        ("stripe", STRIPE._replace(received=NOW - 301), "got 301 s later, 1 s too much"),
        ("stripe", STRIPE._replace(headers=without(STRIPE, "stripe-signature", "v1=00")),
         "t= in header stripe-signature: expected the time that is signed, got none"),
        ("stripe", STRIPE._replace(headers=without(STRIPE, "stripe-signature", "t=soon,v1=00")),
         "t= in header stripe-signature: expected Unix seconds, got something else"),
        ("twitch", TWITCH._replace(headers=without(TWITCH, "twitch-eventsub-message-id")),
         "header twitch-eventsub-message-id: expected the id that is signed, got none"),
        ("mailgun", tried("mailgun", body=b"x"),
         "body: expected JSON, in which this sender has its proof, got none"),
        ("mailchimp", tried("mailchimp", url=URL),
         "parameter secret of the URL: expected the proof of the sender, got none; name the whole URL"),
        ("trello", tried("trello", url=URL.replace("https", "http")),
         "the other of http and https is signed; write it into public_url"),
        ("token", tried("okta"), "header authorization: expected a value beginning with Bearer"),
    ],
)  # fmt: skip
def test_the_step_that_fails_is_named(name: str, request_: Request, says: str) -> None:
    """Each in a sentence with what was expected, and the remedy."""
    said = fault(name, request_)

    assert says in said
    assert _ALL[name].secret not in said


def test_a_secret_of_several_is_named_and_none_is_shown() -> None:
    """Wrong for one of two, wrong for each of two, and a text that is no key at all."""
    sender = SENDERS["standard"]
    one = _ALL["standard"]
    request = tried("standard")

    assert "wrong for each of 2 secrets" in fault("github", GITHUB, "x" * 24, "y" * 24)
    assert "wrong for secret 1 of 1" in fault("standard", request, one.other)
    assert "secret 1 of 1: expected whsec_ and" in verdict(sender, ("plain",), request).fault
    assert "the hook has none" in verdict(sender, (), request).fault


def test_another_algorithm_or_encoding_is_found_out() -> None:
    """A sender of one's own that signs with SHA-1, in base64."""
    sender = adapted("hmac", header="X-Signature", algorithm="sha1", encoding="base64")
    request = signed_by_any(sender, ("k" * 24,), Request("POST", URL, {}, b"{}", NOW))
    said = verdict(adapted("hmac", header="X-Signature"), ("k" * 24,), request).fault

    assert "it is made with sha1 in base64, not sha256 in hex" in said


def test_a_public_key_signs_nothing() -> None:
    """Of Ed25519 either key is 32 bytes: what is signed has to be verified, too."""
    one = _ALL["discord"]
    request = Request("POST", URL, {}, b"{}", NOW)
    with pytest.raises(ConfigError, match="got a public key"):
        signed_by_any(SENDERS["discord"], (one.secret,), request)
    with pytest.raises(ConfigError, match="--key: expected what signs for a secret of the hook"):
        signed_by_any(SENDERS["discord"], (one.other,), request, (one.signs,))


_HEADERS = sorted({way.header for one in SENDERS.values() for way in one.ways})
_TEXT = st.text(st.characters(max_codepoint=255), max_size=40)


@given(
    name=st.sampled_from(list(_ALL)),
    headers=st.dictionaries(st.sampled_from(_HEADERS), _TEXT),
    body=st.binary(max_size=60) | st.just(dumps({"signature": {"timestamp": 1}, "value": [{}]}).encode()),
    secret=st.text(max_size=30),
)  # fmt: skip
def test_whatever_was_saved_the_verdict_is_that_of_verify(
    name: str, headers: dict[str, str], body: bytes, secret: str
) -> None:
    """No head, body or secret raises, and no sentence calls proven what the daemon refuses."""
    one: Delivery = _ALL[name]
    sender = adapted(name, **one.settings)
    request = Request("POST", URL, headers, body, NOW)
    found = verdict(sender, (secret,), request)
    try:
        verify(sender, (secret,), request)
        refused = False
    except Mismatch:
        refused = True

    assert refused == bool(found.fault)


@pytest.mark.parametrize(
    "content",
    [
        b"POST /hooks/a?b=1 HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nX-One: 2\r\n\r\n",
        b"> POST /hooks/a?b=1 HTTP/1.1\n> Host: h\n> x-one: 1\n> X-ONE:2\n>\n",
        b"Request URL: /hooks/a?b=1\nRequest method: POST\nHost: h\nX-One: 1,2\n",
    ],
)
def test_a_head_is_read_as_http_curl_and_pages_show_it(content: bytes) -> None:
    """Repeated headers are joined by commas, as the daemon does."""
    head = head_of(content)

    assert ("POST", "/hooks/a?b=1") == (head.method, head.url)
    assert {"host": "h", "x-one": "1,2"} == head.headers


def test_a_head_may_be_json() -> None:
    """As inspectors of webhooks and our own events show it."""
    assert {"x-one": "1", "x-two": "a,b"} == head_of(b'{"X-One": "1", "x-two": ["a", "b"]}').headers


@pytest.mark.parametrize("content", [b"what", b'{"a": 1}', b"{", b"a b: c", b"A: b\n" * 1 + b"\xff\n"])
def test_what_is_no_head_is_refused_without_being_shown(content: bytes) -> None:
    """It may hold a secret that lost its name."""
    with pytest.raises(UsageError, match="--headers: "):
        head_of(content)


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_a_head_or_our_refusal(content: bytes) -> None:
    """Nothing else is raised."""
    try:
        head_of(content)
    except UsageError as error:
        assert str(error).startswith("--headers: ")


def test_a_header_of_the_command_line_has_a_name() -> None:
    """And the bytes of its value each as a character, as they come in."""
    assert ("x-one", "gr\xc3\xbc\xc3\x9f") == header_of("X-One:  grüß ")
    with pytest.raises(UsageError, match="expected NAME: VALUE"):
        header_of("nothing")
