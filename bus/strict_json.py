"""Parses JSON from strangers: strictly UTF-8, bounded, without Python's extensions.

``json.loads`` alone accepts UTF-16, NaN, lone surrogates, duplicate keys and unbounded depth; each
of them breaks something later (RFC 8259 sections 4, 6 and 8).

It also holds the interpreter until it is done. A long text is therefore cut at commas outside of
strings, and each piece parsed as a text of its own, between the brackets that are open where it
begins and those that close what is open where it ends: ``[1,{"a":2,"b":3}]`` is ``[1]``,
``[0,{"a":2}]`` and ``[{"":0,"b":3}]``. What a piece begins with is its comma, so that none is missed.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import unquote_to_bytes

_FORM = "application/x-www-form-urlencoded"
_CHARSET = re.compile(r"\bcharset\s*=\s*\"?([^\";\s]+)", re.IGNORECASE)
_CODECS = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "latin1"), "iso-8859-1"),
    "iso-8859-15": "iso-8859-15",
    "windows-1252": "windows-1252",
    "utf-16": "utf-16",
}

MAX_DEPTH = 64
MAX_KEYS = 10_000
INT64_DIGITS = 19

PIECE_BYTES = 32 * 1024
ALL: Final = "*"
"""The last step of a path of `parse`: not only a scalar there is wanted, but what an object or list holds."""
"""So much is parsed in one go: 1 to 3 ms when it is all brackets, a tenth of that when it is text."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# once pairs of backslashes are overwritten, each "\\u" is an escape
_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|[c-fC-F](?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD].))"
)
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_CLOSERS = bytes.maketrans(b"[{", b"]}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# between two commas each level can be opened and closed once; each object has a key there
_MOST_BETWEEN_COMMAS = 4 * MAX_DEPTH
# the key under which a piece has the object or list that began before it: as a sender's key it is refused
_BEGUN = "\udcff"


class BadJson(ValueError):
    """The bytes are not JSON that can be kept; the message says why and where."""


def parse(
    body: bytes, pause: Callable[[], object] = lambda: None, only: Collection[str] | None = None
) -> Any:
    """Parse *body*; raise BadJson for anything that would not survive being stored and read.

    *pause* is called between two pieces; each has PIECE_BYTES, or holds one string that is longer. With
    *only*, `at_path` needs to find what is at these paths and nothing else (`ALL` behind one: all below it),
    and most of a long text is
    not kept: as objects it takes thirty times its size, and whenever Python looks for garbage, time.
    """
    body = body.removeprefix(codecs.BOM_UTF8)  # RFC 8259 section 8.1: may be ignored; .NET writes one
    if len(body) > PIECE_BYTES:
        return _Pieces(body, only, pause).parse()
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(_Window(body).brackets(), 0)
    value = _decoded(body, 0, len(body))
    _check_surrogates(body)
    return value


def text_in(body: bytes, content_type: str, pause: Callable[[], object] = lambda: None) -> bytes:
    """The JSON text in a *body* that came as *content_type*, in UTF-8: all of it, or a form's ``payload``.

    GitHub and Slack send forms with JSON in that field. Raises BadJson for a body in which there is none;
    whether it is JSON, `parse` says. *pause* is called between the pieces of a long form.
    """
    if not body:
        raise BadJson("body: empty, which is no JSON")
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() == _FORM:
        return _payload(body, pause)
    if not parameters:
        return body
    charset = _CHARSET.search(parameters)
    codec = _CODECS.get(charset[1].lower()) if charset else "utf-8"
    if codec is None:
        raise BadJson(
            f"body: expected a charset of {', '.join(_CODECS)}, got {charset and charset[1][:40]!r}"
        )
    if codec == "utf-8":
        return body
    try:
        return body.decode(codec).encode("utf-8")
    except UnicodeError:
        raise BadJson(f"body: expected {codec}, as its type says, got bytes that are not") from None


def _payload(body: bytes, pause: Callable[[], object]) -> bytes:
    start = 0 if body.startswith(b"payload=") else body.find(b"&payload=") + 1
    end = body.find(b"&", start)
    if not body.startswith(b"payload=", start) or (end >= 0 and body.find(b"&payload=", end) >= 0):
        raise BadJson("body: expected one field payload of a form, with JSON in it")
    return unquoted(body[start + len(b"payload=") : end if end >= 0 else len(body)], pause)


def unquoted(value: bytes, pause: Callable[[], object]) -> bytes:
    """A *value* of a form without its escapes; *pause* is called between the pieces of a long one."""
    if len(value) <= PIECE_BYTES:
        return unquote_to_bytes(value.replace(b"+", b" "))
    pieces, start = [], 0
    while start < len(value):
        end = start + PIECE_BYTES
        if (escape := value.find(b"%", end - 2, end)) >= 0:
            end = escape  # it is not cut in two
        pieces.append(unquote_to_bytes(value[start:end].replace(b"+", b" ")))
        start = end
        pause()
    return b"".join(pieces)


def value_at(value: Any, path: str, missing: Any = None) -> Any:
    """What is at *path* in parsed JSON, whatever it is; *missing* when the path leads nowhere."""
    for step in path.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return missing
    return value


def at_path(value: Any, path: str) -> str | None:
    """The text of the scalar at *path* in parsed JSON; None when there is none."""
    return scalar_text(value_at(value, path))


def scalar_text(value: Any) -> str | None:
    """The text of a scalar of JSON; None for what is none, and for null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None


class _Pieces:
    """Parses one long text piece by piece."""

    def __init__(self, body: bytes, only: Collection[str] | None, pause: Callable[[], object]) -> None:
        self._body = body
        self._pause = pause
        self._root: Any = None
        self._levels = b""  # the brackets that are open where the next piece begins
        self._begun: list[_Begun] = []  # and the objects and lists that they opened
        self._paths = None if only is None or ALL in only else [path.split(".") for path in only]

    def parse(self) -> Any:
        """The value. Raises BadJson."""
        start = self._take(0)
        while start < len(self._body):
            self._pause()
            start = self._take(start)
        return self._root

    def _take(self, start: int) -> int:
        """Parse the piece that begins at *start*; where the next one does."""
        end, brackets, is_hopeless = _next_piece(self._body, start, self._pause)
        _check_depth(brackets, len(self._levels))
        closed, opened = _unmatched(brackets)
        kept = max(len(self._levels) - closed, 0)
        levels = self._levels[:kept] + opened
        is_last = end == len(self._body)
        piece = self._body[start:end]
        after = levels.translate(_CLOSERS)[::-1].decode()
        if is_last or piece.rstrip(b" \t\r\n").endswith((b"[", b"{")):  # a comma cannot follow these
            after = ""
        value = _decoded(self._body, start, end, _openers(self._levels), after)
        _check_surrogates(piece)
        if is_hopeless or not (is_last or levels):
            raise _not_json(self._body, "Extra data", end)
        self._join(value, kept, len(opened))
        self._levels = levels
        return end

    def _join(self, value: Any, kept: int, opened: int) -> None:
        """Add what a piece brings to what began before it; note what has begun behind it."""
        if not self._begun:
            self._root = _thinned(value, self._paths, 0, max(opened - 1, 0))
        for level, (begun, paths) in enumerate(self._begun, 1):
            still_open = opened if level == kept else 0
            if isinstance(begun, list):
                value, *more = value
                begun.extend(_thinned(more, paths, len(begun), still_open))
            else:
                more, value = value, value.pop(_BEGUN)
                _add(begun, _thinned(more, paths, 0, still_open))
        del self._begun[kept:]
        for _ in range(opened):
            outer = self._begun[-1] if self._begun else None
            self._begun.append(_last(*outer) if outer else _Begun(self._root, self._paths))


class _Begun(NamedTuple):
    """An object or list that goes on in the next piece, and the steps of the paths that lead on from it."""

    value: Any
    paths: list[list[str]] | None


class _Window:
    """A stretch of text, taken apart at its quotes. *is_inside*: it begins within a string."""

    def __init__(self, text: bytes, is_inside: bool = False) -> None:
        # escapes are overwritten, pairs of backslashes first: what is left of quotes are ends of strings
        self.parts = text.replace(b"\\\\", b"__").replace(b'\\"', b"__").split(b'"')
        self.first = int(is_inside)  # the parts outside of strings are every second one from here
        self.ends_inside = is_inside ^ (len(self.parts) % 2 == 0)

    def brackets(self, until: tuple[int, int] | None = None) -> bytes:
        """Those outside of strings, up to a place that `last_comma` gave."""
        if until is None:
            return b"".join(self.parts[self.first :: 2]).translate(None, _OTHERS)
        number, at = until
        parts = [*self.parts[self.first : number : 2], self.parts[number][:at]]
        return b"".join(parts).translate(None, _OTHERS)

    def last_comma(self, least: int) -> tuple[int, int] | None:
        """The part with the last comma outside of strings, and where in it: not before *least*."""
        count = len(self.parts)
        for number in range(count - 1 - (count - 1 - self.first) % 2, -1, -2):
            at = self.parts[number].rfind(b",", 0 if number else least)
            if at >= 0:
                return number, at
        return None

    def offset(self, place: tuple[int, int]) -> int:
        """How far from the beginning *place* is."""
        number, at = place
        return sum(map(len, self.parts[:number])) + number + at


def _next_piece(body: bytes, start: int, pause: Callable[[], object]) -> tuple[int, bytes, bool]:
    """Where the piece that begins at *start* ends, its brackets, and whether nothing can follow it.

    It ends before the last comma outside of strings in PIECE_BYTES, or in as many more as have none.
    """
    at, is_inside, brackets = start, False, b""
    while at + PIECE_BYTES < len(body):
        text = body[at : at + PIECE_BYTES]
        if (len(text) - len(text.rstrip(b"\\"))) % 2:
            text = body[at : at + PIECE_BYTES + 1]  # with the other half of an escape
        window = _Window(text, is_inside)
        comma = window.last_comma(1 if start == at else 0)
        if comma is not None:
            return at + window.offset(comma), brackets + window.brackets(comma), False
        at, is_inside = at + len(text), window.ends_inside
        brackets += window.brackets()
        if max(len(window.parts), len(brackets)) > _MOST_BETWEEN_COMMAS:
            return at, brackets, True
        pause()
    return len(body), brackets + _Window(body[at:], is_inside).brackets(), False


def _check_depth(brackets: bytes, level: int) -> None:
    deepest = max(accumulate(map(_STEP.__getitem__, brackets), initial=level))
    if deepest > MAX_DEPTH:
        raise BadJson(f"body: nested deeper than {MAX_DEPTH} levels")


def _unmatched(brackets: bytes) -> tuple[int, bytes]:
    """How many of *brackets* close what was open before them, and those that stay open behind them."""
    longer = b""
    while longer != brackets:
        longer, brackets = brackets, brackets.replace(b"[]", b"").replace(b"{}", b"")
    opened = brackets.lstrip(b"]}")  # if others than these are left, the parser refuses the piece
    return len(brackets) - len(opened), opened


def _openers(levels: bytes) -> str:
    """What a piece that begins within *levels* needs in front of it."""
    opening = "".join("[" if level == ord("[") else f'{{"{_BEGUN}":' for level in levels)
    return f"{opening}0" if opening else ""


def _last(begun: Any, paths: list[list[str]] | None) -> _Begun:
    step = len(begun) - 1 if isinstance(begun, list) else next(reversed(begun))
    return _Begun(begun[step], paths and _below(paths, step))


def _below(paths: list[list[str]], step: str | int) -> list[list[str]] | None:
    """The rest of those *paths* that begin with *step*; None where one of them wants all that is there."""
    below = [rest for first, *rest in paths if rest and first == str(step)]
    return None if [ALL] in below else below


def _thinned(members: Any, paths: list[list[str]] | None, offset: int, still_open: int) -> Any:
    """*members* of an object, or of a list from *offset* on, with None for all that no path leads to.

    The last one stays, thinned as well, while *still_open*, a number of levels, is not 0.
    """
    if paths is None or not isinstance(members, (dict, list)):
        return members
    if isinstance(members, dict):
        thin: Any = dict.fromkeys(members)
        steps: list[Any] = [path[0] for path in paths if path[0] in members]
    else:
        thin = [None] * len(members)
        places = [int(path[0]) - offset for path in paths if path[0].isdecimal()]
        steps = [place for place in places if 0 <= place < len(members)]
    for step in steps:
        thin[step] = members[step]
    if still_open:
        last = next(reversed(members)) if isinstance(members, dict) else len(members) - 1
        below = _below(paths, last + offset if isinstance(last, int) else last)
        thin[last] = _thinned(members[last], below, 0, still_open - 1)
    return thin


def _add(begun: dict[str, Any], more: dict[str, Any]) -> None:
    if not begun.keys().isdisjoint(more):
        raise _stands_twice(next(key for key in more if key in begun))
    if len(begun) + len(more) > MAX_KEYS:
        raise _too_many_keys()
    begun.update(more)


def _decoded(body: bytes, start: int, end: int, before: str = "", after: str = "") -> Any:
    """The value of *body* from *start* to *end*, with *before* and *after* around it."""
    try:
        text = body[start:end].decode("utf-8")
        return _DECODER.decode(before + text + after)
    except UnicodeDecodeError as error:
        at = start + error.start
        raise BadJson(f"body: expected UTF-8, got byte 0x{body[at]:02x} at {at}") from error
    except json.JSONDecodeError as error:
        at = min(max(error.pos - len(before), 0), len(text))
        raise _not_json(body, error.msg, start + len(text[:at].encode())) from error


def _not_json(body: bytes, reason: str, at: int) -> BadJson:
    line = body.count(b"\n", 0, at) + 1
    column = len(body[body.rfind(b"\n", 0, at) + 1 : at].decode("utf-8", "replace")) + 1
    return BadJson(f"body: not JSON, {reason} at line {line} column {column}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS and len(pairs) > MAX_KEYS + (pairs[0][0] == _BEGUN):
        raise _too_many_keys()
    value = dict(pairs)
    if len(value) != len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _stands_twice(twice)
    return value


def _too_many_keys() -> BadJson:
    return BadJson(f"body: an object with more than {MAX_KEYS} keys")


def _stands_twice(key: str) -> BadJson:
    return BadJson(f"body: key {key[:80]!r} stands twice in one object")


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


def _check_surrogates(piece: bytes) -> None:
    """Of text that has been parsed: only such pairs of escapes as are one character may stand in it."""
    if _SURROGATE.search(piece) and _LONE_SURROGATE.search(piece.replace(b"\\\\", b"__")):
        raise BadJson("body: a lone surrogate escape (\\ud800 to \\udfff) is not a character")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_finite,
    parse_int=_integer,
    parse_constant=_refuse_constant,
)
