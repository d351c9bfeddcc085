"""Bodies in chunks: RFC 9112 section 7.1 to the letter, however the network cuts them."""

from __future__ import annotations

import itertools
import re
from io import BufferedReader
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import Refused
from bus.http import chunked
from bus.http.body_budget import BodyBudget
from bus.http.chunked import LINE_BYTES, TRAILER_BYTES, TRAILER_LINES, Chunks
from bus.http.deadline_reader import DeadlineReader

LIMIT = 1_000_000


class Network(DeadlineReader):
    """What has come from a client: *data*, cut at *places*."""

    def __init__(self, data: bytes, places: list[int]) -> None:
        super().__init__(None)
        bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
        self._pieces = [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]

    def readinto(self, buffer: Any) -> int:
        """One piece, or as much of it as *buffer* holds; 0 at the end."""
        if not self._pieces:
            return 0
        piece = self._pieces.pop(0)
        if len(piece) > len(buffer):
            self._pieces.insert(0, piece[len(buffer) :])
            piece = piece[: len(buffer)]
        memoryview(buffer)[: len(piece)] = piece
        self.received += len(piece)
        return len(piece)


def read(data: bytes, places: list[int] | None = None, most: int = LIMIT) -> tuple[bytes, bytes] | None:
    """The body, read *most* bytes at a time, and what is behind it; None when it is refused."""
    wire = Network(data, places or [])
    stream = BufferedReader(wire)
    bodies = BodyBudget(LIMIT, LIMIT)
    chunks = Chunks(stream, wire, bodies.share(wire))
    body = b""
    try:
        while not chunks.is_finished:
            body += chunks.read(most)
    except Refused as refusal:
        assert (400, "bad_body") == (refusal.status, refusal.code)
        return None
    return body, stream.read()


def reference(data: bytes) -> tuple[bytes, bytes] | None:
    """The same by another way: from the whole, with the grammar of the RFC written out."""
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size, has_extension, extension = line.partition(b";")
        size = size.rstrip(b"\t ") if has_extension else size
        if not end or not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size) or _has_control(extension):
            return None
        count = int(size, 16)
        if not count:
            return _behind_trailers(body, data)
        if data[count : count + 2] != b"\r\n":
            return None
        body, data = body + data[:count], data[count + 2 :]


def _behind_trailers(body: bytes, data: bytes) -> tuple[bytes, bytes] | None:
    while True:
        line, end, data = data.partition(b"\r\n")
        name, colon, value = line.partition(b":")
        if not end:
            return None
        if not line:
            return body, data
        if not colon or not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or _has_control(value):
            return None


def _has_control(text: bytes) -> bool:
    return any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in text)


def spelled(size: int, zeros: int, is_upper: bool) -> bytes:
    digits = f"{size:x}"
    return ("0" * zeros + (digits.upper() if is_upper else digits)).encode()


EXTENSIONS = st.sampled_from([b"", b"", b";", b";a", b" ;a=b", b';a="b;c"', b"\t; a = \xff"])
CHUNKS = st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 3), st.booleans(), EXTENSIONS).map(
    lambda one: spelled(len(one[0]), one[1], one[2]) + one[3] + b"\r\n" + one[0] + b"\r\n"
)
TRAILERS = st.sampled_from([b"X: y\r\n", b"Expires:\r\n", b"a-b:\t\xe9 \r\n"])
WELL_FORMED = st.tuples(
    st.lists(CHUNKS, max_size=6).map(b"".join),
    st.sampled_from([b"0", b"000", b"0;x=y"]),
    st.lists(TRAILERS, max_size=3).map(b"".join),
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"\r\n", b"0"]),
).map(lambda parts: parts[0] + parts[1] + b"\r\n" + parts[2] + b"\r\n" + parts[3])
DAMAGE = st.tuples(
    st.integers(0, 400),
    st.integers(0, 2),
    st.sampled_from([b"", b"\n", b"\r", b"\r\n", b";", b"0", b"g", b" ", b"\0", b"-", b":", b"f" * 17]),
)


