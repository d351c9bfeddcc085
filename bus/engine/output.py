"""Captures what a task prints and logs, and keeps it with the task.

``sys.stdout`` and ``sys.stderr`` of the daemon become routers: what a running task's greenlet
writes goes into its Output and is told line by line as the fact `task.printed`, up to a limit;
everything else passes through. Greenlets and threads that a handler starts itself are not followed.
"""

from __future__ import annotations

import codecs
import logging
import sys
from contextvars import ContextVar
from functools import cached_property
from typing import TextIO

from ..model import MonQTask
from ..process import root_logger
from ..process.text_stream import StandardStream
from ..safe_text import without_surrogates
from ..telemetry import emit

OUTPUT_LIMIT = 64 * 1024
LINE_LIMIT = 2000
TOLD_LINES = 1000
HUSHED = "… what comes now is not told; the first and the last 32 Ki characters are kept with the task"

current: ContextVar[Output | None] = ContextVar("monqbus_output", default=None)


class Output:
    """What one run printed: the first and the last half of OUTPUT_LIMIT characters.

    Told are TOLD_LINES lines and OUTPUT_LIMIT characters at most, then one line that says so: a run
    that prints without pause would fill the log, and the memory before the hub turns.
    """

    def __init__(self, task: MonQTask) -> None:
        self._task = task
        self._head: list[str] = []
        self._tail = ""
        self._size = 0
        self._left_out = 0
        self._line = ""
        self._told_lines = self._told_characters = 0
        self._is_hushed = False

    @cached_property
    def decoder(self) -> codecs.IncrementalDecoder:
        """For bytes that are written to a stream's `buffer`; few tasks do that."""
        return codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def write(self, text: str) -> None:
        """Keep *text* and tell its finished lines."""
        room = OUTPUT_LIMIT // 2 - self._size
        if room > 0:
            self._head.append(text[:room])
            self._size += len(text[:room])
            text_beyond = text[room:]
        else:
            text_beyond = text
        if text_beyond:
            self._tail += text_beyond
            if len(self._tail) > OUTPUT_LIMIT:  # cut rarely, not at every write
                self._cut_tail()
        self._tell(text)

    def _cut_tail(self) -> None:
        excess = len(self._tail) - OUTPUT_LIMIT // 2
        if excess > 0:
            self._left_out += excess
            self._tail = self._tail[excess:]

    def _tell(self, text: str) -> None:
        if self._is_hushed:
            return
        *lines, self._line = (self._line + text).split("\n")
        if len(self._line) > LINE_LIMIT:
            lines.append(self._line)
            self._line = ""
        for line in lines:
            if self._told_lines >= TOLD_LINES or self._told_characters >= OUTPUT_LIMIT:
                self._hush()
                return
            self._told_lines += 1
            self._told_characters += len(line[:LINE_LIMIT])
            emit("task.printed", task=self._task, line=line[:LINE_LIMIT])

    def _hush(self) -> None:
        self._is_hushed, self._line = True, ""
        emit("task.printed", task=self._task, line=HUSHED)

    def text(self) -> str | None:
        """Everything kept, None when nothing was printed. Tells a last line without line end."""
        if not self._head:
            return None
        if self._line:
            self._tell("\n")
        self._cut_tail()
        middle = f"\n… {self._left_out} characters left out …\n" if self._left_out else ""
        whole = "".join(self._head) + middle + self._tail
        return without_surrogates(whole).replace("\x00", "\\x00")


class Router(StandardStream):
    """A text stream that hands what a task writes to the task, everything else to *plain*."""

    def __init__(self, plain: TextIO) -> None:
        super().__init__(getattr(plain, "name", ""))
        self.plain = plain

    def write(self, text: str) -> int:
        """Write *text* where it belongs. Raises TypeError for anything but text, as a real stream does."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        output = current.get()
        if output is None:
            return self.plain.write(text)
        output.write(text)
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write *data* where it belongs; each task has its own character that is cut in two."""
        output = current.get()
        if output is not None:
            output.write(output.decoder.decode(data))
        else:
            super().write_bytes(data)

    def flush(self) -> None:
        """Flush the plain stream; what goes to a task is never buffered."""
        self.plain.flush()

    def isatty(self) -> bool:
        """As the plain stream outside of tasks."""
        return current.get() is None and self.plain.isatty()

    def fileno(self) -> int:
        """The plain stream's: children of a task write there."""
        return self.plain.fileno()


class TaskLogHandler(logging.Handler):
    """Keeps log records of running tasks with their task; others are left to other handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record to the output of the running task, if there is one."""
        if (output := current.get()) is not None:
            output.write(self.format(record) + "\n")


class Capture:
    """Switches the capturing of this process on and off; with *logs* of log records, too."""

    def __init__(self, *, logs: bool = True) -> None:
        self._logs = logs
        self._handler = TaskLogHandler()
        self._plain = (sys.stdout, sys.stderr)

    def start(self) -> None:
        """Replace the streams, and listen to the root logger."""
        self._plain = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = Router(sys.stdout), Router(sys.stderr)
        self.attach()

    def attach(self) -> None:
        """Take log records again, when an app has taken all handlers from the root logger."""
        if self._logs:
            root_logger.attach(self._handler)

    def stop(self) -> None:
        """Restore the streams and the root logger."""
        sys.stdout, sys.stderr = self._plain
        root_logger.detach(self._handler)
