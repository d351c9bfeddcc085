"""The frames between daemon and worker: four bytes of length, big-endian, then one BSON document.

Both sides are this program; no version is told, as a worker is forked from its daemon's own zygote. Each
frame is known by its fields; those in brackets may be missing. `of` is the run (task and generation) that a
worker speaks for: what comes under another one is not served, and a forged end has the worker killed. A
worker that asks waits for the answer, and sends nothing else until it has come. The stream ends where `run`
could come: the daemon shuts its half, or either process is gone.

=============  =========  =======================================================  ===========================
frame          from       fields                                                   followed by
=============  =========  =======================================================  ===========================
run            daemon     run seconds                                              taken
taken          worker     taken of                                                 printed progress ask ended
printed        worker     of printed                                               printed progress ask ended
progress       worker     of progress text                                         printed progress ask ended
ask post       worker     ask of name args kwargs context options                  answer error
ask publish    worker     ask of topic args kwargs context                         answer error
ask look       worker     ask of id                                                answer error
ask log        worker     ask of                                                   answer error
answer post    daemon     task                                                     printed progress ask ended
answer publish daemon     task_ids event_id duplicate repeated replayed retried    printed progress ask ended
answer look    daemon     task                                                     printed progress ask ended
answer log     daemon     text                                                     printed progress ask ended
error          daemon     error text                                               printed progress ask ended
ended returned worker     ended value of bytes [spent]                             run
ended failed   worker     ended line traceback of bytes [spent]                    run
ended verdict  worker     ended line traceback delay of bytes [spent]              run
ended overdue  worker     ended traceback of bytes [spent]                         run
ended stopped  worker     ended line of bytes [spent]                              run
=============  =========  =======================================================  ===========================

A verdict's `ended` is its name: Retry, Snooze, Cancel. Before all that a worker has to be forked: orders and
answers on the control socket of a zygote or app process (`forkserver`) are single messages of one BSON
document each. `fork` carries a descriptor, the child's stream; the zygote's names the apps, an app process's
none.

=============  =========  =======================================================  ===========================
message        from       fields                                                   followed by
=============  =========  =======================================================  ===========================
fork           daemon     fork [apps path log_level]                               born unborn
signal         daemon     signal number                                            died
born           parent     born pid                                                 died
unborn         parent     unborn error
died           parent     died status
ready          parent     ready threads                                            born unborn died
refused        parent     refused
=============  =========  =======================================================  ===========================

`ready` or `refused` comes once from an app process, before it takes orders. Signals are answered by an end
only.
"""

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
