"""Awkward values, and what becomes of each: the one definition of what "stored equal" means.

Every value has a *kind*, a row of the table in docs/handlers.md. Given as an argument, a keyword or
in `c` it is stored or refused; as a result it is stored or replaced by a marker.
"""

from __future__ import annotations

import ast
import enum
import math
import re
import threading
import uuid
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bson import SON, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson import encode as bson_encode
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

UTC = timezone.utc
INDIA = timezone(timedelta(hours=5, minutes=30))
MIB = 1024 * 1024
NOON = datetime(2026, 1, 1, 12, 0, 0, 7000, tzinfo=UTC)


@dataclass(frozen=True)
class Awkward:
    """A value, made anew each time, and what becomes of it.

    *refused* is what its refusal says, with `@` for the path; "" when it is stored. *result* says
    "kept" or "marker", or "unfinished" for work that ends its task in error. A *large* value is
    given in two places only.
    """

    name: str
    kind: str
    make: Callable[[], Any]
    refused: str = ""
    result: str = "kept"
    large: bool = False


class Colour(enum.Enum):
    RED = 1


class Size(enum.IntEnum):
    LARGE = 3


class Mood(str, enum.Enum):
    GOOD = "good"


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Raw(bytes):
    pass


class Row(list[Any]):
    pass


class Book(dict[str, Any]):
    pass


Point = namedtuple("Point", "x y")


@dataclass
class Address:
    street: str


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError


class MuteWhole(int):
    def __repr__(self) -> str:
        raise RuntimeError


class Contrary(str):
    """Equal to nothing."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True


class Touchy(list[Any]):
    """Cannot be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __ne__ = __eq__


