"""A request head that came in one packet means what it means when it comes byte by byte."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus.errors import Refused
from bus.http.limits import Limits
from bus.http.request import Head, read_head

LIMITS = Limits(request_line=120, header_bytes=200, header_lines=4)
LINES = (
    "Host: a.example",
    "host: b.example:80",
    "Host: two words",
    "X-Sig: 1",
    "x-sig:\t2 \t",
    "X_Sig: 3",
    "X-Sig : 4",
    " folded",
    "X-Sig: \x00",
    "X-Sig: \xe9",
    "X-Sig: a\rb",
    "X-Sig: a\nb",
    "no colon",
    "",
    ": nameless",
    "Cookie: a",
    "Cookie: b",
    "Content-Length: 3",
    "Content-Length: +3",
    "Content-Type: text/plain",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Connection: close",
    "Connection: Keep-Alive, x",
    "Expect: 100-continue",
    "Expect: tea",
    "Expect:",
    "X-Long: " + "x" * 90,
)
TARGETS = (
    "/",
    "/a%2fb?c=d",
    "*",
    "http://c.example/x?y",
    "http://c.example",
    "a",
    "/" + "x" * 120,
    "/a#b",
    "/\xe9",
)
FIRST = st.builds(
    "{} {} {}".format,
    st.sampled_from(["GET", "POST", "OPTIONS", "G(T", ""]),
    st.sampled_from(TARGETS),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/1.1 ", "http/1.1"]),
)
ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\r\n", "\n"])
HEADS = st.builds(
    lambda blank, first, lines, end, rest: blank + end.join([first, *lines, "", ""]) + rest,
    st.sampled_from(["", "", "", "\r\n", "\r\n\r\n", "\x16"]),
    FIRST,
    st.lists(st.sampled_from(LINES), max_size=6),
    ENDS,
    st.sampled_from(["", "body", "\r\n", "GET / HTTP/1.1\r\n\r\n"]),
)


class ByteByByte(io.RawIOBase):
    """A wire that never gives more than one byte."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._data.readinto(memoryview(buffer)[:1])


def outcome(wire: io.RawIOBase) -> tuple[Head | tuple[int, str, str], bytes]:
    """What was understood or refused, and what is left for the body when it was understood."""
    stream = io.BufferedReader(wire)
    try:
        return read_head(stream, LIMITS), stream.read()
    except Refused as refusal:
        return (refusal.status, refusal.code, refusal.detail), b""


@given(HEADS)
@example("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
@example("GET / HTTP/1.1\r\n\r\n")
@example("GET / HTTP/1.0\r\n\r\nrest")
@example("GET / HTTP/1.1\r\nHost: a\r\nX: \r\r\n\r\n")
@example("GET / HTTP/1.1\r\n" + "Host: a\r\n" + "X-A: 1\r\n" * 4 + "\r\n")
@example("GET / HTTP/1.1\r\n" + "Host: a\r\n" + "X-A: 1\r\n" * 3 + "\r\n")
def test_a_head_in_one_packet_means_what_it_means_byte_by_byte(text):
    """There are two ways to read one, and two meanings of one request are how requests are smuggled."""
    data = text.encode("latin-1")

    assert outcome(ByteByByte(data)) == outcome(io.BytesIO(data))


@pytest.mark.parametrize("most", [1, 30, 60, 1000])
def test_limits_are_the_same_in_one_packet(most):
    """Of the line, of all headers, and of their number."""
    data = b"GET /aaaaaaaaaa HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\n\r\n"
    answers = []
    for limits in (Limits(request_line=most), Limits(header_bytes=most), Limits(header_lines=min(most, 2))):
        for wire in (ByteByByte(data), io.BytesIO(data)):
            try:
                answers.append(read_head(io.BufferedReader(wire), limits))
            except Refused as refusal:
                answers.append(refusal.status)

    assert answers[::2] == answers[1::2]
