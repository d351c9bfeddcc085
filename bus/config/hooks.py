"""Checks a `[hook:NAME]` section: what its settings demand of each other."""

from __future__ import annotations

import re

from .ini import Section
from .secrets import SHORTEST, Secret, is_signing_key, is_weak
from .sections import Reader, Values
from .settings import Hook
from .value_types import shown

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ONLY_FOR = {"header": "token", "tolerance": "standard"}


def read_hook(section: Section, reader: Reader) -> Hook | None:
    """The hook that *section* describes, or None when its mistakes leave none. Blocks for secret files."""
    name = section.name.removeprefix("hook:")
    values = reader.values(section, Hook)
    problems = [*_name_problems(section, name), *_demands(section, values)]
    for line, sentence in problems:
        reader.findings.problem(line, sentence)
    if problems or "verify" not in values.read:
        return None
    return Hook(name=name, **values.read, where=reader.findings.place(section.line))


def _name_problems(section: Section, name: str) -> list[tuple[int, str]]:
    if _NAME.fullmatch(name):
        return []
    expected = "expected a name of 1 to 64 letters, digits, _ and - behind hook:"
    return [(section.line, f"[hook:NAME]: {expected}, got {shown(name)}; write for example [hook:github]")]


def _demands(section: Section, values: Values) -> list[tuple[int, str]]:
    """What is missing, and what is there although it would do nothing: (line, sentence)."""
    subject = f"[{section.name}]"
    verify = values.read.get("verify")
    if "verify" not in values.given:
        return [
            (section.line, f"{subject}: expected the key verify, got none; write for example verify = github")
        ]
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
