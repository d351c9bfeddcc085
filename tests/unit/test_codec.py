"""What may be stored: it comes back equal, or it is refused where it was given."""

from __future__ import annotations

import enum
import math
import os
import re
import uuid
from collections import namedtuple
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bson import Code, Decimal128, ObjectId, Regex
from bson.dbref import DBRef
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.clock import whole_ms
from bus.codec import (
    MAX_ARGUMENT_BYTES,
    MAX_RESULT_BYTES,
    decode,
    encode,
    storable,
    storable_result,
    undo_references,
)
from bus.errors import NotStorable

UTC = timezone.utc
Point = namedtuple("Point", "x y")


class Size(enum.IntEnum):
    LARGE = 3


class Mood(str, enum.Enum):
    GOOD = "good"


class Mode(enum.IntFlag):
    READ = 1
    WRITE = 2


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11))])
KINDLY = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.uuids()
    | st.datetimes(timezones=ZONES.filter(bool)).map(whole_ms)
)
UNKINDLY = (
    st.integers(-(2**65), 2**65)
    | st.text(st.characters(categories=["Cs", "Cc", "L"]), max_size=20)
    | st.decimals()
    | st.dates()
    | st.timedeltas()
    | st.datetimes(timezones=ZONES)
    | st.frozensets(st.integers(), max_size=2)
)


def trees(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=12,
    )


KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
VALUES = trees(KINDLY, KEYS) | trees(KINDLY | UNKINDLY, st.text(max_size=5) | st.integers())


class Liar(Mapping[str, int]):
    """A mapping that promises what it does not have."""

    def __getitem__(self, key: str) -> int:
        raise LookupError(key)

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


class Mute:
    """A class whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def is_same(given: Any, kept: Any) -> bool:
    """Equal, and of the same kind, but tuples became lists, and moments UTC with whole milliseconds."""
    if isinstance(given, (list, tuple)):
        pairs = zip(given, kept, strict=True)
        return isinstance(kept, list) and all(is_same(one, other) for one, other in pairs)
    if isinstance(given, dict):
        return list(given) == list(kept) and all(is_same(given[key], kept[key]) for key in given)
    if isinstance(given, float) and math.isnan(given):
        return isinstance(kept, float) and math.isnan(kept)
    if isinstance(given, int) and not isinstance(given, bool):
        given, kept = int(given), int(kept)  # one of more than 32 bits is read as bson's Int64, a subclass
    if isinstance(given, datetime) and given.tzinfo is not None:
        given = whole_ms(given)
    return type(given) is type(kept) and given == kept


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(args=st.lists(VALUES, max_size=3), kwargs=st.dictionaries(KEYS, VALUES, max_size=3))
def test_whatever_is_accepted_comes_back_equal(args, kwargs):
    """And whatever is not is refused by one sentence, never by another error."""
    try:
        kept = storable(args, kwargs, {})
    except NotStorable as error:
        assert re.match(r"(args|kwargs)\[|(args|kwargs): ", str(error)), str(error)
    else:
        assert is_same(args, kept.args)
        assert is_same(kwargs, kept.kwargs)


@given(VALUES)
def test_whatever_a_handler_returns_can_be_stored(value):
    """What is kept of it, or the marker in its place, is read as it was written."""
    kept = storable_result(value)

    assert is_same(kept, decode(encode({"result": kept}))["result"])


@given(trees(KINDLY, KEYS))
def test_a_plain_result_is_kept_equal(value):
    """Only what BSON itself rounds (a moment to milliseconds) may differ."""
    assert is_same(value, storable_result(value))


def test_a_kept_result_is_a_copy():
    """The handler's own list may still change before its end is recorded."""
    value = [1]
    kept = storable_result(value)
    value.append(2)

    assert [1] == kept


REFUSED = [
    ({1, 2}, "args[0]: expected a value that BSON can hold, got set; use a sorted list"),
    (
        Decimal("1.5"),
        "args[0]: expected a value that BSON can hold, got decimal.Decimal; "
        "pass str(value) or bson.Decimal128(value)",
    ),
    (date(2026, 1, 1), "got datetime.date; pass value.isoformat()"),
    (time(12), "got datetime.time; pass value.isoformat()"),
    (timedelta(1), "got datetime.timedelta; pass value.total_seconds()"),
    (Path("/tmp"), "PosixPath; pass str(path)"),
    (bytearray(b"x"), "got bytearray; pass bytes(value)"),
    (1j, "got complex; pass its two parts"),
    (object(), "got object; pass its id, or plain lists, dicts, text and numbers"),
    (re.compile("x"), "re.Pattern would come back as bson.regex.Regex"),
    (2**63, "args[0]: expected int within 64 bits, got 9223372036854775808; pass it as a string"),
    ("\ud800", "args[0]: expected text that UTF-8 can hold, got '\\ud800'; pass bytes"),
    (datetime(2026, 1, 1), "args[0]: expected a time zone, got datetime.datetime(2026"),
    (Size.LARGE, "args[0]: tests.unit.test_codec.Size would come back as int; pass value.value"),
    (Mood.GOOD, "args[0]: tests.unit.test_codec.Mood would come back as str; pass value.value"),
    (Mode.READ | Mode.WRITE, "args[0]: tests.unit.test_codec.Mode would come back as int; pass value.value"),
    (Point(1, 2), "Point would come back as list; pass value._asdict() or list(value)"),
    (os.times(), "times_result would come back as list; pass list(value)"),
    ({Mood.GOOD: 1}, "args[0]: expected plain text as keys, got <Mood.GOOD: 'good'>; use its value"),
    ({1: 2}, "args[0]: expected text as keys, got 1 (int); use str(key)"),
    ({None: 2}, "args[0]: expected text as keys, got None (NoneType); use str(key)"),
    ({"a\0": 1}, "args[0]: a key holds a NUL character, 'a\\x00'; remove it"),
    ({"$ref": "a", "$id": 1}, "args[0]: keys '$ref' and '$id' together mean a database reference in BSON"),
    (nested(5000), "…: expected at most 100 levels of nesting; flatten it or pass its address"),
    (nested(100), "…: expected at most 100 levels of nesting; flatten it or pass its address"),
]


