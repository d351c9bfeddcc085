"""Masks what looks secret by its key, for visitors who only look. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import dumps
from typing import Any, Final

from ..http import Queue
from ..strict_json import BadJson, parse
from .roles import Role
from .visitor import Visitor

MASK: Final = "(masked)"
DEEPEST: Final = 64
_PARSING: Final = Queue()
_SECRET: Final = re.compile(
    r"passw|passphrase|secret|token|credential|authori[sz]ation|api[-_]?key|private[-_]?key|access[-_]?key|cookie"
    r"|signature|session|bearer|jwt|hmac|^(?:pin|pwd|key|auth|sig|otp|iban|cvv?|cvc|ssn)$",
    re.IGNORECASE,
)


def masked(value: Any, visitor: Visitor) -> Any:
    """*value* as *visitor* may see it: an operator whole, a viewer without what secret-looking keys have."""
    return value if visitor.may(Role.OPERATOR) else without_secrets(value)


def without_secrets(value: Any) -> Any:
    """*value* with MASK in place of what has a secret-looking key, for whoever looks."""
    return _masked(value, 0)


def masked_body(body: bytes) -> str | None:
    """A *body* for who only looks: JSON with secret-looking keys masked, of others nothing; None of none."""
    if not body:
        return None
    try:
        return dumps(_masked(parse(body, _PARSING.step_back), 0), ensure_ascii=False)
    except (BadJson, RecursionError):
        return MASK


def _masked(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {key: MASK if _is_secret(key, one) else _masked(one, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(one, depth + 1) for one in value]
    return value


def _is_secret(key: object, value: Any) -> bool:
    return value not in (None, "", [], {}) and isinstance(key, str) and bool(_SECRET.search(key))
