"""Reads a request's body, whole or refused: never truncated."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from io import BufferedReader
from typing import Any, Final

from ..errors import Refused
from .body_budget import Share
from .chunked import PIECE_BYTES, Chunks, too_large
from .deadline_reader import DeadlineReader

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyStream:
    """WSGI's input, of which our applications need `read` alone. It sets room aside before it reads.

    What is left unread is never drained, it can be gigabytes: the connection is closed instead.
    *waiting* is the connection of a client that wants to be told to go on before it sends.
    """

    __slots__ = ("_chunks", "_left", "_share", "_stream", "_waiting")

    def __init__(
        self,
        stream: BufferedReader[Any],
        reader: DeadlineReader,
        share: Share,
        *,
        length: int | None,
        chunked: bool,
        waiting: Any = None,
    ) -> None:
        self._stream = stream
        self._share = share
        self._left = length or 0
        self._chunks = Chunks(stream, reader, share) if chunked else None
        self._waiting = waiting

    def read(self, size: int = -1) -> bytes:
        """At most *size* bytes, all of them when it is negative; blocks until they or the end are there.

        Raises Refused without room, or when they are cut short or badly chunked; OSError when the client
        is gone.
        """
        return self._read(sys.maxsize if size < 0 else size, sys.maxsize)

    def read_whole(self, limit: int) -> bytes:
        """The body if it has at most *limit* bytes; blocks until it is there, and raises as `read` does.

        A larger one is cut behind them, or refused with 413 as soon as a chunk announces it.
        """
        return self._read(limit + 1, limit)

    def set_aside(self, count: int) -> None:
        """Take room for *count* bytes that the body has in it, until the answer. Raises Refused(503)."""
        self._share.take_inflated(count)

    def _read(self, wanted: int, limit: int) -> bytes:
        if self._waiting is not None:
            self._waiting.sendall(CONTINUE)
            self._waiting = None
        body = self._chunks.read(wanted, limit) if self._chunks is not None else self._rest(wanted)
        if self.is_finished:
            self._share.arrived()
        return body

    def _rest(self, wanted: int) -> bytes:
        wanted = min(wanted, self._left)
        if not wanted:
            return b""
        self._share.take(wanted)
        pieces: list[bytes] = []
        while wanted:
            piece = self._stream.read(min(wanted, PIECE_BYTES))
            if not piece:
                raise Refused(400, "bad_body", "body: cut short")
            pieces.append(piece)
            wanted -= len(piece)
            self._left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def give_back(self) -> None:
        """Let others have the room that the body took, as nobody holds it any more; twice is once."""
        self._share.give_back()

    @property
    def is_finished(self) -> bool:
        """Every byte of the body has been read, so that the next request can follow."""
        return self._chunks.is_finished if self._chunks is not None else not self._left


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """Read the whole body of at most *limit* bytes; blocks until it is there.

    Raises Refused: 413 when it is or claims to be larger (Werkzeug's own reader cuts a chunked body
    at its limit and answers 200), 400 when it is cut or badly chunked, 408 when it is too slow,
    503 when all room for bodies is taken.
    """
    check_size(environ, limit)
    try:
        body: bytes = environ["wsgi.input"].read_whole(limit)
    except OSError as error:
        raise Refused(400, "bad_body", "body: cut short") from error
    if len(body) > limit:
        raise too_large(limit)
    return body


def check_size(environ: Mapping[str, Any], limit: int) -> None:
    """Raise Refused(413) when the head announces more than *limit* bytes. Never blocks."""
    if int(environ.get("CONTENT_LENGTH") or 0) > limit:
        raise too_large(limit)
