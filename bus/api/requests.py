"""Reads the requests of the API, and writes its answers: JSON for people and scripts, BSON for our client.

Whatever has another type than it should is Refused with 400, its subject and what was expected.
"""

from __future__ import annotations

import dataclasses
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from json import dumps
from typing import Any, Final, TypeVar

from bson import ObjectId
from bson.errors import BSONError, InvalidId
from flask import Response, request

from ..codec import decode, encode
from ..errors import Refused
from ..http import Queue, read_body
from ..model import MOMENTS, Filter
from ..presentation import plain
from ..rfc3339 import moment_in_utc
from ..safe_text import shown
from ..store.salvage import opened
from ..strict_json import BadJson, parse

Part = TypeVar("Part", list[Any], dict[str, Any])

Parsed = TypeVar("Parsed")
BSON_TYPE: Final = "application/bson"
BODY_LIMIT: Final = 16 * 1024 * 1024
_PARSING: Final = Queue()
PAGE_LIMIT: Final = 1000
_LISTS: Final = {"id": "ids", "state": "states"}
"""Parameters of a query that hold several values with commas, and the parts of a filter that they are."""


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An RFC 9457 problem document."""
    title = HTTPStatus(status).phrase
    fields = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
    answer = answered(fields, status)
    answer.headers.update(headers or {})
    return answer


def asked(words: frozenset[str] | None = None) -> dict[str, Any]:
    """The request's object, which may have these *words* alone: one left unread could widen what is meant."""
    document = _decoded(read_body(request.environ, BODY_LIMIT), request.headers.get("Content-Type", ""))
    if words is not None and (unknown := sorted(document.keys() - words)):
        raise Refused(400, "malformed", f"{unknown[0]:.80}: expected one of {', '.join(sorted(words))}")
    return document


def wants_bson() -> bool:
    """Whether the client asks for BSON, in which values keep their types."""
    return request.headers.get("Accept") == BSON_TYPE


def answered(document: Mapping[str, Any], status: int = 200) -> Response:
    """*document* as the client wants it."""
    if wants_bson():
        return Response(encode(document), status, content_type=BSON_TYPE)
    kind = "application/json" if status < 400 else "application/problem+json"
    return Response(_json(document), status, content_type=kind)


def _json(document: Mapping[str, Any]) -> str:
    return dumps(plain(document), ensure_ascii=False) + "\n"


def _decoded(body: bytes, content_type: str) -> dict[str, Any]:
    try:
        document = decode(body) if content_type == BSON_TYPE else parse(body, _PARSING.step_back)
    except (BSONError, BadJson) as error:
        raise Refused(400, "malformed", str(error)) from error
    if not isinstance(document, dict):
        raise Refused(400, "malformed", f"body: expected an object, got {type(document).__name__}")
    return document


def text_of(document: Mapping[str, Any], name: str, pattern: Any) -> str:
    """The member *name*, a text that *pattern* matches."""
    value = document.get(name)
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise Refused(400, "malformed", f"{name}: expected {pattern.pattern}, got {shown(value, 80)}")
    return value


def part_of(document: Mapping[str, Any], name: str, kind: type[Part]) -> Part:
    """The member *name*, of *kind*; an empty one where there is none."""
    value = document.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        shape = "an array" if kind is list else "an object"
        raise Refused(400, "malformed", f"{name}: expected {shape}, got {shown(value, 80)}")
    return value


