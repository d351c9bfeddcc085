"""TLS on accepted connections: OpenSSL turns bytes into bytes, and the socket stays a plain one.

An `ssl.SSLSocket` waits again at each piece of a record, so that a trickle has no deadline, and forgets
its encryption at `shutdown`, so that what is read next is ciphertext, taken for HTTP. Here deadlines,
hanging up and lingering are those of the plain socket, and HTTP is read from what OpenSSL has opened or not
at all.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from ..errors import Refused
from .deadline_reader import DeadlineReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HANDSHAKE_GRACE_SECONDS: Final = 0.5
"""How long a handshake, and then the first request, may keep a place that others want: round trips."""

_RECORD_BYTES: Final = 16 * 1024 + 256
"""RFC 8446 section 5.2: the largest record."""
_HANDSHAKE_RECORD: Final = b"\x16"


def begins_tls(byte: bytes) -> bool:
    """Whether a connection that begins with *byte* speaks TLS; HTTP begins with a letter."""
    return byte == _HANDSHAKE_RECORD


def plain_http() -> Refused:
    """The refusal of a client that speaks HTTP without TLS."""
    return Refused(400, "expected_tls", "request: expected TLS, this is plain HTTP; write https://")


class Failure(NamedTuple):
    """Why a handshake failed: a *code* for machines, and the *reason* in more words.

    certificate (the client does not trust ours), version, cipher, malformed, too_slow, hung_up.
    """

    code: str
    reason: str


def failure_of(error: BaseException) -> Failure:
    """What the *error* of a handshake means for whoever has to find out why a sender cannot connect."""
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "not known").lower().replace("_", " ")
        return Failure(next((code for part, code in _WORDS.items() if part in reason), "malformed"), reason)
    if isinstance(error, Refused):
        return Failure("too_slow", error.detail)
    return Failure("hung_up", "the client hung up")


_WORDS: Final = {
    "alert unknown ca": "certificate",
    "alert bad certificate": "certificate",
    "alert certificate": "certificate",
    "alert unsupported certificate": "certificate",
    "protocol version": "version",
    "unsupported protocol": "version",
    "unsupported version": "version",
    "version too low": "version",
    "no shared cipher": "cipher",
    "no suitable": "cipher",
    "alert handshake failure": "cipher",
    "unexpected eof": "hung_up",
}
"""Parts of OpenSSL's words. An alert is the client's: `certificate` means that it does not trust ours."""


class Tls:
    """The TLS of a listener. *context* is the present certificate's; whoever has begun keeps its own."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def wire(self, reader: DeadlineReader, send: Callable[[bytes], object]) -> TlsWire:
        """The encryption of one connection, whose ciphertext is read from *reader*; see TlsWire."""
        return TlsWire(self.context, reader, send)


class TlsWire:
    """One connection's encryption. *send* takes what a handshake has to send.

    Reading blocks and raises as *reader* does; ssl.SSLError, an OSError, when the client breaks the
    protocol.
    """

    def __init__(
        self, context: ssl.SSLContext, reader: DeadlineReader, send: Callable[[bytes], object]
    ) -> None:
        self._came = ssl.MemoryBIO()
        self._leaving = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._came, self._leaving, server_side=True)
        self._reader = reader
        self._send = send
        self._buffer = bytearray(_RECORD_BYTES)
        self._is_closed = False

    def shake_hands(self) -> None:
        """Blocks until the handshake is over. The alert of one that fails is left for `farewell`."""
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    raise ConnectionAbortedError from None
            else:
                self._flush()
                return

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what is there into *buffer*, at least one byte; 0 at the end of the stream."""
        self._reader.time_left()  # also of what has been received before, and is opened only now
        self._reader.meter.spend(1)  # a record may hold one byte
        view = memoryview(buffer)
        while True:
            try:
                return cast("int", self._ssl.read(len(view), view))
            except ssl.SSLWantReadError:
                self._flush()  # answers of the protocol itself, to a change of keys
                self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return 0

    def sealed(self, data: bytes) -> bytes:
        """*data* as it goes over the socket. Never blocks; raises OSError."""
        self._ssl.write(data)
        return self._leaving.read()

    def farewell(self) -> bytes:
        """The last bytes, an alert or close_notify; b"" the second time. Never blocks or raises."""
        if self._is_closed:
            return b""
        self._is_closed = True
        with suppress(OSError, ValueError):  # ssl.SSLError among them: it would wait for the client's own end
            self._ssl.unwrap()
        return self._leaving.read()

    def _fill(self) -> int:
        count = self._reader.readinto(self._buffer)
        if count:
            self._came.write(memoryview(self._buffer)[:count])
        else:
            self._came.write_eof()
        return count

    def _flush(self) -> None:
        if self._leaving.pending:
            self._send(self._leaving.read())


class TlsReader(io.RawIOBase):
    """The opened side of a TlsWire."""

    def __init__(self, wire: TlsWire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        """Always: this is how io.BufferedReader asks."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """See TlsWire.readinto."""
        return self._wire.readinto(buffer)
