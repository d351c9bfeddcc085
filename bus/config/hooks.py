"""Declares the section `[hook:NAME]`: what its settings demand of each other, and its pages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..senders import SENDERS, Sender, adapted, either
from ..senders.keys import EXPECTED, has_cryptography, key_of, way_of
from . import answer_demands
from .ini import Section
from .secrets import SHORTEST, Secret, is_weak
from .section_kinds import Live, SectionKind, Values
from .section_settings import Hook
from .topics import PLACEHOLDERS

_OWN: Final = frozenset().union(*(sender.takes for sender in SENDERS.values()))
"""Settings that do something for some senders only."""
_WRITTEN: Final = {
    "secret": "secret = env:GITHUB_WEBHOOK_SECRET",
    "user": "user = alertmanager",
    "header": "header = X-Signature",
    "public_url": "public_url = https://hooks.example.org/hooks/sms",
    "verify_token": "verify_token = env:META_VERIFY_TOKEN",
}
"""What a sender may not be without, as it is written."""
_EXAMPLES: Final[Live] = {
    "hook:github": {
        "verify": "github",
        "secret": "env:GITHUB_WEBHOOK_SECRET",
        "topic": "github.{event}",
    },
    "hook:deploy": {
        "verify": "token",
        "secret": "file:deploy.token",
        "weak_secret": "no",
        "header": "X-Deploy-Token",
        "topic": "deploy.{body:kind}",
        "topic_fallback": "deploy.other",
        "delivery_id": "{body:run.id}",
        "on_duplicate": "ignore",
        "replay_guard": "no",
        "when": 'body.ref == "refs/heads/main" and body.kind in ("push", "tag")',
        "allow_ips": "127.0.0.1, 192.0.2.0/24, 2001:db8::/32",
    },
    "hook:orders": {
        "verify": "token",
        "secret": "env:ORDERS_TOKEN",
        "format": "cloudevents",
        "topic": "orders.{event}",
    },
    "hook:metrics": {
        "verify": "token",
        "secret": "env:METRICS_TOKEN",
        "content_type": "application/json",
        "accept_gzip": "yes",
    },
    "hook:billing": {
        "verify": "standard",
        "secret": "env:BILLING_OLD_SECRET\n    env:BILLING_NEW_SECRET",
        "tolerance": "5m",
    },
    "hook:parcels": {
        "verify": "hmac",
        "secret": "env:PARCELS_SECRET",
        "header": "X-Parcel-Signature",
        "prefix": "v1=",
        "separator": "space",
        "algorithm": "sha512",
        "encoding": "base64",
        "key": "raw",
        "signed": "{timestamp}.{body}",
        "timestamp": "header:X-Parcel-Time",
        "time_format": "ms",
        "methods": "POST, PUT",
    },
    "hook:pump": {"verify": "token", "secret": "env:PUMP_TOKEN", "scheme": "Token"},
    "hook:alerts": {"verify": "basic", "secret": "env:ALERTS_PASSWORD", "user": "alertmanager"},
    "hook:sms": {
        "verify": "twilio",
        "secret": "env:TWILIO_AUTH_TOKEN",
        "public_url": "https://hooks.example.org/hooks/sms",
    },
    "hook:whatsapp": {
        "verify": "whatsapp",
        "secret": "env:META_APP_SECRET",
        "verify_token": "env:META_VERIFY_TOKEN",
        "topic": "whatsapp.{event}",
    },
    "hook:chat": {
        "verify": "token",
        "secret": "env:CHAT_TOKEN",
        "topic": "chat.{body:command|none}",
        "status": "200",
        "body": '{"text": "{body:command|it} is under way as {id}"}',
        "header.Content-Type": "application/json",
        "header.X-Served-By": "monqbus",
        "wait": "5s",
        "output": "yes",
        "stream": "10m",
    },
    "hook:newsletter": {"verify": "mailchimp", "secret": "env:NEWSLETTER_TOKEN", "query": "key"},
}

_ABOUT: Final = """\

Each hook is a section of its own; NAME has 1 to 64 letters, digits, `_` and `-`. `secret` is required
unless `verify = none`, and refused with it. To change a secret without losing a delivery, write the
old and the new one, each on a line; both are accepted until you remove the old one:

```ini
[hook:billing]
verify = standard
secret = env:BILLING_OLD_SECRET
    env:BILLING_NEW_SECRET
```

