"""JSON as a stranger may send it: strictly UTF-8, bounded, without Python's extensions.

``json.loads`` alone accepts UTF-16, NaN, lone surrogates, duplicate keys and unbounded depth; each
of them breaks something later (webhooks.md, "Python pitfalls"; RFC 8259 sections 4, 6 and 8).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from json import dumps
from typing import Any, NoReturn

MAX_DEPTH = 64
MAX_KEYS = 10_000
INT64_DIGITS = 19

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# one that is not closed ends with the body: else each quote in it would be tried as a beginning (measured:
# 32 KB of them took 3 s, with the interpreter's lock held)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)


class BadJson(ValueError):
    """The bytes are not JSON that can be kept; the message says why and where."""


def parse(body: bytes) -> Any:
    """Parse *body*; raise BadJson for anything that would not survive being stored and read."""
    _check_depth(body)
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise BadJson(f"body: expected UTF-8, got byte 0x{body[error.start]:02x} at {error.start}") from error
    except json.JSONDecodeError as error:
        raise BadJson(f"body: not JSON, {error.msg} at line {error.lineno} column {error.colno}") from error
    if _SURROGATE.search(body):
        _check_surrogates(value)
    return value


def at_path(value: Any, path: str) -> str | None:
    """The text of the scalar at *path* in parsed JSON; None when there is none."""
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for char in _STRING.sub(b"", body):
        if char in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJson(f"body: nested deeper than {MAX_DEPTH} levels")
        elif char in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise BadJson(f"body: an object with more than {MAX_KEYS} keys")
    value = dict(pairs)
    if len(value) != len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise BadJson(f"body: key {twice[:80]!r} stands twice in one object")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadJson(f"body: number {text[:40]} is too large for a float")
    return value


def _integer(text: str) -> int:
    if len(text) > INT64_DIGITS + 1 or not -(2**63) <= (value := int(text)) < 2**63:
        raise BadJson(f"body: number {text[:40]} is too large for 64 bits")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise BadJson(f"body: {name} is not JSON")


def _check_surrogates(value: Any) -> None:
    try:
        dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadJson("body: a lone surrogate escape (\\ud800 to \\udfff) is not a character") from error


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_finite,
    parse_int=_integer,
    parse_constant=_refuse_constant,
)
