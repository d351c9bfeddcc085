"""Declares the section `[hook:NAME]`: what its settings demand of each other, and its pages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from .ini import Section
from .secrets import SHORTEST, Secret, is_signing_key, is_weak
from .section_kinds import Live, SectionKind, Values
from .settings import Hook

_ONLY_FOR = {"header": "token", "tolerance": "standard"}
_EXAMPLES: Final[Live] = {
    "hook:github": {
        "verify": "github",
        "secret": "env:GITHUB_WEBHOOK_SECRET",
        "topic": "github.{event}",
    },
    "hook:gitlab": {
        "verify": "token",
        "secret": "file:gitlab.token",
        "weak_secret": "no",
        "header": "X-Gitlab-Token",
        "topic": "gitlab.{body:object_kind}",
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
    if verify != "none" and "secret" not in values.given:
        remedy = "write for example secret = env:GITHUB_WEBHOOK_SECRET"
        return [(section.line, f"{subject}: expected a secret for verify = {verify}, got none; {remedy}")]
    secrets = values.read.get("secrets", ())
    is_allowed = values.read.get("weak_secret", False)
    return [
        *_idle(section, verify),
        *_weak_keys(section, verify, secrets),
        *([] if is_allowed else _weak_secrets(section, verify, secrets)),
    ]


def _idle(section: Section, verify: str) -> list[tuple[int, str]]:
    found = []
    for key, entry in section.entries.items():
        only = _ONLY_FOR.get(key)
        if only and verify != only:
            sentence = f"expected it with verify = {only} only, got it with verify = {verify}; remove it"
            found.append((entry.line, f"[{section.name}] {key}: {sentence}"))
        if key == "weak_secret" and verify in ("none", "standard"):
            sentence = f"expected it with verify = token or github, got it with verify = {verify}; remove it"
            found.append((entry.line, f"[{section.name}] weak_secret: {sentence}"))
        if key == "secret" and verify == "none":
            sentence = "expected none with verify = none, got one; remove it, or write verify = token"
            found.append((entry.line, f"[{section.name}] secret: {sentence}"))
    return found


def _weak_secrets(section: Section, verify: str, secrets: tuple[Secret, ...]) -> list[tuple[int, str]]:
    if verify not in ("token", "github") or not any(map(is_weak, secrets)):
        return []
    sentence = (
        f"expected at least {SHORTEST} bytes, got fewer; take a longer one, such as `openssl rand -hex 32` "
        "prints, or write weak_secret = yes"
    )
    return [(section.entries["secret"].line, f"[{section.name}] secret: {sentence}")]


def _weak_keys(section: Section, verify: str, secrets: tuple[Secret, ...]) -> list[tuple[int, str]]:
    if verify != "standard" or all(is_signing_key(secret) for secret in secrets):
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
