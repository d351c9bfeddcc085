"""What a hook answers to a delivery that is stored: its status, a text with placeholders, headers.

A text may be JSON, whose braces are no placeholders: those are a brace, a word and no quote before the end.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final

from ..placeholders import ALONE, PATH, BadPlaceholder, Grammar, Placeholder, Template
from .value_types import Unfit, ValueType, quoted, whole_number

ACCEPTED: Final = 202
BODILESS: Final = frozenset({204, 205})
"""RFC 9110, sections 15.3.5 and 15.3.6: such an answer has no content."""
TEXT: Final = "text/plain; charset=utf-8"
"""The type of a text that names none."""
CONTENT_TYPE: Final = "content-type"
_LONGEST_TEXT: Final = 4096
_LONGEST_VALUE: Final = 1024

_GRAMMAR = Grammar({"id": ALONE, "topic": ALONE, "body": PATH})
_PLACEHOLDER = re.compile(r"(\{[A-Za-z_][^{}\"\s|]*(?:\|[^{}]*)?\})")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_OURS: Final = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-range", "date", "keep-alive"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-content-type-options"),
        "x-request-id",
    }
)
"""They frame the answer or the connection, or say what only the server knows."""


@lru_cache(maxsize=1024)
def template_of(text: str) -> Template:
    """The template that the text of an answer is. Raises BadPlaceholder."""
    parts: list[str | Placeholder] = []
    for number, piece in enumerate(_PLACEHOLDER.split(text)):
        if number % 2:
            parts += _GRAMMAR.compile(piece).parts
        elif piece:
            parts.append(piece)
    return Template(tuple(parts))


@lru_cache(maxsize=1024)
def paths_in(text: str) -> tuple[str, ...]:
    """The paths into a delivery's body that the text of an answer asks for."""
    return tuple(one.where for one in template_of(text).placeholders if one.kind == "body")


@lru_cache(maxsize=1024)
def is_json(content_type: str) -> bool:
    """Whether a text of this type has its values in quotes, with JSON's own escapes."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def is_json_when_filled(text: str) -> bool:
    """Whether *text* is JSON when its placeholders have values."""
    try:
        json.loads(template_of(text).fill(lambda _: "x"))
    except ValueError:
        return False
    return True


def type_of(headers: tuple[tuple[str, str], ...]) -> str:
    """The type that *headers* give to the text."""
    return next((value for name, value in headers if name.lower() == CONTENT_TYPE), TEXT)


def _read_text(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        raise Unfit(f"{len(text)} characters")
    try:
        template_of(text)
    except BadPlaceholder as error:
        raise Unfit(quoted(error.got), expected=error.expected, remedy=error.remedy) from None
    return text


def _read_header(line: str) -> tuple[tuple[str, str], ...]:
    """*line* is ``NAME: VALUE``; one without a value is none."""
    name, _, value = line.partition(":")
    value = value.strip(" ")
    if not value:
        return ()
    if not _NAME.fullmatch(name):
        raise Unfit(
            quoted(name),
            expected="the name of a header behind header.",
            remedy="write for example header.X-Served-By",
        )
    if name.lower() in _OURS:
        raise Unfit(
            name, expected="a header that is not the server's own", remedy="remove it: the server sets it"
        )
    if len(value) > _LONGEST_VALUE or not _VALUE.fullmatch(value):
        raise Unfit(quoted(value))
    return ((name, value),)


STATUS: Final = whole_number(200, 299)
ANSWER_TEXT: Final = ValueType(
    f"a text of at most {_LONGEST_TEXT} characters, with the placeholders {_GRAMMAR.known}",
    "accepted as {id}",
    _read_text,
    is_language=True,
)
ANSWER_HEADER: Final = ValueType(
    f"one line of at most {_LONGEST_VALUE} printable ASCII characters", "monqbus", _read_header
)