@pytest.mark.parametrize(("value", "sentence"), REFUSED, ids=lambda part: type(part).__name__)
def test_a_value_that_would_not_survive_is_refused_with_its_remedy(value, sentence):
    with pytest.raises(NotStorable) as caught:
        storable([value], {}, {})

    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_refusal_names_the_path_of_the_value():
    """In positional and keyword arguments and in the context, however deep."""
    calls = [
        ([0, {"to": [1, {2}]}], {}, {}),
        ([], {"subject": {"x": (1, 2, {3})}}, {}),
        ([], {}, {"project_id": {4}}),
    ]
    paths = []
    for call in calls:
        with pytest.raises(NotStorable) as caught:
            storable(*call)
        paths.append(str(caught.value).partition(": ")[0])

    assert ["args[1]['to'][1]", "kwargs['subject']['x'][2]", "context['project_id']"] == paths


def test_plain_values_are_kept_as_they_are():
    values = [
        None, True, 1, -(2**63), 1.5, -0.0, "ü😀\0", b"\xff", NOON, uuid.uuid4(), ObjectId(), Decimal128("1"),
        Regex("x"), Code("x"), {"": 1, "a.b": 2, "$where": 3}, nested(99),
    ]  # fmt: skip

    assert is_same(values, storable(values, {}, {}).args)


def test_what_is_kept_is_a_copy():
    """A handler that starts at once sees what one that starts tomorrow would see."""
    given_ = [[1], (2, 3)]
    kept = storable(given_, {}, {})
    given_[0].append(9)  # type: ignore[union-attr]

    assert [[1], [2, 3]] == kept.args


@pytest.mark.parametrize(
    ("microsecond", "stored"),
    [(0, 0), (1, 0), (999, 0), (1000, 1000), (123_456, 123_000), (999_999, 999_000)],
)
@pytest.mark.parametrize("year", [1, 1969, 2026, 9999])
def test_a_moment_comes_back_in_utc_cut_to_milliseconds(year, microsecond, stored):
    """As from pymongo. `datetime.now(timezone.utc)`, the remedy for a naive one, was refused next."""
    noon = NOON.replace(year=year, microsecond=microsecond)

    kept, inner = storable([noon.astimezone(timezone(timedelta(hours=5))), {"x": [noon]}], {}, {}).args

    assert noon.replace(microsecond=stored) == kept == inner["x"][0]
    assert UTC == kept.tzinfo


def test_the_remedy_for_a_naive_moment_is_accepted():
    storable([datetime.now(timezone.utc)], {"at": datetime.now(timezone.utc)}, {})


def test_a_moment_with_microseconds_hides_no_other_fault():
    """It makes the copy differ, and what else differs must still be found."""
    with pytest.raises(NotStorable, match=r"args\[1\]: re.Pattern would come back as"):
        storable([NOON.replace(microsecond=1), re.compile("x")], {}, {})


def test_arguments_have_a_size_limit():
    """Data belongs elsewhere; the sentence says so."""
    with pytest.raises(NotStorable, match=r"expected at most 8388608 bytes as BSON.*pass its address"):
        storable([b"x" * MAX_ARGUMENT_BYTES], {}, {})


@pytest.mark.parametrize(
    ("value", "marker"),
    [
        ({1, 2}, {"not_storable": "set", "repr": "{1, 2}"}),
        (Mute(), {"not_storable": "Mute", "repr": "<repr failed: RuntimeError>"}),
        ("\ud800", {"not_storable": "str", "repr": "'\\ud800'"}),
        (Liar(), {"not_storable": "Liar"}),
        (nested(5000), {"not_storable": "list"}),
        (nested(150), {"not_storable": "list", "why": "nested deeper than 100 levels"}),
        (b"x" * MAX_RESULT_BYTES, {"not_storable": "bytes", "why": "larger than 4 MiB"}),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_result_that_cannot_be_stored_becomes_a_marker(value, marker):
    """The marker itself can always be stored, and is small."""
    kept = storable_result(value)

    assert marker.items() <= kept.items()
    assert set(kept) <= {"not_storable", "repr", "why", "bytes"}
    assert 0 < len(str(storable([kept], {}, {}).args)) < 4096


def test_a_database_reference_in_a_result_is_read_as_the_document_it_was():
    """The decoder would make an object of it that nobody wrote."""
    reference = DBRef("users", 7)

    plain = undo_references({"a": [reference, 1]})

    assert {"a": [{"$ref": "users", "$id": 7}, 1]} == plain