def call_of(document: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call."""
    return part_of(document, "args", list), part_of(document, "kwargs", dict)


def size_of(document: Mapping[str, Any], name: str, default: int) -> int:
    """How many items a page may have."""
    value = document.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Refused(400, "malformed", f"{name}: expected a whole number above 0, got {shown(value, 40)}")
    return min(value, PAGE_LIMIT)


def flag_of(document: Mapping[str, Any], name: str) -> bool:
    """The member *name*, true or false; false where there is none."""
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise Refused(400, "malformed", f"{name}: expected true or false, got {shown(value, 40)}")
    return value


def id_of(value: Any, name: str = "id") -> ObjectId:
    """*value* as an id."""
    try:
        if isinstance(value, (str, ObjectId)):  # of None it makes a new one
            return ObjectId(value)
    except InvalidId:
        pass
    raise Refused(400, "malformed", f"{name}: expected 24 hexadecimal digits, got {shown(value)}")


def optional_id(value: Any, name: str = "id") -> ObjectId | None:
    """As id_of; None for None."""
    return None if value is None else id_of(value, name)


def cursor_of(value: Any) -> Any:
    """The id behind which a page begins: as an earlier page ended, which may be under a seal."""
    if isinstance(value, dict) and isinstance(text := value.get("base64"), str):  # as JSON has it
        with suppress(ValueError):
            value = b64decode(text, validate=True)
    return value if opened(value) is not None else optional_id(value, "cursor")


def moment_of(name: str, value: Any) -> datetime | None:
    """A moment as BSON holds it, or RFC 3339 text."""
    if value is None or isinstance(value, datetime):
        return value
    try:
        return moment_in_utc(value)
    except (TypeError, ValueError) as error:
        raise Refused(
            400, "malformed", f"{name}: expected an RFC 3339 time, got {shown(value, 40)}"
        ) from error


def filter_of(document: Mapping[str, Any]) -> Filter:
    """The filter of a request, whose values have their types; Filter itself checks what they say."""
    given = part_of(document, "filter", dict)
    which = dict(given)
    for name in ("ids", "states", "names"):
        which[name] = tuple(part_of(which, name, list))
        if which[name] == () and name in given:
            raise Refused(400, "malformed", f"{name}: expected at least one, got none, which means all")
    which["ids"] = tuple(id_of(value) for value in which["ids"])
    for name in MOMENTS:
        which[name] = moment_of(name, which.get(name))
    return _parsed(Filter, which)


def filter_with_moments(kind: Callable[..., Parsed], document: Mapping[str, Any]) -> Parsed:
    """The filter of a request about events or deliveries."""
    which = dict(part_of(document, "filter", dict))
    for name in ("older", "newer"):
        which[name] = moment_of(name, which.get(name))
    return _parsed(kind, which)


def _parsed(kind: Callable[..., Parsed], which: dict[str, Any]) -> Parsed:
    try:
        return kind(**which)
    except TypeError as error:
        raise Refused(400, "malformed", f"filter: {error}") from error


def query_of(filter: type[Any], others: Collection[str]) -> dict[str, Any]:
    """The query as the object that a search by POST has: parts of *filter*, and the words *others*.

    Each may stand once, and no other: one left unread could widen what is meant.
    """
    parts = [field.name for field in dataclasses.fields(filter)]
    named = {word: part for word, part in _LISTS.items() if part in parts}
    known = {**{part: part for part in parts if part not in named.values()}, **named}
    given = query_words([*known, *others])
    document = {name: value for name, value in given.items() if name in others}
    document["filter"] = {known[name]: _typed(name, value) for name, value in given.items() if name in known}
    return document


def query_words(known: Collection[str]) -> dict[str, Any]:
    """The parameters of the query, which may be those *known*, each once; `limit` as a number."""
    found: dict[str, Any] = {}
    for name in request.args:
        values = request.args.getlist(name)
        if name not in known:
            words = ", ".join(sorted(known)) or "nothing"
            raise Refused(400, "malformed", f"{name:.80}: expected {words}")
        if len(values) > 1:
            raise Refused(400, "malformed", f"{name:.80}: expected it once, got it {len(values)} times")
        found[name] = int(values[0]) if name == "limit" and _is_whole(values[0]) else values[0]
    return found


def _typed(name: str, value: str) -> Any:
    """The *value* of a query's parameter, as a filter has it."""
    if name in _LISTS:
        return value.split(",")
    if name == "parked" and value in ("true", "false"):
        return value == "true"
    if name == "status" and _is_whole(value):
        return int(value)
    return value


def _is_whole(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= 9


def generation_of(text: str | None) -> int | None:
    """The generation that If-Match names, None where it names none: RFC 9110 section 13.1.1."""
    if text is None or text.strip() == "*":
        return None
    stripped = text.strip()
    is_quoted = len(stripped) > 1 and stripped[0] == stripped[-1] == '"'
    bare = stripped[1:-1] if is_quoted else stripped
    if not _is_whole(bare):
        raise Refused(400, "malformed", f"header If-Match: expected the ETag of a task, got {shown(text)}")
    return int(bare)
