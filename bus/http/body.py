"""A request's body, whole or refused: never cut, never drained."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pywsgi import Input

from ..clock import Clock
from ..errors import Refused
from .bodies import Share

PIECE_BYTES: Final = 64 * 1024
# pywsgi keeps each chunk as an object of its own: chunks of two bytes cost twenty times their size,
# and 10 µs each (measured: 70 MB of them from 500 connections kept the daemon busy for two minutes)
CHUNKED_PIECE_BYTES: Final = 1024
FREE_FRAMING_BYTES: Final = 16 * 1024
SLICE_SECONDS: Final = 0.005
STEP_SECONDS: Final = 0.001

_CLOCK = Clock()
_TURN = BoundedSemaphore(1)


class BodyStream(Input):  # type: ignore[misc]  # gevent has no type hints
    """pywsgi's body reader, which sets room aside first and says whether anything is left to read.

    What is left is never drained, it can be gigabytes: the connection is closed instead.
    """

    __slots__ = ("_count", "_from", "_share", "_since")

    def __init__(self, rfile: Any, length: int | None, share: Share, *, socket: Any, chunked: bool) -> None:
        super().__init__(rfile, length, socket=socket, chunked_input=chunked)
        self._share = share
        self._count = 0
        self._since = _CLOCK.monotonic()
        self._from = rfile.raw.received

    def read(self, length: int | None = None) -> bytes:
        """At most *length* bytes; blocks until they or the end are there. Raises Refused without room."""
        wanted = sys.maxsize if length is None or length < 0 else length
        if not self.chunked_input:
            wanted = min(wanted, (self.content_length or 0) - self.position)
            if wanted:
                self._share.take(wanted)
        pieces: list[bytes] = []
        while wanted > 0 and (piece := self._read_piece(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
        if self.is_finished:
            self._share.arrived()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_piece(self, wanted: int) -> bytes:
        if self.chunked_input:
            wanted = min(wanted, CHUNKED_PIECE_BYTES)
            self._share.take(wanted)
            if self._count:
                self._check_framing()
                self._step_back()
        piece: bytes = super().read(min(wanted, PIECE_BYTES))
        self._count += len(piece)
        self._share.came(len(piece))
        return piece

    def _step_back(self) -> None:
        """Let others have their turn: when all has arrived, nothing else here waits for anything."""
        if _CLOCK.monotonic() - self._since > SLICE_SECONDS:
            with _TURN:  # one at a time: a hundred slices in one turn of the hub would be as bad
                gevent.sleep(STEP_SECONDS)
            self._since = _CLOCK.monotonic()

    def _check_framing(self) -> None:
        framing = self.rfile.raw.received - self._from - self._count
        if framing > FREE_FRAMING_BYTES + self._count // 2:
            raise Refused(400, "bad_body", "body: expected chunks of 16 bytes and more, got smaller ones")

    @property
    def is_finished(self) -> bool:
        """Every byte of the body has been read, so that the next request can follow."""
        if self.chunked_input:
            return bool(self.chunk_length == 0) and not self._chunked_input_error
        return bool(self.position >= (self.content_length or 0))


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """Read the whole body of at most *limit* bytes; blocks until it is there.

    Raises Refused: 413 when it is or claims to be larger (Werkzeug's own reader cuts a chunked body
    at its limit and answers 200), 400 when it is cut or badly chunked, 408 when it is too slow,
    503 when all room for bodies is taken.
    """
    if int(environ.get("CONTENT_LENGTH") or 0) > limit:
        raise _too_large(limit)
    try:
        body: bytes = environ["wsgi.input"].read(limit + 1)
    except (OSError, ValueError) as error:  # pywsgi: a bad or empty chunk size is either of them
        raise Refused(400, "bad_body", "body: cut short or badly chunked") from error
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> Refused:
    return Refused(413, "body_too_large", f"body: at most {limit} bytes")