@given(WELL_FORMED, st.lists(st.integers(0, 10_000), max_size=12), st.integers(1, 50))
def test_what_is_well_formed_is_read_however_it_is_cut(data: bytes, places: list[int], most: int) -> None:
    """The same bytes, whether they come at once or one by one, and what is behind them is left alone."""
    expected = reference(data)

    assert expected is not None
    assert expected == read(data, places, most)
    assert expected == read(data, list(range(len(data))), most)


@given(WELL_FORMED, st.lists(DAMAGE, min_size=1, max_size=3), st.lists(st.integers(0, 10_000), max_size=6))
def test_what_is_damaged_is_understood_as_the_grammar_says_or_not_at_all(
    data: bytes, damages: list[tuple[int, int, bytes]], places: list[int]
) -> None:
    """Nobody downstream may see another end of the body than we do: request smuggling."""
    for place, lost, found in damages:
        at = place % (len(data) + 1)
        data = data[:at] + found + data[at + lost :]

    assert reference(data) == read(data, places)


BAD = {
    "a line feed in an extension": b"1;a\nb\r\na\r\n0\r\n\r\n",
    "a carriage return in an extension": b"1;a\rb\r\na\r\n0\r\n\r\n",
    "a size line ended by LF": b"1\na\r\n0\r\n\r\n",
    "a chunk ended by LF": b"1\r\na\n0\r\n\r\n",
    "a trailer ended by LF": b"0\r\nX: y\n\r\n",
    "a folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "an end by LF": b"0\r\n\n",
    "a size with a sign": b"+1\r\na\r\n0\r\n\r\n",
    "a size with 0x": b"0x1\r\na\r\n0\r\n\r\n",
    "a size with an underscore": b"1_0\r\na\r\n0\r\n\r\n",
    "a space behind the size": b"1 \r\na\r\n0\r\n\r\n",
    "a space before the size": b" 1\r\na\r\n0\r\n\r\n",
    "no size": b";a\r\n0\r\n\r\n",
    "17 digits": b"00000000000000001\r\na\r\n0\r\n\r\n",
    "no last chunk": b"1\r\na\r\n",
    "no end of the trailers": b"0\r\nX: y\r\n",
    "an extension too long": b"1;" + b"a" * LINE_BYTES + b"\r\na\r\n0\r\n\r\n",
    "a trailer too long": b"0\r\nX:" + b"a" * TRAILER_BYTES + b"\r\n\r\n",
    "too many trailers": b"0\r\n" + b"X:\r\n" * (TRAILER_LINES + 1) + b"\r\n",
    "more framing than body": b"1\r\na\r\n" * chunked.FREE_FRAMING_BYTES + b"0\r\n\r\n",
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_of_the_grammar_or_beyond_its_bounds_is_refused(what: str) -> None:
    assert read(BAD[what]) is None


GOOD = {
    "an extension at its bound": (b"1;" + b"a" * (LINE_BYTES - 4) + b"\r\na\r\n0\r\n\r\n", b"a"),
    "trailers at their bound": (b"0\r\n" + b"X:\r\n" * TRAILER_LINES + b"\r\n", b""),
    "a trailer at its bound": (b"0\r\nX:" + b"a" * (TRAILER_BYTES - 6) + b"\r\n\r\n", b""),
    "16 digits": (b"0000000000000001\r\na\r\n0\r\n\r\n", b"a"),
    "signed chunks of an object store": (
        (b"10000;chunk-signature=" + b"a" * 64 + b"\r\n" + b"b" * 65_536 + b"\r\n") * 3 + b"0\r\n\r\n",
        b"b" * 3 * 65_536,
    ),
}


@pytest.mark.parametrize("what", GOOD)
def test_what_is_at_the_bounds_is_read(what: str) -> None:
    data, body = GOOD[what]

    assert (body, b"") == read(data)
