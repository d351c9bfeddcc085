"""What can be read of damaged BSON: each field for itself, whatever the bytes are."""

from __future__ import annotations

import bson
import pytest
from bson import Binary, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from bus.store.salvage import FRAME, Unreadable, opened, salvage, seal

BAD_STRING = b"\x02bad\0\x03\0\0\0\xff\xfe\0"
WHOLE = {"a": 1, "b": ["x", {"c": 2.5}], "d": b"y", "e": None, "f": ObjectId(b"z" * 12), "g": "text"}


def with_a_bad_string(document: dict[str, object]) -> bytes:
    inner = bson.encode(document)[4:-1] + BAD_STRING
    return (len(inner) + 5).to_bytes(4, "little") + inner + b"\0"


def test_what_can_be_read_is_read_beside_what_cannot():
    found = salvage(with_a_bad_string(WHOLE))
    bad = found.pop("bad")

    assert WHOLE == found
    assert isinstance(bad, Unreadable)
    assert BAD_STRING == bad.element[:1] + b"bad\0" + bad.element[1:]


def test_what_is_whole_comes_as_it_is():
    assert WHOLE == salvage(bson.encode(WHOLE))


@pytest.mark.parametrize(
    "data", [None, "text", 5, b"", b"\0" * 5, b"rubbish", bson.encode(WHOLE)[:-2]], ids=str
)
def test_what_is_no_document_says_so(data):
    assert isinstance(salvage(data)[FRAME], Unreadable)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: bson.encode(WHOLE)[:30] + tail))
def test_it_ends_and_raises_nothing_whatever_the_bytes(data):
    assert isinstance(salvage(data), dict)


@given(st.integers(0, 79), st.integers(0, 255))
def test_one_wrong_byte_costs_what_it_is_in(place, byte):
    """Never an endless loop over lengths that lie."""
    data = bytearray(bson.encode(WHOLE))
    data[place % len(data)] = byte

    assert isinstance(salvage(bytes(data)), dict)


@pytest.mark.parametrize("other", [None, ObjectId(), "text", b"bytes", Binary(b"x", 128), 7], ids=str)
def test_only_what_was_sealed_can_be_opened(other):
    assert b"raw\0" == opened(seal(b"raw\0"))
    assert opened(other) is None
