"""Declares the section `[hook:NAME]`: what its settings demand of each other, and its pages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..senders import SENDERS, Sender, either
from .ini import Section
from .secrets import SHORTEST, Secret, is_signing_key, is_weak
from .section_kinds import Live, SectionKind, Values
from .settings import Hook
from .topics import PLACEHOLDERS

_OWN: Final = frozenset().union(*(sender.takes for sender in SENDERS.values()))
"""Settings that do something for some senders only."""
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
    },
    "hook:billing": {
        "verify": "standard",
        "secret": "env:BILLING_OLD_SECRET\n    env:BILLING_NEW_SECRET",
        "tolerance": "5m",
    },
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
    subject = f"[{section.name}]"
    verify = values.read.get("verify")
    if verify is None:
        return []
    sender = SENDERS[verify]
    if "secret" in sender.takes and "secret" not in values.given:
        remedy = "write for example secret = env:GITHUB_WEBHOOK_SECRET"
        return [(section.line, f"{subject}: expected a secret for verify = {verify}, got none; {remedy}")]
    secrets = values.read.get("secrets", ())
    is_allowed = values.read.get("weak_secret", False)
    return [
        *_idle(section, verify),
        *_names_proof(section, sender, values, "topic"),
        *_names_proof(section, sender, values, "delivery_id"),
        *_bad_keys(section, sender, secrets),
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
    header = values.read.get("header", "").lower() if "header" in sender.settings else sender.header
    named = {one.where.lower() for one in PLACEHOLDERS.compile(values.read.get(key, "")).placeholders}
    if not header or header not in named:
        return []
    sentence = f"expected a header that is kept, got {header}, which carries the proof; name another one"
    return [(section.entries[key].line, f"[{section.name}] {key}: {sentence}")]


def _weak_secrets(section: Section, sender: Sender, secrets: tuple[Secret, ...]) -> list[tuple[int, str]]:
    if "weak_secret" not in sender.takes or not any(map(is_weak, secrets)):
        return []
    sentence = (
        f"expected at least {SHORTEST} bytes, got fewer; take a longer one, such as `openssl rand -hex 32` "
        "prints, or write weak_secret = yes"
    )
    return [(section.entries["secret"].line, f"[{section.name}] secret: {sentence}")]


def _bad_keys(section: Section, sender: Sender, secrets: tuple[Secret, ...]) -> list[tuple[int, str]]:
    if sender.key != "whsec" or all(is_signing_key(secret) for secret in secrets):
        return []
    sentence = "expected whsec_ and the base64 of 24 to 64 bytes, got something else; copy it from the sender"
    return [(section.entries["secret"].line, f"[{section.name}] secret: {sentence}")]


HOOK: Final = SectionKind(
    "hook",
    "hooks",
    Hook,
    "Who may send to POST /hooks/NAME, and the topic it becomes.",
    "github",
    _demands,
    _ABOUT,
    _EXAMPLES,
)
