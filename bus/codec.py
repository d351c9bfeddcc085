"""The one codec of both stores: BSON, from the `bson` package that comes with pymongo.

What is posted is encoded, decoded again and compared before anything is stored: a value that would
come back different is refused where it was given, with its path, and a handler started at once gets
the same copy that a handler started tomorrow will get.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final, NamedTuple
from uuid import UUID

import bson
from bson import ObjectId
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.dbref import DBRef
from bson.errors import InvalidBSON

from .clock import UTC
from .errors import NotStorable
from .safe_text import shown, without_surrogates

OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, tzinfo=UTC, uuid_representation=UuidRepresentation.STANDARD
)
MIB: Final = 1024 * 1024
# with history, output and progress beside them they stay below the 16 MiB of a MongoDB document
MAX_ARGUMENT_BYTES: Final = 8 * MIB
MAX_RESULT_BYTES: Final = 4 * MIB
MAX_DEPTH: Final = 100
MAX_REPR: Final = 2048
PLAIN_ARGUMENTS: Final = 4
PLAIN_CHARACTERS: Final = 1024

_NESTING: Final = (Mapping, list, tuple)
_HOLDERS: Final = frozenset({dict, list, tuple})
_ALWAYS: Final = frozenset({type(None), bool, float, bytes, ObjectId, UUID})
_EXACT: Final = _HOLDERS | _ALWAYS | {int, str, datetime}
_TEXT: Final = {str}
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**63 - 1
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


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
    """The call as it will be stored. Raises NotStorable with the path of the first value that cannot.

    A moment comes back in UTC, without the microseconds that BSON does not keep, as from pymongo. A subclass
    of a plain type comes back as that type; enums and named tuples are refused: their type is their meaning.
    """
    if not kwargs and not context and _are_plain(args):
        return Storable([*args], {}, {})
    given = {"args": args, "kwargs": kwargs, "context": context}
    try:
        data = encode(given)
    except Exception as error:  # an argument's own code may raise anything while it is read
        raise NotStorable(
            _complaint(given) or f"arguments: {without_surrogates(str(error))[:200]}"
        ) from error
    if len(data) > MAX_ARGUMENT_BYTES:
        raise NotStorable(
            f"arguments: expected at most {MAX_ARGUMENT_BYTES} bytes as BSON, got {len(data)}; "
            "store the data elsewhere and pass its address"
        )
    try:
        kept = decode(data)
    except InvalidBSON as error:  # a date that Python cannot hold
        raise NotStorable(_complaint(given) or f"arguments: {error}") from error
    if (_is_deep(data, kept) or not _comes_back(given)) and (complaint := _complaint(given)):
        raise NotStorable(complaint)
    return Storable(**kept)


def _are_plain(args: list[Any]) -> bool:
    """Whether *args* are a few short texts, as those of a delivery are: they come back as they are."""
    return len(args) <= PLAIN_ARGUMENTS and all(
        type(one) is str and len(one) <= PLAIN_CHARACTERS and one.isascii() for one in args
    )


def storable_result(value: Any) -> Any:
    """*value* as it will be stored, or a marker in its place: a result never re-runs its task.

    Gentler than `storable`: a moment loses its microseconds, a naive one is taken for UTC.
    """
    if value is None or type(value) in (bool, float):
        return value
    try:
        return _kept_result(value)
    except BaseException as error:  # noqa: BLE001 - a user's mapping may do anything while it is read
        why = _complaint({"result": value}, strictly=False) or type(error).__name__
        return _marker(value, why, repr=_short_repr(value))


def _kept_result(value: Any) -> Any:
    data = encode({"result": value})
    if len(data) > MAX_RESULT_BYTES:
        return _marker(value, f"larger than {MAX_RESULT_BYTES // MIB} MiB", bytes=len(data))
    kept = decode(data)  # a copy: the handler's own value may still change
    if _is_deep(data, kept):
        return _marker(value, f"nested deeper than {MAX_DEPTH} levels", bytes=len(data))
    return undo_references(kept["result"]) if b"$ref" in data else kept["result"]


def _marker(value: Any, why: str, **more: Any) -> dict[str, Any]:
    return {"not_storable": type(value).__name__, **more, "why": without_surrogates(why)}


def _differs(kept: Any, value: Any) -> bool:
    """Whether *value* says that *kept* is not equal to it, or cannot say."""
    try:
        return bool(kept != value)
    except Exception:  # noqa: BLE001 - a user's __eq__ may do anything
        return True


def _comes_back(given: Mapping[str, Any]) -> bool:
    """Whether all of *given*, which BSON has held, is of types that it gives back as they are.

    Level by level, because a step for each value would cost a large call more than its encoding.
    """
    level: list[Any] = list(given.values())
    while level:
        kinds = set(map(type, level))
        if not kinds <= _EXACT:
            return False
        if datetime in kinds and any(
            type(value) is datetime and value.utcoffset() is None for value in level
        ):
            return False
        inner: list[Any] = []
        for value in () if kinds.isdisjoint(_HOLDERS) else level:
            kind = type(value)
            if kind is dict:
                if value and (set(map(type, value)) != _TEXT or "$ref" in value):
                    return False
                inner += value.values()
            elif kind is list or kind is tuple:
                inner += value
        level = inner
    return True


def _is_deep(data: bytes, kept: dict[str, Any]) -> bool:
    """Whether a value of *kept*, decoded from *data*, lies deeper than MAX_DEPTH."""
    if data.count(b"\x03") + data.count(b"\x04") <= MAX_DEPTH:
        return False  # every document and every array begins with its type byte
    level: list[Any] = [kept]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return any(level)


def _short_repr(value: Any) -> str:
    try:
        text = repr(value)
    except BaseException as error:  # noqa: BLE001 - a user's __repr__ may do anything, sys.exit() too
        text = f"<repr failed: {type(error).__name__}>"
    return without_surrogates(text[:MAX_REPR])


def _complaint(given: Mapping[str, Any], *, strictly: bool = True) -> str | None:
    """The sentence about the first value that BSON does not give back equal, if there is one.

    Unless *strictly*, about the first one that BSON cannot hold at all.
    """
    for path, part in given.items():
        try:
            for path, value, depth in _walk(part, path):  # noqa: B020, PLW2901 - the last one that was read
                if sentence := _judge(path, value, depth, strictly=strictly):
                    return sentence
        except Exception as error:  # noqa: BLE001 - a user's mapping may do anything while it is read
            return f"{path}: could not be read, it raised {type(error).__name__}; pass plain lists and dicts"
    return None


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any, int]]:
    """Every value with its path, parents first; iterative, so that no depth can overflow it."""
    yield path, value, 0
    levels = [(path, _content(value))]
    while levels:
        outer, content = levels[-1]
        for key, inner in content:
            path = f"{outer}[{shown(key, 80)}]"
            yield path, inner, len(levels)
            if len(levels) <= MAX_DEPTH and isinstance(inner, _NESTING):
                levels.append((path, _content(inner)))
                break
        else:
            levels.pop()


def _content(value: Any) -> Iterator[tuple[Any, Any]]:
    """What the encoder finds in *value*: of a subclass it does not ask the methods."""
    if isinstance(value, dict):
        return iter(dict.items(value))
    if isinstance(value, Mapping):
        return iter(list(value.items()))
    if isinstance(value, list):
        return enumerate(list.__iter__(value))
    return enumerate(tuple.__iter__(value)) if isinstance(value, tuple) else iter(())


def _judge(path: str, value: Any, depth: int, *, strictly: bool) -> str | None:
    if depth > MAX_DEPTH:
        return f"{path[:80]}…: expected at most {MAX_DEPTH} levels of nesting; flatten it or pass its address"
    if isinstance(value, Mapping):
        return _judge_keys(path, [key for key, _ in _content(value)], strictly=strictly)
    if strictly and _is_named_tuple(value):
        return f"{path}: {_kind(value)} would come back as list; {_remedy(value)}"
    if isinstance(value, (list, tuple)) or _is_certain(value):
        return None
    try:
        kept = decode(encode({"v": value}))["v"]
    except OverflowError:
        bounds = "the years 1 to 9999" if isinstance(value, datetime) else "64 bits"
        return f"{path}: expected {_kind(value)} within {bounds}, got {shown(value)}; pass it as a string"
    except UnicodeError:
        return f"{path}: expected text that UTF-8 can hold, got {shown(value)}; pass bytes"
    except BaseException:  # noqa: BLE001 - the driver takes the value's repr(), which may do anything
        return f"{path}: expected a value that BSON can hold, got {_kind(value)}; {_remedy(value)}"
    return _judge_change(path, value, kept) if strictly else None


def _judge_change(path: str, value: Any, kept: Any) -> str | None:
    if isinstance(value, datetime):
        return _judge_moment(path, value)
    is_not_a_number = isinstance(value, float) and math.isnan(value)
    if issubclass(type(value), Enum) or (_differs(kept, value) and not is_not_a_number):
        return f"{path}: {_kind(value)} would come back as {_kind(kept)}; {_remedy(value)}"
    return None


def _judge_keys(path: str, keys: list[Any], *, strictly: bool) -> str | None:
    for key in keys:
        if not isinstance(key, str):
            return f"{path}: expected text as keys, got {shown(key)} ({type(key).__name__}); use str(key)"
        if strictly and issubclass(type(key), Enum):
            return f"{path}: expected plain text as keys, got {shown(key)}; use its value"
        if "\x00" in key:
            return f"{path}: a key holds a NUL character, {shown(key)}; remove it"
        if not key.isascii() and without_surrogates(key) != key:
            return f"{path}: expected keys that UTF-8 can hold, got {shown(key)}; remove the lone surrogate"
    if strictly and "$ref" in keys and "$id" in keys:
        return f"{path}: keys '$ref' and '$id' together mean a database reference in BSON; rename one"
    return None


def _judge_moment(path: str, value: datetime) -> str | None:
    if value.utcoffset() is None:
        return f"{path}: expected a time zone, got {shown(value)}; use datetime.now(timezone.utc)"
    return None


def _is_certain(value: Any) -> bool:
    """Whether BSON surely gives *value* back, so that it need not be tried: a moment cut to milliseconds."""
    kind = type(value)
    if kind is str:
        return str.isascii(value)
    if kind is int:
        return bool(_SMALLEST <= value <= _LARGEST)
    if kind is datetime:
        return value.utcoffset() is not None and _EARLIEST <= value <= _LATEST
    return kind in _ALWAYS


def _is_named_tuple(value: Any) -> bool:
    """Whether *value* is a tuple whose places have names, a result of the operating system's among them."""
    kind = type(value)
    return issubclass(kind, tuple) and (hasattr(kind, "_fields") or hasattr(kind, "n_sequence_fields"))


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


_REMEDIES = {
    "set": "use a sorted list",
    "frozenset": "use a sorted list",
    "Decimal": "pass str(value) or bson.Decimal128(value)",
    "date": "pass value.isoformat()",
    "time": "pass value.isoformat()",
    "timedelta": "pass value.total_seconds()",
    "Fraction": "pass str(value)",
    "Path": "pass str(path)",
    "PosixPath": "pass str(path)",
    "bytearray": "pass bytes(value)",
    "memoryview": "pass bytes(value)",
    "complex": "pass its two parts",
    "range": "pass list(value)",
    "generator": "pass list(value)",
    "deque": "pass list(value)",
    "Pattern": "pass bson.Regex.from_native(value)",
    "Binary": "pass bytes(value), or value.as_uuid() of a UUID",
    "DatetimeMS": "pass value.as_datetime() if the year is 1 to 9999",
}


def _remedy(value: Any) -> str:
    if isinstance(value, Enum):
        return "pass value.value"
    if _is_named_tuple(value):
        return "pass value._asdict() or list(value)" if hasattr(value, "_asdict") else "pass list(value)"
    if dataclasses.is_dataclass(value):
        return "pass dataclasses.asdict(value)"
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
