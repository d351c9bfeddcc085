"""Types of values that say how a sender proves itself: headers, places, what is signed, methods."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ..placeholders import BadPlaceholder
from ..senders import SIGNED_BY_HOOK
from .value_types import Unfit, ValueType, duration, quoted

LONGEST: Final = 256
"""Characters of a template of what is signed."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_PARAMETER = re.compile(r"[^\s{}|&=#]{1,64}")
_PLACE = re.compile(r"header:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}|query:[^\s{}|&=#]{1,64}|item:[^\s,;]{1,16}")
_USER = re.compile(r"[^:\x00-\x1f\x7f]{1,256}")
_TEXT = re.compile(r"[\x20-\x7e]{1,32}")
_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]{1,255}(?:/[^\s?#]{0,1024})?")
_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE", "GET", "HEAD")


def _or_none(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text and not pattern.fullmatch(text):
            raise Unfit
        return text

    return read


def duration_or_none(least: str, most: str) -> ValueType[float]:
    """A duration, in seconds; 0 where there is none."""
    kind = duration(least, most)
    return ValueType(kind.expected, kind.example, lambda text: kind.read(text) if text else 0.0)


def _read_signed(text: str) -> str:
    try:
        template = SIGNED_BY_HOOK.compile(text)
    except BadPlaceholder as error:
        raise Unfit(quoted(error.got), expected=error.expected, remedy=error.remedy) from None
    for one in template.placeholders:
        if one.default is not None:
            raise Unfit(quoted(f"{one}"), expected="no default behind |", remedy=f"write {{{one.name}}}")
    if len(text) > LONGEST or not template.placeholders:
        raise Unfit
    return text


def _read_methods(text: str) -> tuple[str, ...]:
    methods = tuple(item for item in (part.strip() for part in re.split(r"[,\n]", text)) if item)
    if not methods:
        raise Unfit
    for method in methods:
        if method not in _METHODS:
            raise Unfit(quoted(method))
    return methods


HEADER_OR_NONE: Final = ValueType("the name of an HTTP header", "X-Gitlab-Token", _or_none(_TOKEN))
WORD_OR_NONE: Final = ValueType("one word before the token in Authorization", "Token", _or_none(_TOKEN))
PARAMETER_OR_NONE: Final = ValueType("the name of a query parameter", "token", _or_none(_PARAMETER))
USER_NAME_OR_NONE: Final = ValueType("a user name without : in it", "alertmanager", _or_none(_USER))
TEXT: Final = ValueType("at most 32 characters", "sha256=", _or_none(_TEXT))
PLACE_OR_NONE: Final = ValueType(
    "header:NAME, query:NAME or item:PREFIX",
    "header:X-Timestamp",
    _or_none(_PLACE),
)
SIGNED_CONTENT: Final = ValueType(
    f"a template of at most {LONGEST} characters with at least one placeholder",
    "{timestamp}.{body}",
    _read_signed,
)
URL_OR_NONE: Final = ValueType(
    "a URL of http or https without ?",
    "https://hooks.example.org/hooks/sms",
    _or_none(_URL),
)
METHODS: Final = ValueType(
    f"methods of {', '.join(_METHODS)}, separated by commas", "POST, PUT", _read_methods, _METHODS
)
