"""The frames between daemon and worker: four bytes of length, big-endian, then one BSON document."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, Protocol

from ..codec import decode, encode

LIMIT: Final = 64 * 1024 * 1024
READ_BYTES: Final = 64 * 1024
_HEAD: Final = struct.Struct(">I")


class BadFrame(ValueError):
    """What came is not a frame, or one that is too large; the connection is of no use any more."""


class Stream(Protocol):
    """What frames need of a stream socket; the standard library's and gevent's both have it."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of *data*."""

    def recv(self, size: int, /) -> bytes:
        """Up to *size* bytes; none at the end of the stream."""


class FrameStream:
    """One end of a connection. With a plain socket it blocks the process, with gevent's the greenlet.

    Only one at a time may send, and only one receive.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting = bytearray()

    def send(self, document: Mapping[str, Any]) -> None:
        """Send one frame. Raises BadFrame when it cannot be one, OSError when nobody is there."""
        try:
            data = encode(document)
        except Exception as error:  # a value's own code may say anything
            raise BadFrame(
                f"frame: expected what BSON can hold, got {type(error).__name__}: {error}"
            ) from error
        if len(data) > LIMIT:
            raise BadFrame(f"frame: expected at most {LIMIT} bytes, got {len(data)}")
        self._stream.sendall(_HEAD.pack(len(data)) + data)

    def receive(self) -> dict[str, Any] | None:
        """The next frame, None at the end of the stream. Raises BadFrame, OSError."""
        head = self._take(_HEAD.size)
        if head is None:
            return None
        (length,) = _HEAD.unpack(head)
        if length > LIMIT:
            raise BadFrame(f"frame: expected at most {LIMIT} bytes, got {length} announced")
        data = self._take(length)
        if data is None:
            raise BadFrame(f"frame: expected {length} bytes, got the end of the stream")
        try:
            return decode(data)
        except Exception as error:  # a decoder of strangers' bytes may say anything
            raise BadFrame(f"frame: expected a BSON document, got {data[:20]!r}: {error}") from error

    def _take(self, count: int) -> bytes | None:
        """Exactly *count* bytes; None when the stream ends before."""
        while len(self._waiting) < count:
            piece = self._stream.recv(READ_BYTES)
            if not piece:
                return None
            self._waiting += piece
        taken = bytes(self._waiting[:count])
        del self._waiting[:count]
        return taken
