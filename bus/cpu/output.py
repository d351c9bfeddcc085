"""Sends what a handler prints and logs in a worker to the daemon.

Everything this process writes through Python during a run is followed, the words of threads that the
run has started too. What a thread prints after its run goes straight into the log.
"""

from __future__ import annotations

import logging
import sys
from typing import Final, TextIO

from ..errors import NotBound
from ..process import root_logger
from ..process.text_stream import StandardStream
from ..safe_text import without_surrogates
from .daemon_client import DaemonClient

LONGEST_FRAME: Final = 256 * 1024
LONGEST_LINE: Final = 4 * 1024


class OutputStream(StandardStream):
    """A text stream that sends lines to the daemon during a run, and to *plain* otherwise."""

    def __init__(self, plain: TextIO, daemon_client: DaemonClient) -> None:
        super().__init__(getattr(plain, "name", ""))
        self._plain = plain
        self._daemon_client = daemon_client
        self._line = ""
        self.is_on = False

    def write(self, text: str) -> int:
        """Take *text*; it is on its way when its line is over. Raises TypeError for anything but text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not self._is_followed():
            return self._plain.write(text)
        self._line += text
        if "\n" in text or len(self._line) > LONGEST_LINE:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what has gathered."""
        if not self._is_followed():
            self._plain.flush()
            return
        said, self._line = self._line, ""
        said = without_surrogates(said)
        try:
            for start in range(0, len(said), LONGEST_FRAME):
                self._daemon_client.tell(printed=said[start : start + LONGEST_FRAME])
        except NotBound:  # it has just outlived its run, or is a child
            self._plain.write(said)

    def _is_followed(self) -> bool:
        return self.is_on and self._daemon_client.is_for_me()

    def fileno(self) -> int:
        """The plain stream's: children of a task write there."""
        return self._plain.fileno()


class LogSender(logging.Handler):
    """Sends log records the way that printed text goes, as a daemon's own handlers' records are kept."""

    def __init__(self, speech: OutputStream) -> None:
        super().__init__()
        self._speech = speech
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._speech.write(self.format(record) + "\n")


class OutputSender:
    """The streams of this process, and with *logs* the records of its log."""

    def __init__(self, daemon_client: DaemonClient, *, logs: bool) -> None:
        self._out, self._err = (
            OutputStream(sys.stdout, daemon_client),
            OutputStream(sys.stderr, daemon_client),
        )
        sys.stdout, sys.stderr = self._out, self._err
        if logs:
            root_logger.attach(LogSender(self._err))

    def open(self) -> None:
        """Send what is said from now on to the daemon."""
        self._out.is_on = self._err.is_on = True

    def close(self) -> None:
        """Send what has gathered, and nothing more."""
        for speech in (self._out, self._err):
            speech.flush()
            speech.is_on = False
