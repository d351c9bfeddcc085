"""Standard output and error of the daemon: what is written there becomes lines of the log.

A handler's greenlets, threads and child processes, the workers and C libraries all write to descriptors
1 and 2 without asking. What they wrote raw could forge a line of the log, or break its JSON. So these
two become the writing end of one pipe, which a native thread reads. ::

    handler's thread ─┐
    child process    ─┼─▶ 1, 2 ═▶ pipe ─▶ Reader ─▶ one fact a line, escaped as all others
    cpu worker       ─┘
    the log's writer ───▶ `log`, the standard error as it was at the start

Made before anything is forked, so that workers have it from their birth.
"""

from __future__ import annotations

import fcntl
import os
import resource
import sys
from _queue import Empty, SimpleQueue  # blocks a native thread; gevent replaces that of `queue`
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from select import POLLOUT, poll
from typing import Final

from ..clock import Clock
from ..safe_text import harmless

OWN_NUMBER: Final = 64  # above what shells redirect and programs close
LONGEST_LINE: Final = 2000
READ_BYTES: Final = 64 * 1024  # what a pipe holds
# so much of what is printed without pause is told; the rest is read and counted, or its writer would stop
LINES_PER_SECOND: Final = 1000
PAUSE_SECONDS: Final = 0.01

Tell = Callable[[str], None]
"""Is told one line. Called from a native thread; must not block for long."""


class Streams:
    """Descriptors 1 and 2 of this process, as they were and as they are."""

    def __init__(self) -> None:
        open_closed()
        _take_every_text()
        self.out, self.log = _own(1), _own(2)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._reading, self._writing = _own(reading), _own(writing)
        os.close(reading)
        os.close(writing)

    def divert(self) -> None:
        """Let 1 and 2 lead into the pipe; what is written there from now on wants a Reader."""
        for number in (1, 2):
            os.dup2(self._writing, number)
        for name, number in (("stdout", 1), ("stderr", 2)):
            stream = getattr(sys, name)
            if stream is None:  # it was closed when Python started
                setattr(sys, name, os.fdopen(number, "w", 1, errors="backslashreplace", closefd=False))
            elif hasattr(stream, "reconfigure"):
                stream.reconfigure(line_buffering=True)

    def lead_back(self, number: int) -> None:
        """Let *number*, 1 or 2, lead into the pipe again, or what is opened next, a socket, would get it."""
        os.dup2(self._writing, number)

    def restore(self) -> None:
        """1 and 2 as they were at the start."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os.dup2(self.out, 1)
        os.dup2(self.log, 2)

    def divert_child(self) -> None:
        """As `divert`, in a process that was forked from the one which reads."""
        os.close(self._reading)
        self.divert()

    def print(self, line: str) -> None:
        """Print *line* on the standard output as it was at the start; left out when nobody reads there."""
        _write(self.out, line)

    def print_error(self, line: str) -> None:
        """As `print`, on the standard error as it was at the start."""
        _write(self.log, line)

    def reader(self, tell: Tell, tell_dropped: Callable[[int], None], clock: Clock) -> Reader:
        """What turns the pipe into lines."""
        return Reader(self._reading, self._writing, tell, tell_dropped, clock)


def _write(descriptor: int, line: str) -> None:
    poller = poll()
    poller.register(descriptor, POLLOUT)
    if any(events & POLLOUT for _, events in poller.poll(0)):
        with suppress(OSError):
            os.write(descriptor, f"{harmless(line)}\n".encode())


class Reader:
    """Reads *reading* in a native thread and tells each line, LINES_PER_SECOND at the most.

    What is beyond that, and what is beyond LONGEST_LINE characters of a line, is counted instead: the one
    that writes without pause must fill neither the log nor the time of the others.
    """

    def __init__(
        self, reading: int, writing: int, tell: Tell, tell_dropped: Callable[[int], None], clock: Clock
    ) -> None:
        self._reading = reading
        self._writing = writing
        self._tell = tell
        self._tell_dropped = tell_dropped
        self._clock = clock
        self._end = b"monqbus: end %s\n" % os.urandom(16).hex().encode()  # nobody else can write it
        self._line = b""
        self._second = -1
        self._told = self._dropped = 0
        self._pause: SimpleQueue[None] = SimpleQueue()

    def run(self) -> None:
        """Read until `stop`. Blocks; for a native thread."""
        while piece := os.read(self._reading, READ_BYTES):
            if self._take(piece):
                break
            if len(piece) == READ_BYTES:  # whoever fills the pipe waits for us, and not the other way round
                self._rest()

    def stop(self) -> None:
        """Let `run` come to its end behind all that was written before. Never blocks."""
        os.set_blocking(self._writing, False)
        with suppress(BlockingIOError):  # full: then something is read, and this is the end of a process
            os.write(self._writing, b"\n" + self._end)

    def _rest(self) -> None:
        with suppress(Empty):
            self._pause.get(timeout=PAUSE_SECONDS)

    def _take(self, piece: bytes) -> bool:
        """Tell the lines that end in *piece*; whether it was the last."""
        *lines, self._line = (self._line + piece).split(b"\n")
        if len(self._line) > LONGEST_LINE * 4:
            lines.append(self._line)
            self._line = b""
        for line in lines:
            if line == self._end[:-1]:
                self._count_off()
                return True
            self._offer(line)
        return False

    def _offer(self, line: bytes) -> None:
        if not line.strip():
            return
        second = int(self._clock.monotonic())
        if second != self._second:
            self._count_off()
            self._second, self._told = second, 0
        if self._told >= LINES_PER_SECOND:
            self._dropped += 1
            return
        self._told += 1
        self._tell(line.decode("utf-8", "backslashreplace")[:LONGEST_LINE])

    def _count_off(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._tell_dropped(dropped)


_streams: Streams | None = None


def take_over() -> Streams:
    """The Streams of this process, made at the first call. To be called before anything is forked."""
    global _streams  # noqa: PLW0603 - one process, one pair of standard streams
    _streams = _streams or Streams()
    return _streams


def divert_child() -> None:
    """For a process forked from one that has called `take_over`: what is printed here goes into its log."""
    if _streams is not None:
        _streams.divert_child()


def _own(number: int) -> int:
    """Another number for what *number* is, that no child gets."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # with so few files no daemon runs, but what it says of that has to come out
    least = OWN_NUMBER if most > OWN_NUMBER + 1 else 3
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, least)


def _take_every_text() -> None:
    """What the encoding cannot say is escaped. Before 1 leads elsewhere: a file's wrapper seeks at this."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def open_closed() -> None:
    """Let a standard stream that was closed lead nowhere: else the next file would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
