"""Reads bytes from a socket under one deadline at a time."""

from __future__ import annotations

import io
from contextlib import suppress
from socket import MSG_PEEK, SHUT_RD
from typing import TYPE_CHECKING, Any

from ..clock import Clock
from ..errors import Refused
from .turns import BYTES_A_STEP, Meter

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CLOCK = Clock()


class DeadlineReader(io.RawIOBase):
    """The reading side of a connected gevent socket.

    A limit per recv() would let a client send one byte at a time for ever; a deadline does not.
    Reading blocks the greenlet; raises Refused(408) when the deadline passes, what `hang_up` was given
    when the server hung up first, OSError when the client did. `received` counts the bytes, `meter` the
    work that is done with them.
    """

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self.received = 0
        self.meter = Meter()
        self._deadline = 0.0
        self._allowed = (0.0, "")
        self._why_hung_up: Refused | None = None
        self._is_cut = False

    def allow(self, seconds: float, what: str) -> None:
        """From now on everything read must arrive within *seconds*; *what* is named if it does not."""
        self._deadline = _CLOCK.monotonic() + seconds
        self._allowed = (seconds, what)

    def _too_slow(self) -> Refused:
        seconds, what = self._allowed
        return Refused(408, "too_slow", f"{what}: expected to be complete within {seconds:g} s")

    def hang_up(self, why: Refused | None = None) -> None:
        """Wake the reader: what has arrived can still be read, nothing is waited for any more.

        Then the reader gets *why*, by default that the server stops.
        """
        self._why_hung_up = why or Refused(
            503, "draining", "server: stopping, send it again", {"Retry-After": "2"}
        )
        with suppress(OSError):  # the client may have been faster
            self._socket.shutdown(SHUT_RD)

    def cut(self, why: Refused) -> None:
        """As `hang_up`, but what has arrived is not read any more, either."""
        self._is_cut = True
        self.hang_up(why)

    def readable(self) -> bool:
        """Always: this is how io.BufferedReader asks."""
        return True

    def time_left(self) -> float:
        """Seconds until the deadline. Raises as reading does when it is past, or the reading was cut."""
        left = self._deadline - _CLOCK.monotonic()
        if left <= 0:
            raise self._too_slow()
        if self._is_cut and self._why_hung_up is not None:
            raise self._why_hung_up
        return left

    def first_byte(self) -> bytes:
        """The next byte, which stays to be read; b"" at the end of the stream. Blocks until it is there."""
        self._socket.settimeout(self.time_left())
        try:
            byte: bytes = self._socket.recv(1, MSG_PEEK)
        except TimeoutError:
            raise self._too_slow() from None
        return byte

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what is there, at least one byte; 0 at the end of the stream."""
        self._socket.settimeout(self.time_left())
        try:
            count: int = self._socket.recv_into(buffer)
        except TimeoutError:
            raise self._too_slow() from None
        except OSError:
            if self._why_hung_up is None:
                raise
            count = self._socket.recv_into(buffer)  # gevent's shutdown() throws into a waiting recv()
        if not count and self._why_hung_up is not None:
            raise self._why_hung_up
        self.received += count
        self.meter.spend(1 + count // BYTES_A_STEP)
        return count
