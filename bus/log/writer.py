"""Writes the log in a native thread, so that a log which nobody reads blocks nothing else.

A pipe whose reader stands still takes 64 KiB and then blocks whoever writes: in the hub that would be
every task and every request, and the signal that asks to stop.
"""

from __future__ import annotations

import os
from _queue import (
    Empty,
    SimpleQueue,
)  # blocks a native thread; gevent replaces that of `queue`, and all locks
from collections.abc import Callable
from contextlib import suppress
from typing import Final

MOST_BYTES: Final = 4 * 1024 * 1024
# a lone line goes out at once; behind it, what a busy daemon says gathers: each time the thread wakes
# up costs the hub the interpreter's lock
GATHER_SECONDS: Final = 0.05


class NativeLock:
    """A lock between native threads, the hub's among them, which holds it for microseconds only."""

    def __init__(self) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        self._free.put(None)

    def __enter__(self) -> None:
        self._free.get()

    def __exit__(self, *_: object) -> None:
        self._free.put(None)


class LogWriter:
    """A file for a FactLog: `write` takes whole lines from any thread and never blocks.

    While more than *most_bytes* wait for *descriptor*, lines are dropped. How many is said by the line
    that *notice* makes of their number, as soon as there is room again. A descriptor that fails (its
    reader is gone, its disk is full) loses lines, too, and they are counted in the same way.
    """

    def __init__(
        self, descriptor: int, notice: Callable[[int], str], *, most_bytes: int = MOST_BYTES
    ) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._most_bytes = most_bytes
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._lock = NativeLock()
        self._never: SimpleQueue[None] = SimpleQueue()
        self._waiting = 0
        self._dropped = 0

    @property
    def waiting(self) -> int:
        """How many bytes have not been written."""
        return self._waiting

    def write(self, text: str) -> None:
        """Take *text*, whole lines of it. Never blocks, never raises."""
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._waiting + len(data) > self._most_bytes:
                self._dropped += text.count("\n")
            else:
                self._waiting += len(data)
                self._queue.put(data)

    def end(self) -> None:
        """Let `run` come to its end behind all that was taken before. Never blocks."""
        self._queue.put(None)

    def run(self) -> None:
        """Write what comes until `end`. Blocks; for a native thread."""
        goes_on = True
        while goes_on:
            gathered, goes_on = self._gather(self._queue.get())
            self._write_all(gathered)
            self._tell_dropped()
            if goes_on:
                self._rest()

    def _gather(self, data: bytes | None) -> tuple[bytes, bool]:
        """*data* with all that waits behind it, and whether more may come."""
        pieces: list[bytes] = []
        while data is not None:
            pieces.append(data)
            if self._queue.empty():
                return b"".join(pieces), True
            data = self._queue.get()
        return b"".join(pieces), False

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._count(len(data), bytes(rest).count(b"\n"))
            return
        self._count(len(data), 0)

    def _count(self, written: int, dropped: int) -> None:
        with self._lock:
            self._waiting -= written
            self._dropped += dropped

    def _tell_dropped(self) -> None:
        if not self._dropped:
            return
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        try:
            os.write(self._descriptor, self._notice(dropped).encode("utf-8", "backslashreplace"))
        except OSError:
            self._count(0, dropped)

    def _rest(self) -> None:
        with suppress(Empty):
            self._never.get(timeout=GATHER_SECONDS)
