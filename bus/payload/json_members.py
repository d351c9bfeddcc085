"""Where the members of an object stand in a JSON text, so that their bytes are kept as they came.

For texts that `strict_json.parse` has taken: nothing is checked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from .refusal import BadPayload

TOKENS_A_PAUSE: Final = 4096
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_BLANKS: Final = b" \t\r\n"
_OPENING: Final = b"[{"
_CLOSING: Final = b"]}"

Members = dict[bytes, bytes]
"""The texts of an object's values, by the texts of their keys, quotes included."""


def of_object(text: bytes, pause: Callable[[], object]) -> Members:
    """The members of the object that *text* is. Raises BadPayload when it is another value."""
    start = _behind_space(text, 0)
    _require(text, start, b"{", "a JSON object")
    return _members(text, start, pause)[0]


def of_array(text: bytes, most: int, pause: Callable[[], object]) -> list[Members]:
    """The members of each object in the array that *text* is, *most* at most. Raises BadPayload."""
    at = _behind_space(text, 0)
    _require(text, at, b"[", "a JSON array")
    found: list[Members] = []
    at = _behind_space(text, at + 1)
    while not text.startswith(b"]", at):
        if len(found) == most:
            raise BadPayload(f"body: expected at most {most} items, got more")
        _require(text, at, b"{", f"an object as item {len(found)}")
        members, at = _members(text, at, pause)
        found.append(members)
        at = _behind_space(text, at)
        if text.startswith(b",", at):
            at = _behind_space(text, at + 1)
        if len(found) % 64 == 0:
            pause()
    return found


def _require(text: bytes, at: int, opening: bytes, expected: str) -> None:
    if not text.startswith(opening, at):
        raise BadPayload(f"body: expected {expected}, got another value")


def _behind_space(text: bytes, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _members(text: bytes, start: int, pause: Callable[[], object]) -> tuple[Members, int]:
    """The members of the object that begins at *start*, and where it ends."""
    members: Members = {}
    key, begin = b"", start
    for token, at in _at_first_level(text, start, pause):
        if token == b":":
            begin = at + 1
        elif token in b",}":
            if key:
                members[key] = text[begin:at].strip(_BLANKS)
            if token == b"}":
                return members, at + 1
            key = b""
        elif not key:
            key = token
    return members, len(text)


def _at_first_level(text: bytes, start: int, pause: Callable[[], object]) -> Iterator[tuple[bytes, int]]:
    """Strings, colons and commas of the object that begins at *start*, and its end, each with its place."""
    depth = 0
    for count, match in enumerate(_TOKEN.finditer(text, start), 1):
        token = match[0]
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth -= 1
            if not depth:
                yield token, match.start()
        elif depth == 1:
            yield token, match.start()
        if count % TOKENS_A_PAUSE == 0:
            pause()
