"""What a hook says of its sender's proof: read, put into the sender's row, or refused with its remedy."""

from __future__ import annotations

from typing import Any

import pytest

from bus.senders import adapted, keys
from tests.deliveries import KEY, PUBLIC, WHSEC

from .inifile import faults, problems, read, write

WHPK = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
HMAC = f"[hook:x]\nverify = hmac\nsecret = {KEY}\nheader = X-Sig\n"


def way(text: str) -> Any:
    """The first way of proof of the hook that *text* describes."""
    return read(text).hooks["x"].sender.ways[0]


def test_a_hook_describes_a_sender_that_signs_in_a_way_of_its_own(folder):
    """Each setting is one column of the row."""
    found = way(
        f"{HMAC}prefix = v1=\nseparator = space\nalgorithm = sha512\nencoding = base64\nkey = raw\n"
        "signed = {method}:{timestamp}:{header:X-Id}:{body}\ntimestamp = header:X-At\ntime_format = rfc3339\n"
        "tolerance = 1m\n"
    )

    assert ("header:x-sig", "v1=", " ", "sha512", "base64") == (
        found.place, found.prefix, found.separator, found.algorithm, found.encoding,
    )  # fmt: skip
    assert ("header:x-at", "rfc3339", 60.0) == (found.timestamp, found.unit, found.tolerance)
    assert "{method}:{timestamp}:{header:X-Id}:{body}" == found.signed


@pytest.mark.parametrize(
    ("verify", "expected"), [("twitch", 600.0), ("elevenlabs", 1800.0), ("stripe", 300.0)]
)
def test_without_a_tolerance_the_senders_own_counts(verify, expected, folder):
    """Which a hook's own replaces."""
    text = f"[hook:x]\nverify = {verify}\nsecret = {KEY}\n"

    assert expected == way(text).tolerance
    assert 10.0 == way(f"{text}tolerance = 10s\n").tolerance


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "[hook:x]\nverify = twilio\nsecret = " + KEY,
            "1: [hook:x]: expected public_url for verify = twilio, got none; "
            "write for example public_url = https://hooks.example.org/hooks/sms",
        ),
        (
            f"[hook:x]\nverify = hmac\nsecret = {KEY}",
            "1: [hook:x]: expected header for verify = hmac, got none; "
            "write for example header = X-Signature",
        ),
        (
            f"[hook:x]\nverify = meta\nsecret = {KEY}",
            "1: [hook:x]: expected verify_token for verify = meta, got none; "
            "write for example verify_token = env:META_VERIFY_TOKEN",
        ),
        (
            f"[hook:x]\nverify = token\nsecret = {KEY}\nheader = X-A\nquery = a",
            "5: [hook:x] query: expected one place of the token, got header and query; remove one of them",
        ),
        (
            f"{HMAC}timestamp = header:X-At",
            "5: [hook:x] timestamp: expected {timestamp} in signed, got none: a time that is not signed "
            "proves nothing; write signed = {timestamp}.{body} or what the sender signs",
        ),
        (
            f"{HMAC}signed = {{timestamp}}.{{body}}",
            "5: [hook:x] signed: expected timestamp = header:NAME for {timestamp}, got none; "
            "write where the time stands",
        ),
        (
            f"{HMAC}signed = {{id}}.{{body}}",
            "5: [hook:x] signed: expected a known placeholder, got '{id}'; known are {body}, {timestamp}, "
            "{method}, {url}, {form}, {payload}, {header:X}, {query:x} and {json:dotted.path}",
        ),
        (
            f"{HMAC}signed = fixed",
            "5: [hook:x] signed: expected a template of at most 256 characters with at least one "
            "placeholder, got 'fixed'; write for example {timestamp}.{body}",
        ),
        (
            f"{HMAC}key = hex",
            "3: [hook:x] secret: expected a key in hex, got something else; copy it from the sender",
        ),
        (
            f"[hook:x]\nverify = discord\nsecret = {KEY}",
            "3: [hook:x] secret: expected a public key, 64 hex digits, got something else; "
            "copy it from the sender",
        ),
        (
            "[hook:x]\nverify = gitlab\nsecret = whsec_c2hvcnQ=",
            "3: [hook:x] secret: expected a secret or whsec_ and the base64 of 24 to 64 bytes, got something "
            "else; copy it from the sender",
        ),
        (
            f"[hook:x]\nverify = github\nsecret = {KEY}\nmethods = post",
            "4: [hook:x] methods: expected methods of POST, PUT, PATCH, DELETE, GET, HEAD, separated by "
            "commas, got 'post'; write for example POST, PUT",
        ),
        (
            f"[hook:x]\nverify = github\nsecret = {KEY}\nuser = a",
            "4: [hook:x] user: expected it with verify = basic, alertmanager or sns only, got it with "
            "verify = github; remove it",
        ),
        (
            f"[hook:x]\nverify = twilio\nsecret = {KEY}\npublic_url = https://a/b?c=d",
            "4: [hook:x] public_url: expected a URL of http or https without ?, got 'https://a/b?c=d'; "
            "write for example https://hooks.example.org/hooks/sms",
        ),
    ],
)
def test_what_cannot_work_is_one_sentence_with_its_remedy(written, said, folder):
    """At load, and not when a delivery comes."""
    assert [f"monqbus.ini:{said}"] == problems(written + "\n")