`verify = none` on an address that other machines can reach is warned about.
"""


def _demands(section: Section, values: Values, _: Path) -> list[tuple[int, str]]:
    """What is missing, and what is there although it would do nothing: (line, sentence)."""
    verify = values.read.get("verify")
    if verify is None:
        return []
    sender = SENDERS[verify]
    if missing := [key for key in ("secret", *sender.required) if key in sender.takes - values.given]:
        article = "a secret" if missing[0] == "secret" else missing[0]
        remedy = f"write for example {_WRITTEN[missing[0]]}"
        sentence = f"expected {article} for verify = {verify}, got none; {remedy}"
        return [(section.line, f"[{section.name}]: {sentence}")]
    secrets = values.read.get("secrets", ())
    is_allowed = values.read.get("weak_secret", False)
    return [
        *_idle(section, verify),
        *_names_proof(section, sender, values, "topic"),
        *_names_proof(section, sender, values, "delivery_id"),
        *_proof_in_rule(section, sender, values),
        *_attributes_in_topic(section, values),
        *_clashes(section, values),
        *answer_demands.clashes(section, values),
        *_bad_keys(section, values),
        *([] if is_allowed else _weak_secrets(section, sender, secrets)),
    ]


def _idle(section: Section, verify: str) -> list[tuple[int, str]]:
    found = []
    for key in section.entries.keys() & (_OWN - SENDERS[verify].takes):
        fitting = [name for name, sender in SENDERS.items() if key in sender.takes]
        is_rare = len(fitting) < len(SENDERS) // 2
        expected = f"it with verify = {either(fitting)} only, got it with" if is_rare else "none with"
        got = "" if is_rare else ", got one"
        remedy = "remove it, or write verify = token" if key == "secret" else "remove it"
        sentence = f"expected {expected} verify = {verify}{got}; {remedy}"
        found.append((section.entries[key].line, f"[{section.name}] {key}: {sentence}"))
    return sorted(found)


def _names_proof(section: Section, sender: Sender, values: Values, key: str) -> list[tuple[int, str]]:
    """The placeholder of the header that carries the proof: it is not stored either."""
    header = _proof(sender, values)
    named = {one.where.lower() for one in PLACEHOLDERS.compile(values.read.get(key, "")).placeholders}
    if not header or header not in named:
        return []
    sentence = f"expected a header that is kept, got {header}, which carries the proof; name another one"
    return [(section.entries[key].line, f"[{section.name}] {key}: {sentence}")]


def _attributes_in_topic(section: Section, values: Values) -> list[tuple[int, str]]:
    """A placeholder that only CloudEvents have a value for."""
    placeholders = PLACEHOLDERS.compile(values.read.get("topic", "")).placeholders
    named = [str(one) for one in placeholders if one.kind == "attribute"]
    if not named or values.read.get("format") == "cloudevents":
        return []
    sentence = f"expected {named[0]} with format = cloudevents only; write that too, or another placeholder"
    return [(section.entries["topic"].line, f"[{section.name}] topic: {sentence}")]


def _proof_in_rule(section: Section, sender: Sender, values: Values) -> list[tuple[int, str]]:
    """As `_names_proof`, for the rule."""
    header, rule = _proof(sender, values), values.read.get("when")
    if rule is None or header not in rule.headers:
        return []
    sentence = f"expected a header that is kept, got {header}, which carries the proof; name another one"
    return [(section.entries["when"].line, f"[{section.name}] when: {sentence}")]


def _proof(sender: Sender, values: Values) -> str:
    """The lower-case name of the header that carries the proof; "" when no header does."""
    own: str = values.read.get("header", "").lower()
    return own if own and "header" in sender.takes else sender.header


def _clashes(section: Section, values: Values) -> list[tuple[int, str]]:
    """Settings that say one thing twice, or half of it."""
    given, subject = values.given, f"[{section.name}]"
    places = [key for key in ("header", "scheme", "query") if key in given]
    if values.read.get("verify") == "token" and len(places) > 1:
        sentence = f"expected one place of the token, got {' and '.join(places)}; remove one of them"
        return [(section.entries[places[1]].line, f"{subject} {places[1]}: {sentence}")]
    if "signed" not in given and "timestamp" not in given:
        return []
    if values.read.get("verify") != "hmac":
        return []
    is_signed = "{timestamp}" in values.read.get("signed", "")
    if is_signed == bool(values.read.get("timestamp")):
        return []
    key = "signed" if is_signed else "timestamp"
    sentence = (
        "expected timestamp = header:NAME for {timestamp}, got none; write where the time stands"
        if is_signed
        else "expected {timestamp} in signed, got none: a time that is not signed proves nothing; write "
        "signed = {timestamp}.{body} or what the sender signs"
    )
    return [(section.entries[key].line, f"{subject} {key}: {sentence}")]


def _weak_secrets(section: Section, sender: Sender, secrets: tuple[Secret, ...]) -> list[tuple[int, str]]:
    ways = [way_of(sender, secret.reveal()) for secret in secrets]
    are_short = any(
        way is not None and way.key in ("raw", "basic") and is_weak(secret)
        for way, secret in zip(ways, secrets, strict=True)
    )
    if "weak_secret" not in sender.takes or not are_short:
        return []
    sentence = (
        f"expected at least {SHORTEST} bytes, got fewer; take a longer one, such as `openssl rand -hex 32` "
        "prints, or write weak_secret = yes"
    )
    return [(section.entries["secret"].line, f"[{section.name}] secret: {sentence}")]


def _bad_keys(section: Section, values: Values) -> list[tuple[int, str]]:
    """Secrets that are no keys of this sender, and keys that need a package that is not installed."""
    secrets = values.read.get("secrets", ())
    row = adapted(
        values.read["verify"], **{key: values.read[key] for key in ("key", "user") if key in values.read}
    )
    if not row.ways:
        return []
    ways = [way_of(row, secret.reveal()) for secret in secrets]
    subject = f"[{section.name}] secret"
    if None in ways:
        expected = either(list(dict.fromkeys(EXPECTED[way.key] for way in row.ways)))
        sentence = f"expected {expected}, got something else; copy it from the sender"
        return [(section.entries["secret"].line, f"{subject}: {sentence}")]
    if any(way and way.is_asymmetric for way in ways) and not has_cryptography():
        sentence = (
            "expected the package cryptography, which public keys need, got none; install it: "
            "pip install 'monqbus[signatures]'"
        )
        return [(section.entries["secret"].line, f"{subject}: {sentence}")]
    if any(way and key_of(way, secret.reveal()) is None for way, secret in zip(ways, secrets, strict=True)):
        sentence = "expected a key of the sender's kind, got another one; copy it from the sender"
        return [(section.entries["secret"].line, f"{subject}: {sentence}")]
    return []


HOOK: Final = SectionKind(
    "hook",
    "hooks",
    Hook,
    "Who may send to POST /hooks/NAME, and the topic it becomes.",
    "github",
    _demands,
    _ABOUT,
    _EXAMPLES,
    is_closed_without=True,
)
