"""Inflates gzip from strangers: so much and no more, slice by slice."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from .refusal import BadPayload

ENCODINGS: Final = frozenset({"gzip", "x-gzip"})
"""The names of Content-Encoding for it (RFC 9110 section 8.4.1.3)."""
MOST_BYTES: Final = 25 * 1024 * 1024
MOST_RATIO: Final = 100
"""How many times its size a body may have; JSON has ten to thirty, and the format allows for a thousand."""
UNRATED_BYTES: Final = 64 * 1024
MOST_MEMBERS: Final = 16
SLICE_BYTES: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


def nothing(*_: object) -> None:
    """Do nothing."""


def inflated(
    body: bytes,
    pause: Callable[[], object] = nothing,
    take: Callable[[int], object] = nothing,
    most: int = MOST_BYTES,
) -> bytes:
    """What *body* is without its compression; at most *most* bytes and MOST_RATIO times its size.

    *take* is told of each piece's size before the piece is kept, *pause* is called between two. Raises
    BadPayload for anything else than whole gzip within the bounds.
    """
    return b"".join(_Inflation(body, pause, take, most).pieces())


class _Inflation:
    def __init__(
        self, body: bytes, pause: Callable[[], object], take: Callable[[int], object], most: int
    ) -> None:
        self._body = body
        self._pause = pause
        self._take = take
        self._most = min(most, max(UNRATED_BYTES, MOST_RATIO * len(body)))
        self._size = 0

    def pieces(self) -> list[bytes]:
        pieces: list[bytes] = []
        at = 0
        for _ in range(MOST_MEMBERS):
            at = self._member(at, pieces)
            if at == len(self._body):
                return pieces
        raise BadPayload(f"body: expected gzip of at most {MOST_MEMBERS} members, got more")

    def _member(self, at: int, pieces: list[bytes]) -> int:
        """Inflate the member that begins *at*; where it ends."""
        stream = zlib.decompressobj(_GZIP)
        while not stream.eof:
            given = stream.unconsumed_tail
            if not given:
                given = self._body[at : at + SLICE_BYTES]
                at += len(given)
            try:
                piece = stream.decompress(given, SLICE_BYTES)
            except zlib.error:
                raise BadPayload("body: expected gzip, got bytes that are not") from None
            if not (given or piece):
                raise BadPayload("body: expected whole gzip, got some that is cut short")
            self._size += len(piece)
            if self._size > self._most:
                raise BadPayload(f"body: expected at most {self._most} bytes when it is inflated, got more")
            self._take(len(piece))
            pieces.append(piece)
            self._pause()
        return at - len(stream.unused_data)
