"""Decodes a chunked body strictly: RFC 9112 section 7.1.

pywsgi's reader takes size, extension and trailer lines byte by byte (1 µs each, without a turn of the
hub), any number of trailers, and a line feed inside an extension, where other programs see a line's end.
Here a line is one call, has a bound, and all of them together have one.
"""

from __future__ import annotations

import re
import sys
from io import BufferedReader, BytesIO
from typing import Any, Final

from ..errors import Refused
from .body_budget import Share
from .deadline_reader import DeadlineReader
from .request import FIELD

LINE_BYTES: Final = 1024
TRAILER_BYTES: Final = 8 * 1024
TRAILER_LINES: Final = 64
FREE_FRAMING_BYTES: Final = 16 * 1024
PIECE_BYTES: Final = 64 * 1024
ROOM_BYTES: Final = 1024

# of an extension only its end matters, and that is the first CR LF: neither may stand inside alone
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")


class Chunks:
    """The chunks that follow on *stream*, joined. Extensions and trailers are checked and forgotten.

    Room is taken from *share* before it is filled. Every method blocks while bytes are missing and
    raises Refused, or OSError when the client is gone.
    """

    __slots__ = (
        "_count",
        "_framing",
        "_left",
        "_limit",
        "_reader",
        "_room",
        "_share",
        "_stream",
        "is_finished",
    )

    def __init__(self, stream: BufferedReader[Any], reader: DeadlineReader, share: Share) -> None:
        self._stream = stream
        self._reader = reader
        self._share = share
        self._left = 0
        self._room = 0
        self._count = 0
        self._framing = 0
        self._limit = sys.maxsize
        self.is_finished = False

    def read(self, most: int, limit: int = sys.maxsize) -> bytes:
        """At most *most* bytes; fewer are the end of the body, with its trailers read.

        Raises Refused(413) as soon as a chunk announces that the body is larger than *limit*.
        """
        self._limit = limit
        body, missing = BytesIO(), most
        while missing and not self.is_finished:
            self._reader.meter.spend(1)
            if not self._left:
                self._begin_chunk()
            if self._left:
                piece = self._piece(min(missing, self._left, PIECE_BYTES))
                body.write(piece)
                missing -= len(piece)
        return body.getvalue()

    def _piece(self, size: int) -> bytes:
        if size > self._room:
            self._share.take(more := max(size - self._room, ROOM_BYTES))
            self._room += more
        piece = self._stream.read(size)
        if len(piece) < size:
            raise _bad("cut short")
        self._room -= size
        self._left -= size
        self._count += size
        if not self._left and self._stream.read(2) != b"\r\n":
            raise _bad("expected CR LF behind a chunk")
        return piece

    def _begin_chunk(self) -> None:
        line = self._line(LINE_BYTES, "a chunk's size with its extensions")
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise _bad("expected a chunk's size in hexadecimal digits, ended by CR LF")
        self._framing += len(line) + 2
        self._left = int(match[1], 16)
        if self._count + self._left > self._limit:
            raise too_large(self._limit)
        if self._framing > FREE_FRAMING_BYTES + (self._count + self._left) // 2:
            raise _bad("expected chunks of 16 bytes and more, got smaller ones or long extensions")
        if not self._left:
            self._read_trailers()
            self.is_finished = True

    def _read_trailers(self) -> None:
        room = TRAILER_BYTES
        for _ in range(TRAILER_LINES + 1):
            line = self._line(room, "trailers")
            if line == b"\r\n":
                return
            if FIELD.fullmatch(line) is None:
                raise _bad("expected trailers as NAME: VALUE, each on one line ended by CR LF")
            room -= len(line)
        raise _bad(f"at most {TRAILER_LINES} trailers")

    def _line(self, most: int, what: str) -> bytes:
        line = self._stream.readline(most + 1)
        if len(line) > most:
            raise _bad(f"{what}: at most {most} bytes")
        if not line.endswith(b"\n"):
            raise _bad("cut short")
        return line


def too_large(limit: int) -> Refused:
    """The refusal of a body of more than *limit* bytes, in chunks or not."""
    return Refused(413, "body_too_large", f"body: at most {limit} bytes")


def _bad(detail: str) -> Refused:
    return Refused(400, "bad_body", f"body: {detail}")
