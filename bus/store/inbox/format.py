r"""The form of an inbox file: a header, then records, each one posting that was acknowledged as a whole.

::

    header, 32 bytes   b"monqbus inbox 1\n" · taken, 8 bytes · 8 bytes of zero
    record             length, 4 bytes · CRC-32 of the payload, 4 bytes · payload, a BSON document

Numbers are unsigned, little-endian. `taken` is the offset up to which a daemon has stored what stands there;
it alone is ever overwritten, and only by the daemon. A record is acknowledged when it is on the disk.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

MAGIC: Final = b"monqbus inbox 1\n"
HEADER: Final = struct.Struct("<16sQ8x")
TAKEN: Final = struct.Struct("<Q")
TAKEN_OFFSET: Final = len(MAGIC)
_FRAME: Final = struct.Struct("<II")
LARGEST_PAYLOAD: Final = 64 * 1024**2
"""Bytes of one record; a length above it is no length."""
SUFFIX: Final = ".posts"
UNFINISHED: Final = ".new"
"""In place of SUFFIX while a file has no header yet."""
DAMAGED: Final = ".damaged"
"""What is put behind the name of a file of which something acknowledged cannot be read."""


class Record(NamedTuple):
    """A *payload* that was read, and the offset behind it."""

    payload: bytes
    end: int


class Damaged(ValueError):
    """At *offset* stands what no writer of ours has written."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"unreadable from byte {offset}")
        self.offset = offset


def new_header() -> bytes:
    """The header of an empty file."""
    return HEADER.pack(MAGIC, HEADER.size)


def taken_of(header: bytes) -> int:
    """The offset up to which a file has been stored. Raises Damaged where this is no header of ours."""
    if len(header) < HEADER.size:
        raise Damaged(0)
    magic, taken = HEADER.unpack(header[: HEADER.size])
    if magic != MAGIC or taken < HEADER.size:
        raise Damaged(0)
    return int(taken)


def frame(payload: bytes) -> bytes:
    """The record of *payload*. Raises ValueError when it is too large."""
    if len(payload) > LARGEST_PAYLOAD:
        raise ValueError(f"expected at most {LARGEST_PAYLOAD} bytes, got {len(payload)}")
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def records(data: bytes, offset: int) -> Iterator[Record]:
    """The whole records of *data*, which stands at *offset* of a file; ends before one that is not whole.

    Raises Damaged at a whole one that is wrong. Zeros are no record: a file may have grown before its
    bytes came, and these were never acknowledged.
    """
    place = 0
    while len(data) - place >= _FRAME.size:
        length, checksum = _FRAME.unpack_from(data, place)
        if not length and not checksum:
            return
        if not 0 < length <= LARGEST_PAYLOAD:
            raise Damaged(offset + place)
        start = place + _FRAME.size
        if len(data) - start < length:
            return
        payload = data[start : start + length]
        if zlib.crc32(payload) != checksum:
            raise Damaged(offset + place)
        place = start + length
        yield Record(payload, offset + place)


def missing(data: bytes) -> int:
    """How many bytes more than *data*, which begins with a record, that record needs; 0 when it is whole."""
    if len(data) < _FRAME.size:
        return _FRAME.size - len(data)
    length = int(_FRAME.unpack_from(data)[0])
    return max(0, min(length, LARGEST_PAYLOAD) - (len(data) - _FRAME.size))
