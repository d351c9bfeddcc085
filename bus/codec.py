"""The one codec of both stores: BSON, from the `bson` package that comes with pymongo.

What is posted is encoded, decoded again and compared before anything is stored: a value that would
come back different is refused where it was given, with its path, and a handler started at once gets
the same copy that a handler started tomorrow will get.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.dbref import DBRef
from bson.errors import InvalidDocument

from .clock import UTC
from .errors import NotStorable

OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, tzinfo=UTC, uuid_representation=UuidRepresentation.STANDARD
)
MAX_ARGUMENT_BYTES = 8 * 1024 * 1024
MAX_RESULT_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 100
MAX_REPR = 2048

_ENCODE_ERRORS = (InvalidDocument, OverflowError, UnicodeError, RecursionError, TypeError, ValueError)


def encode(document: Mapping[str, Any]) -> bytes:
    """BSON of *document*; the values must have passed `storable` before."""
    return bson.encode(document, codec_options=OPTIONS)


def decode(data: bytes) -> dict[str, Any]:
    """The document that `encode` made *data* from."""
    return bson.decode(data, OPTIONS)


class Storable(NamedTuple):
    """A call as every later reader will see it: deep copies, tuples as lists."""

    args: list[Any]
    kwargs: dict[str, Any]
    context: dict[str, Any]


def storable(args: list[Any], kwargs: dict[str, Any], context: dict[str, Any]) -> Storable:
    """The call as it will be stored. Raises NotStorable with the path of the first value that cannot."""
    given = {"args": args, "kwargs": kwargs, "context": context}
    try:
        data = encode(given)
        kept = decode(data)
    except _ENCODE_ERRORS as error:
        raise NotStorable(_complaint(given) or f"arguments: {error}") from error
    if len(data) > MAX_ARGUMENT_BYTES:
        raise NotStorable(
            f"arguments: expected at most {MAX_ARGUMENT_BYTES} bytes as BSON, got {len(data)}; "
            "store the data elsewhere and pass its address"
        )
    if kept != given or _may_be_deep(data):
        complaint = _complaint(given)
        if complaint:
            raise NotStorable(complaint)
    return Storable(**kept)


def storable_result(value: Any) -> Any:
    """*value*, or a marker in its place: a result that cannot be stored never re-runs its task."""
    if value is None or isinstance(value, (bool, float)):
        return value
    try:
        data = encode({"result": value})
    except BaseException as error:  # noqa: BLE001 - a user's mapping may do anything while it is read
        return _marker(
            value,
            type(error).__name__ if not isinstance(error, _ENCODE_ERRORS) else str(error)[:200],
            repr=_short_repr(value),
        )
    if len(data) > MAX_RESULT_BYTES:
        return _marker(value, "larger than 8 MiB", bytes=len(data))
    if _may_be_deep(data) and any(depth > MAX_DEPTH for _, _, depth in _walk(value, "result")):
        return _marker(value, f"nested deeper than {MAX_DEPTH} levels", bytes=len(data))
    kept = decode(data)["result"]  # a copy: the handler's own value may still change
    return undo_references(kept) if b"$ref" in data else kept


def _marker(value: Any, why: str, **more: Any) -> dict[str, Any]:
    return {"not_storable": type(value).__name__, **more, "why": _utf8(why)}


def _may_be_deep(data: bytes) -> bool:
    """False when *data* cannot hold MAX_DEPTH documents and arrays: each begins with its type byte."""
    return data.count(b"\x03") + data.count(b"\x04") > MAX_DEPTH


def _short_repr(value: Any) -> str:
    try:
        text = repr(value)
    except BaseException as error:  # noqa: BLE001 - a user's __repr__ may do anything, sys.exit() too
        text = f"<repr failed: {type(error).__name__}>"
    return _utf8(text[:MAX_REPR])


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _complaint(given: dict[str, Any]) -> str | None:
    """The sentence about the first value that BSON does not give back equal, if there is one."""
    for name, part in given.items():
        for path, value, depth in _walk(part, name):
            if sentence := _judge(path, value, depth):
                return sentence
    return None


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any, int]]:
    """Every value with its path, parents first; iterative, so that no depth can overflow it."""
    stack = [(path, value, 0)]
    while stack:
        path, value, depth = stack.pop()
        yield path, value, depth
        if depth > MAX_DEPTH:
            continue
        if isinstance(value, Mapping):
            stack.extend((f"{path}[{key!r:.80}]", item, depth + 1) for key, item in value.items())
        elif isinstance(value, (list, tuple)):
            stack.extend((f"{path}[{i}]", item, depth + 1) for i, item in enumerate(value))


def _judge(path: str, value: Any, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"{path[:80]}…: expected at most {MAX_DEPTH} levels of nesting; flatten it or pass its address"
    if isinstance(value, Mapping):
        return _judge_keys(path, value)
    if isinstance(value, (list, tuple)):
        return None
    if isinstance(value, datetime):
        return _judge_moment(path, value)
    try:
        kept = decode(encode({"v": value}))["v"]
    except OverflowError:
        return f"{path}: expected a whole number of 64 bits, got {value!r:.60}; pass it as a string"
    except UnicodeError:
        return f"{path}: expected text that UTF-8 can hold, got {value!r:.60}; pass bytes"
    except _ENCODE_ERRORS:
        return f"{path}: expected a value that BSON can hold, got {_kind(value)}; {_remedy(value)}"
    if kept != value and not (isinstance(value, float) and math.isnan(value)):
        return f"{path}: {_kind(value)} would come back as {_kind(kept)}; {_remedy(value)}"
    return None


def _judge_keys(path: str, value: Mapping[Any, Any]) -> str | None:
    for key in value:
        if not isinstance(key, str):
            return f"{path}: expected text as keys, got {key!r:.60} ({type(key).__name__}); use str(key)"
        if "\x00" in key:
            return f"{path}: a key holds a NUL character, {key!r:.60}; remove it"
    if "$ref" in value and "$id" in value:
        return f"{path}: keys '$ref' and '$id' together mean a database reference in BSON; rename one"
    return None


def _judge_moment(path: str, value: datetime) -> str | None:
    if value.utcoffset() is None:
        return f"{path}: expected a datetime with a time zone, got {value!r}; use datetime.now(timezone.utc)"
    if value.microsecond % 1000:
        return (
            f"{path}: BSON keeps milliseconds, got {value!r}; use "
            ".replace(microsecond=value.microsecond // 1000 * 1000) or .isoformat()"
        )
    return None


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


_REMEDIES = {
    "set": "use a sorted list",
    "frozenset": "use a sorted list",
    "Decimal": "pass str(value) or bson.Decimal128(value)",
    "date": "pass value.isoformat()",
    "time": "pass value.isoformat()",
    "timedelta": "pass value.total_seconds()",
    "Path": "pass str(path)",
    "PosixPath": "pass str(path)",
    "bytearray": "pass bytes(value)",
    "memoryview": "pass bytes(value)",
    "complex": "pass its two parts",
}


def _remedy(value: Any) -> str:
    return _REMEDIES.get(type(value).__name__, "pass its id, or plain lists, dicts, text and numbers")


def undo_references(value: Any) -> Any:
    """*value* with every DBRef turned back into the plain document it was written as.

    The `bson` decoder makes a DBRef of any document with `$ref` and `$id`; results may hold one.
    """
    if isinstance(value, DBRef):
        return {key: undo_references(item) for key, item in value.as_doc().items()}
    if isinstance(value, dict):
        return {key: undo_references(item) for key, item in value.items()}
    if isinstance(value, list):
        return [undo_references(item) for item in value]
    return value
