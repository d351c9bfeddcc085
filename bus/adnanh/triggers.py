"""Turns a trigger-rule into who may send (`verify`, `secret`), from where (`allow_ips`) and `when`. Pure.

Signatures and tokens may stand at the top of a rule, under and, or as an or of like ones with other
secrets. Anywhere else a rule would be half of what it was, and is lost.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any, Final

from .lost import Lost, in_ini, plain
from .sources import Parameter, is_secret, parameter_of, rule_name

DEEPEST: Final = 16
_SIGNED = re.compile(r"payload-(?:hmac|hash)-(sha1|sha256|sha512)")
_SENDERS: Final = {
    ("x-hub-signature-256", "sha256"): "github",
    ("x-gitea-signature", "sha256"): "gitea",
    ("x-forgejo-signature", "sha256"): "forgejo",
    ("x-gogs-signature", "sha256"): "gogs",
}
_IN_FRONT: Final = {"x-hub-signature": "sha1=", "x-hub-signature-256": "sha256="}
_CHOOSE: Final = "choose one proof of the sender, and write the rest as a rule"


@dataclass(frozen=True)
class Sender:
    """How a hook knows its sender: *settings* of the hook, and its *secrets*, which may be references."""

    settings: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]


@dataclass(frozen=True)
class Trigger:
    """A trigger-rule in our words; *remarks* are sentences for whoever moves."""

    sender: Sender | None = None
    networks: tuple[str, ...] = ()
    when: str = ""
    remarks: tuple[str, ...] = field(default=())


def trigger_of(rule: Any, *, unpacks_payload: bool = False) -> Trigger:
    """What *rule* says. Raises Lost where not all of it can be said."""
    found, conditions = Trigger(), []
    for part in _conjuncts(rule, 0):
        sender = _sender(part, unpacks_payload)
        if sender is not None and found.sender is not None:
            raise Lost("trigger-rule: two proofs of the sender stand under and", _CHOOSE)
        if sender is not None:
            found = replace(found, sender=sender, remarks=(*found.remarks, *_about(sender)))
        elif _type(part) == "ip-whitelist" and not found.networks:
            found = replace(found, networks=_networks(part["match"]))
        else:
            conditions.append(_condition(part, unpacks_payload, 0))
    when = " and ".join(conditions) if len(conditions) != 1 else conditions[0]
    return replace(found, when=in_ini(when, "trigger-rule"))


def _conjuncts(rule: Any, depth: int) -> list[dict[str, Any]]:
    kind, inside = _parted(rule, depth)
    if kind != "and":
        return [rule]
    return [one for part in inside for one in _conjuncts(part, depth + 1)]


def _parted(rule: Any, depth: int) -> tuple[str, Any]:
    """The kind of a rule, and what is in it. Raises Lost."""
    if depth > DEEPEST:
        raise Lost(f"trigger-rule: expected at most {DEEPEST} levels, got more", "write it flatter")
    keys = [
        key for key in ("and", "or", "not", "match") if isinstance(rule, dict) and rule.get(key) is not None
    ]
    if len(keys) != 1 or len(rule) != 1:
        raise Lost("trigger-rule: expected one of and, or, not, match, got something else", "correct it")
    (kind,) = keys
    inside = rule[kind]
    if not isinstance(inside, list if kind in ("and", "or") else dict):
        raise Lost(f"trigger-rule: {kind}: expected rules, got something else", "correct it")
    return kind, inside


def _type(rule: dict[str, Any]) -> str:
    match = rule.get("match")
    kind = match.get("type", "") if isinstance(match, dict) else ""
    return kind if isinstance(kind, str) else ""


def _about(sender: Sender) -> list[str]:
    settings = dict(sender.settings)
    if settings["verify"] == "hmac" and "prefix" not in settings:
        return [
            "trigger-rule: a word in front of the signature, such as sha256=, was optional; where the sender "
            f"writes it into {settings['header']}, add prefix = {settings['algorithm']}= to the hook"
        ]
    return []


def _sender(rule: dict[str, Any], unpacks: bool) -> Sender | None:
    """The proof that *rule* asks for, alone or as an or of like ones; None for another rule."""
    kind, inside = _parted(rule, 0)
    if kind == "or":
        found = [_sender(part, unpacks) for part in inside] if inside else [None]
        if any(one is None or one.settings != found[0].settings for one in found if found[0]) or not found[0]:
            return None
        return Sender(found[0].settings, tuple(secret for one in found if one for secret in one.secrets))
    if kind != "match":
        return None
    what = _type(rule)
    if signed := _SIGNED.fullmatch(what):
        return _signed(inside, signed[1], unpacks)
    if what == "scalr-signature":
        return Sender((("verify", "scalr"),), (_secret(inside, "secret"),))
    if what != "value" or not is_secret(_parameter(inside, unpacks)):
        return None
    return _token(inside, _parameter(inside, unpacks))


def _parameter(match: dict[str, Any], unpacks: bool) -> Parameter:
    return parameter_of(match.get("parameter"), "trigger-rule: parameter", unpacks_payload=unpacks)


def _secret(match: dict[str, Any], key: str) -> str:
    """The secret itself, or its reference in the characters around a template's. Never quoted."""
    secret = match.get(key)
    if isinstance(secret, bool) or not isinstance(secret, (str, int)) or not str(secret):
        raise Lost(f"trigger-rule: {key}: expected a secret, got none", "write one")
    return str(secret)