class Shut(Mapping[str, Any]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        return 1


class Promising(Shut):
    """A mapping that has other keys than it says."""

    def __iter__(self) -> Iterator[str]:
        return iter("ab")


class ShutRow(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError


class Disguised:
    """Says that it is text."""

    __class__ = property(lambda self: str)  # type: ignore[assignment]


def nested(levels: int, *, mapping: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"x": value} if mapping else [value]
    return value


def cycle(*, mapping: bool = False) -> Any:
    value: Any = {} if mapping else []
    value.update(x=value) if mapping else value.append(value)
    return value


def one_way() -> Iterator[int]:
    yield 1


PLAIN = "None, bool, float, bytes, text, whole numbers of 64 bits"
NESTED = "list, dict with text as keys, at most 100 levels"
TUPLE = "tuple"
NAMED = "named tuple, enum that is text or a number"
SUBCLASS = "subclass of any of these"
MOMENT = "datetime with a time zone and whole milliseconds"
FINE = "datetime with microseconds"
NAIVE = "datetime without a time zone"
OF_BSON = "UUID and the types of `bson`"
BY_ANOTHER = "re.Pattern, DatetimeMS, Binary that means bytes or a UUID"
REFERENCE = "DBRef"
LIKE_REFERENCE = "dict with both `$ref` and `$id`"
OUTSIDE = "whole number beyond 64 bits, moment outside of the years 1 to 9999"
BROKEN = "text or key with a lone surrogate"
KEYS = "dict with keys that are no text, or hold NUL"
DEEP = "deeper than 100 levels, cycle"
LARGE = "larger than its limit"
OTHER = "anything else"

KINDS = (
    PLAIN, NESTED, TUPLE, NAMED, SUBCLASS, MOMENT, FINE, NAIVE, OF_BSON, REFERENCE, LIKE_REFERENCE,
    BY_ANOTHER, OUTSIDE, BROKEN, KEYS, DEEP, LARGE, OTHER,
)  # fmt: skip

HOLDS = "@: expected a value that BSON can hold, got "


def _kept(kind: str, **values: Any) -> list[Awkward]:
    return [Awkward(name, kind, _maker(value)) for name, value in values.items()]


def _refused(kind: str, said: str, *, result: str = "marker", **values: Any) -> list[Awkward]:
    return [Awkward(name, kind, _maker(value), said, result) for name, value in values.items()]


def _maker(value: Any) -> Callable[[], Any]:
    return value if isinstance(value, partial) else lambda: value


new = partial  # a value that is made anew for each use

TABLE: list[Awkward] = [
    *_kept(
        PLAIN,
        none=None,
        true=True,
        false=False,
        zero=0,
        minus_zero=-0.0,
        half=0.5,
        tiny=5e-324,
        huge_float=1.7976931348623157e308,
        nan=math.nan,
        infinity=math.inf,
        minus_infinity=-math.inf,
        int32=2**31 - 1,
        beyond_int32=2**31,
        beyond_float=2**53 + 1,
        largest=2**63 - 1,
        smallest=-(2**63),
        no_text="",
        no_bytes=b"",
        bytes_=bytes(range(256)),
        nul="a\0b",
        only_nul="\0",
        emoji="🎈 👩‍🚀 ñ ﷽",
        right_to_left="abc\u202edcb\u2066",
        escape="\x1b[31mred\x1b]0;title\x07\x9b2J",
        lines="a\r\nb\u2028c",
        not_a_character="\uffff\ufdd0",
        beyond_the_plane="\U0010ffff",
        pipeline="$$ROOT",
        operator="$where",
        sql="' OR 1=1; DROP TABLE task --",
        html="<script>alert(1)</script>",
        format_="%s{0}{}%(a)s",
        number_like="1e999",
        json_like='{"$oid": 1}',
        one_megabyte="ü" * (MIB // 2),
    ),
    *_kept(
        NESTED,
        no_list=new(list),
        no_dict=new(dict),
        empty_ones=new(lambda: [[], {}, "", None]),
        dots=new(dict, {"a.b": 1, ".": 2, "..": 3}),
        dollars=new(dict, {"$": 1, "$where": "x", "a$": 2, "$set": {}}),
        empty_key=new(dict, {"": {"": 1}}),
        root_key=new(dict, {"$$ROOT": "$$ROOT"}),
        proto=new(dict, __proto__={}),
        id_key=new(dict, _id={"$gt": 1}),
        only_ref=new(dict, {"$ref": "a"}),
        only_id=new(dict, {"$id": "a"}),
        number_keys=new(dict, {"0": "a", "1": "b"}),
        odd_keys=new(dict, {"ü🎈": 1, "a b": 2, "\u202e": 3}),
        long_key=new(dict, {"k" * 100_000: 1}),
        order=new(dict, b=1, a=2),
        lists_90=new(nested, 90),
        dicts_90=new(nested, 90, mapping=True),
        shared=new(lambda: [[1]] * 3),
    ),
    *_kept(TUPLE, no_tuple=(), tuple_=(1, (2, 3)), tuple_in_dict=new(dict, at=(1, 2))),
    *_refused(NAMED, " would come back as list; pass value._asdict()", result="kept", point=Point(1, 2)),
    *_refused(NAMED, " would come back as int; pass value.value", result="kept", int_enum=Size.LARGE),
    *_refused(NAMED, " would come back as str; pass value.value", result="kept", text_enum=Mood.GOOD),
    *_kept(
        SUBCLASS,
        text=Text("a"),
        whole=Whole(7),
        real=Real(1.5),
        raw=Raw(b"x"),
        row=new(Row, [1]),
        book=new(Book, a=1),
        ordered=new(OrderedDict, b=1, a=2),
        default=new(defaultdict, list, a=[1]),
        counter=new(Counter, "aab"),
        son=new(SON, a=1),
        raw_bson=new(lambda: RawBSONDocument(bson_encode({"a": 1}))),
        user_dict=new(UserDict, a=1),
        touchy=new(Touchy, [1]),
        shut_row=new(ShutRow, [1]),
    ),
    *_kept(
        MOMENT,
        noon=NOON,
        in_india=NOON.astimezone(INDIA),
        year_1=datetime(1, 1, 1, tzinfo=UTC),
        year_9999=datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        before_1970=datetime(1969, 7, 20, tzinfo=UTC),
        second_time=datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        that_never_was=datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    ),
    *_kept(FINE, microseconds=NOON.replace(microsecond=7001)),
    *_refused(NAIVE, "@: expected a time zone", result="kept", naive=datetime(2026, 1, 1, 12)),
    *_kept(
        OF_BSON,
        uuid_=uuid.UUID(int=7),
        object_id=ObjectId("6543210fedcba98765432100"),
        int64=Int64(5),
        decimal128=Decimal128("1.10"),
        decimal128_nan=Decimal128("NaN"),
        regex=Regex("^a", "im"),
        code=Code("x"),
        code_with_scope=Code("x", {"a": 1}),
        min_key=MinKey(),
        max_key=MaxKey(),
        timestamp=Timestamp(7, 1),
        no_timestamp=Timestamp(0, 0),
        old_binary=Binary(b"x", 2),
        old_uuid=Binary(b"\0" * 16, 3),
        md5=Binary(b"x", 5),
        user_binary=Binary(b"x", 128),
        vector=Binary(b"\x03\x00ab", 9),
    ),
    *_kept(
        REFERENCE,
        reference=DBRef("users", 7),
        far_reference=DBRef("users", ObjectId(b"x" * 12), "shop", note=[1]),
    ),
    *_refused(
        LIKE_REFERENCE,
        "@: keys '$ref' and '$id' together",
        result="kept",
        like_a_reference=new(dict, {"$ref": "users", "$id": 7}),
        like_more=new(dict, {"$ref": "users", "$id": {"$ref": 1, "$id": 2}, "$db": "x", "and": [1]}),
    ),
    *_refused(
        BY_ANOTHER,
        " would come back as ",
        result="kept",
        pattern=re.compile("a", re.I),
        datetime_ms=DatetimeMS(7),
        binary_0=Binary(b"x", 0),
        binary_4=Binary(b"\0" * 16, 4),
    ),
    *_refused(
        OUTSIDE,
        "@: expected int within 64 bits",
        beyond=2**63,
        below=-(2**63) - 1,
        googol=10**400,
        unprintable=10**5000,
    ),
    *_refused(OUTSIDE, "within 64 bits, got <MuteWhole>; pass it as a string", mute_whole=MuteWhole(2**64)),
    *_refused(
        OUTSIDE,
        "@: expected datetime.datetime within the years 1 to 9999",
        too_early=datetime(1, 1, 1, tzinfo=INDIA),
        too_late=datetime.max.replace(tzinfo=timezone(-timedelta(hours=5))),
    ),
    *_refused(OUTSIDE, HOLDS + "bson.datetime_ms.DatetimeMS", year_33658=DatetimeMS(10**15)),
    *_refused(
        BROKEN,
        "@: expected text that UTF-8 can hold",
        surrogate="\ud800",
        half_pair="a\udc80b",
        pair="\ud83d\ude00",
    ),
    *_refused(BROKEN, "@: expected keys that UTF-8 can hold", surrogate_key=new(dict, {"\ud800": 1})),
    *_refused(
        KEYS,
        "@: expected text as keys, got ",
        int_key=new(dict, {1: 2}),
        none_key=new(dict, {None: 2}),
        bool_key=new(dict, {True: 2}),
        bytes_key=new(dict, {b"a": 2}),
        tuple_key=new(dict, {(1, 2): 3}),
        mute_key=new(lambda: {Mute(): 1}),
    ),
    *_refused(
        KEYS,
        "@: a key holds a NUL character",
        nul_key=new(dict, {"a\0b": 1}),
        only_nul_key=new(dict, {"\0": 1}),
    ),
    *_refused(
        DEEP,
        "…: expected at most 100 levels of nesting",
        lists_150=new(nested, 150),
        lists_180=new(nested, 180),
        dicts_180=new(nested, 180, mapping=True),
        lists_300=new(nested, 300),
        lists_1000=new(nested, 1000),
        lists_100_000=new(nested, 100_000),
        cycle=new(cycle),
        cycle_of_dicts=new(cycle, mapping=True),
    ),
    *_refused(OTHER, HOLDS, result="unfinished", generator=new(one_way)),
    *_refused(
        OTHER,
        HOLDS,
        set_=new(set, "a"),
        frozen_set=frozenset({1}),
        fraction=Fraction(1, 3),
        day=date(2026, 1, 1),
        hour=time(12),
        span=timedelta(1),
        enum_=Colour.RED,
        address=new(Address, "x"),
        byte_array=new(bytearray, b"x"),
        view=new(memoryview, b"x"),
        complex_=1j,
        range_=range(3),
        function=nested,
        class_=Address,
        module=ast,
        lock=new(threading.Lock),
        object_=new(object),
        ellipsis=...,
        error=new(ValueError, "x"),
        path=Path("/tmp"),
        queue=new(deque, [1]),
        mute=new(Mute),
        disguised=new(Disguised),
        iterator=new(lambda: iter([1])),
        zone=UTC,
        reference_to_a_set=new(lambda: DBRef("a", {1})),
        code_with_a_set=new(lambda: Code("x", {"a": {1}})),
    ),
    *_refused(
        OTHER, HOLDS + "decimal.Decimal; pass str(value)", decimal=Decimal("1.10"), decimal_nan=Decimal("NaN")
    ),
    *_refused(
        OTHER, "@: could not be read, it raised RuntimeError", shut=new(Shut), promising=new(Promising)
    ),
    *_refused(OTHER, "Contrary would come back as str", result="kept", contrary=Contrary("a")),
    Awkward("seven_megabytes", LARGE, new(lambda: "x" * (7 * MIB)), "", "marker", large=True),
    Awkward("many_items", NESTED, new(lambda: list(range(100_000))), large=True),
    Awkward("many_keys", NESTED, new(lambda: {f"key_{n}": n for n in range(10_000)}), large=True),
    Awkward("at_the_limit_of_results", NESTED, new(lambda: b"x" * (4 * MIB - 32)), large=True),
    *(
        Awkward(
            name, LARGE, new(bytes, size * MIB), "at most 8388608 bytes as BSON, got", "marker", large=True
        )
        for name, size in {"eight": 8, "fifteen": 15, "sixteen": 16, "seventeen": 17, "twenty": 20}.items()
    ),
]
BY_NAME = {value.name: value for value in TABLE}


def as_stored(value: Any) -> Any:
    """What every later reader gets for *value*: plain types, moments in UTC with whole milliseconds."""
    if isinstance(value, (dict, UserDict, RawBSONDocument)):
        return {str(key): as_stored(item) for key, item in dict.items(dict(value))}
    if isinstance(value, list):
        return [as_stored(item) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return [as_stored(item) for item in value]
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC).replace(microsecond=value.microsecond // 1000 * 1000)
    if isinstance(value, (bool, Code, Binary)):
        return value
    for plain in (int, float, str):
        if isinstance(value, plain):
            return getattr(plain, f"__{plain.__name__}__")(value)  # not the subclass's own way
    return bytes(value) if isinstance(value, bytes) else value


def as_result(value: Any) -> Any:
    """As `as_stored`; as a result some more types are read as their plain twins."""
    if isinstance(value, re.Pattern):
        return Regex.from_native(value)
    if isinstance(value, DatetimeMS):
        return value.as_datetime().astimezone(UTC)
    if isinstance(value, Binary) and value.subtype in (0, 4):
        return value.as_uuid() if value.subtype else bytes(value)
    return as_stored(dict(value.as_doc()) if isinstance(value, DBRef) else value)


def differs(expected: Any, stored: Any) -> str:
    """Where *stored* is another value or another type than *expected*; "" when it is the same."""
    if isinstance(expected, dict) and type(stored) is dict:
        if list(expected) != list(stored):
            return f"keys {list(stored)!r:.80}"
        return next(filter(None, (differs(expected[key], stored[key]) for key in expected)), "")
    if isinstance(expected, list) and type(stored) is list:
        if len(expected) != len(stored):
            return f"{len(stored)} items"
        return next(filter(None, map(differs, expected, stored)), "")
    types = [int if isinstance(one, Int64) else type(one) for one in (expected, stored)]
    return (
        "" if types[0] is types[1] and _is_same(expected, stored) else f"{stored!r:.80}, {types[1].__name__}"
    )


def _is_same(expected: Any, stored: Any) -> bool:
    if isinstance(expected, float):
        both = math.isnan(expected) and math.isnan(stored)
        return both or (expected == stored and math.copysign(1, expected) == math.copysign(1, stored))
    if isinstance(expected, datetime):
        return expected == stored and stored.utcoffset() == timedelta(0)
    return bool(expected == stored)