@pytest.mark.parametrize(("verify", "secret"), [("discord", PUBLIC), ("standard", WHPK), ("svix", WHPK)])
def test_a_public_key_asks_for_cryptography_at_load(verify, secret, folder, monkeypatch):
    """Where it is missing, with how to install it; a common key of the same sender does without."""
    monkeypatch.setattr("bus.config.hooks.has_cryptography", lambda: False)
    text = f"[hook:x]\nverify = {verify}\nsecret = {secret}\n"
    expected = "expected the package cryptography, which public keys need, got none; install it: "

    assert [f"monqbus.ini:3: [hook:x] secret: {expected}pip install 'monqbus[signatures]'"] == problems(text)
    assert "whsec" == way(f"[hook:x]\nverify = standard\nsecret = {WHSEC}\n").key


def test_without_cryptography_a_public_key_believes_nobody(monkeypatch):
    """Should a daemon ever get that far."""
    monkeypatch.setattr(keys, "has_cryptography", lambda: False)

    assert () == keys.ring(adapted("discord", tolerance=1.0), (PUBLIC,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[hook:x]\nverify = token\nsecret = {KEY}\nquery = a\n", "a secret in the URL stands in the logs"),
        (f"[hook:x]\nverify = mailchimp\nsecret = {KEY}\n", "a secret in the URL stands in the logs"),
        (f"{HMAC}signed = {{header:X-Id}}\n", "the body is not signed"),
    ],
)
def test_what_is_careless_is_warned_of(text, said, folder):
    """It works, and is told by `check` and at each start."""
    (warning,) = read(text).warnings

    assert said in warning


@pytest.mark.parametrize(
    ("secret", "environ", "said"),
    [
        ("env:NOT_SET", {}, "none: it is not set"),
        ("env:EMPTY", {"EMPTY": " \n"}, "nothing: it is empty"),
        ("file:absent", {}, "No such file or directory"),
        ("file:empty", {}, "nothing: it is empty"),
        ("file:comments", {}, "nothing but comments"),
        ("", {}, "nothing; write for example"),
        ("# to be filled in", {}, "nothing; write for example"),
        ("credential:absent", {"CREDENTIALS_DIRECTORY": "."}, "No such file or directory"),
        ("credential:empty", {"CREDENTIALS_DIRECTORY": "."}, "nothing: it is empty"),
        ("credential:any", {}, "$CREDENTIALS_DIRECTORY is not set"),
    ],
)
@pytest.mark.parametrize("key", ["secret", "verify_token"])
def test_a_secret_that_is_not_there_opens_nothing(key, secret, environ, said, folder):
    """The hook is closed, with the sentence that says how to open it; it never takes an empty secret."""
    (folder / "empty").write_text("")
    write("comments", b"# the secret of the sender\n")
    settings = {"secret": KEY, "verify_token": KEY, key: secret}
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())

    (fault,) = faults(f"[hook:x]\nverify = meta\n{lines}", environ)

    assert f"[hook:x] {key}: expected" in fault
    assert said in fault


@pytest.mark.parametrize("first", [KEY, "env:NOT_SET"])
def test_one_missing_secret_of_several_closes_the_hook(first, folder):
    """What the sender signs with the missing one would get 401, and not come again; 503 it does."""
    second = "env:NOT_SET" if first == KEY else KEY

    config = read(f"[hook:x]\nverify = token\nsecret = {first}\n    {second}\n")

    assert ["x"] == list(config.faults)
    assert () == config.hooks["x"].secrets


def test_a_missing_secret_is_told_with_the_mistakes_of_the_file(folder):
    """Whoever mends the file need not find out about it afterwards."""
    found = problems(
        f"[hook:x]\nverify = token\nsecret = env:NOT_SET\n[hook:y]\nverify = tokn\nsecret = {KEY}\n"
    )

    assert ["monqbus.ini:3", "monqbus.ini:5"] == [sentence.partition(": ")[0] for sentence in found]