def _signed(match: dict[str, Any], algorithm: str, unpacks: bool) -> Sender:
    parameter = _parameter(match, unpacks)
    if parameter.kind != "header":
        raise Lost(
            "trigger-rule: a signature stands elsewhere than in a header", "let the sender use a header"
        )
    secret, header = _secret(match, "secret"), parameter.name.lower()
    if (header, algorithm) in _SENDERS:
        return Sender((("verify", _SENDERS[header, algorithm]),), (secret,))
    prefix = _IN_FRONT.get(header, "")
    if prefix and not prefix.startswith(algorithm):
        prefix = f"{algorithm}="
    settings = [("verify", "hmac"), ("header", parameter.name), ("algorithm", algorithm)]
    return Sender((*settings, *([("prefix", prefix)] if prefix else [])), (secret,))


def _token(match: dict[str, Any], parameter: Parameter) -> Sender:
    value = _secret(match, "value")
    if parameter.kind == "body":
        remedy = "let the sender send it in a header, and write verify = token"
        raise Lost(f"trigger-rule: a secret stands in the body, at {parameter.name}", remedy)
    if parameter.kind == "query":
        return Sender((("verify", "token"), ("query", parameter.name)), (value,))
    header = parameter.name.lower()
    if header == "x-gitlab-token" and not value.startswith("whsec_"):
        return Sender((("verify", "gitlab"),), (value,))
    if header != "authorization":
        return Sender((("verify", "token"), ("header", parameter.name)), (value,))
    scheme, space, token = value.partition(" ")
    if not space or not re.fullmatch(r"[A-Za-z0-9-]{1,32}", scheme) or not token.strip():
        raise Lost("trigger-rule: Authorization: expected a word and a token, got something else",
                   "write the word as scheme, with verify = token")  # fmt: skip
    if scheme.lower() == "basic":
        return _basic(token.strip())
    own = () if scheme == "Bearer" else (("scheme", scheme),)
    return Sender((("verify", "token"), *own), (token.strip(),))


def _basic(token: str) -> Sender:
    try:
        user, colon, password = base64.b64decode(token, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        user = colon = password = ""
    if not user or not colon or not password:
        raise Lost("trigger-rule: Authorization: expected user and password, got something else",
                   "write verify = basic with them")  # fmt: skip
    return Sender((("verify", "basic"), ("user", in_ini(plain(user, "user"), "user"))), (password,))


def _networks(match: dict[str, Any]) -> tuple[str, ...]:
    ranges = plain(match.get("ip-range", ""), "trigger-rule: ip-range").split()
    try:
        return tuple(str(ip_network(one, strict=False)) for one in ranges) or _no_range()
    except ValueError:
        return _no_range()


def _no_range() -> tuple[str, ...]:
    raise Lost("trigger-rule: ip-range: expected networks, got something else", "correct it")


def _condition(rule: Any, unpacks: bool, depth: int) -> str:
    """The rule in our language, in parentheses where it has several parts."""
    kind, inside = _parted(rule, depth)
    if kind == "match":
        return _matched(rule, inside, unpacks)
    if kind == "not":
        # what is missing fulfils no rule of theirs, a not of one either
        there = [f"exists({name})" for name in dict.fromkeys(_names(inside, unpacks, depth + 1))]
        return f"({' and '.join([*there, f'not ({_condition(inside, unpacks, depth + 1)})'])})"
    if not inside:
        raise Lost(f"trigger-rule: {kind}: expected rules, got none", "correct it")
    return f"({f' {kind} '.join(_condition(part, unpacks, depth + 1) for part in inside)})"


def _names(rule: Any, unpacks: bool, depth: int) -> list[str]:
    """The names that *rule* reads and that may be missing."""
    kind, inside = _parted(rule, depth)
    if kind == "match":
        if _type(rule) == "ip-whitelist":
            return ["ip"]  # none behind a proxy that does not name the client
        name = rule_name(_parameter(inside, unpacks), "trigger-rule")
        return [] if name == "method" else [name]
    parts = [inside] if kind == "not" else inside
    return [name for part in parts for name in _names(part, unpacks, depth + 1)]


def _matched(rule: dict[str, Any], match: dict[str, Any], unpacks: bool) -> str:
    kind = _type(rule)
    if kind == "ip-whitelist":
        return f"ip in ({', '.join(map(_text, _networks(match)))})"
    if _SIGNED.fullmatch(kind) or kind == "scalr-signature":
        raise Lost("trigger-rule: a signature stands under or, not or beside another one", _CHOOSE)
    if kind not in ("value", "regex"):
        raise Lost(f"trigger-rule: the type {plain(kind, 'type')!r} is not known here", "correct it")
    parameter = _parameter(match, unpacks)
    if is_secret(parameter):
        raise Lost("trigger-rule: a secret stands under or, not or beside another one", _CHOOSE)
    name = rule_name(parameter, "trigger-rule")
    if kind == "regex":
        return f"{name} matches {_text(plain(match.get('regex', ''), 'trigger-rule: regex'))}"
    value = plain(match.get("value", ""), "trigger-rule: value")
    if parameter.kind == "body" and (
        value in ("true", "false") or re.fullmatch(r"-?(0|[1-9][0-9]{0,14})", value)
    ):
        return f"({name} == {_text(value)} or {name} == {value})"  # they compare everything as text
    return f"{name} == {_text(value)}"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
