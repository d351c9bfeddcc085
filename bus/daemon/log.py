"""Sets up the daemon's log: facts, records of libraries, and everything that is printed."""

from __future__ import annotations

import faulthandler
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from ..clock import Clock
from ..engine.health import Health
from ..engine.output import current
from ..log.fact_log import FactLog, RecordHandler
from ..log.refusals import Refusals
from ..log.writer import LogWriter
from ..process import root_logger, streams
from ..process.native_threads import let_end
from ..telemetry import listen

WAIT_SECONDS: Final = 1.0


class Log:
    """The journal on standard error, with the two native threads that keep the hub out of it.

    From `start` to `stop`, descriptors 1 and 2 lead into the log; *level* is a word of logging's,
    *log_format* ``text`` or ``json``. With *records* those of `logging` are lines as well.
    """

    def __init__(self, clock: Clock, *, level: str, log_format: str, records: bool = True) -> None:
        self._streams = streams.take_over()
        self._level = level
        self._writer = LogWriter(
            self._streams.log, lambda count: self.fact_log.line("log.dropped", {"count": count})
        )
        self.fact_log = FactLog(
            self._writer,
            clock,
            level=level,
            log_format=log_format,
            later=gevent.get_hub().loop.run_callback,
        )
        self._reader = self._streams.reader(
            lambda line: self.fact_log.say_now("output.printed", {"line": line}),
            lambda count: self.fact_log.say_now("output.dropped", {"count": count}),
            clock,
        )
        self._records = RecordHandler(self.fact_log) if records else None
        if self._records is not None:
            self._records.addFilter(lambda _: current.get() is None)  # a task's are told as task.printed
        self.refusals = Refusals(self.fact_log)
        self.health = Health("log", clock=clock)
        self._undo = ExitStack()
        self._is_started = self._is_stopping = False

    def start(self) -> None:
        """From now on."""
        self._is_started = True
        self._run(self._writer.run, self._writer.end)
        self._undo.callback(self.fact_log.flush)
        self._run(self._reader.run, self._reader.stop)
        self._streams.divert()
        self._undo.callback(self._streams.restore)
        faulthandler.enable(self._streams.log)  # a process that dies so cannot read its pipe any more
        self._undo.callback(listen(self.refusals, self.fact_log.threshold))
        self._undo.callback(self.refusals.tick)  # what it has kept to itself until now
        if self._records is not None:
            logging.getLogger().setLevel(self._level.upper())
            self._undo.callback(root_logger.detach, self._records)
        self.attach()

    def stop(self) -> None:
        """Everything as it was; blocks until the last line is out, at most WAIT_SECONDS for each thread."""
        self._is_stopping = True
        self._undo.close()

    def attach(self) -> None:
        """Follow log records again, when an app has taken all handlers from the root logger."""
        if self._records is not None:
            root_logger.attach(self._records)

    @property
    def is_open(self) -> bool:
        """Whether facts become lines now."""
        return self._is_started and not self._is_stopping

    def print(self, line: str) -> None:
        """Print *line* on the standard output as it was at the start: not a line of the log."""
        self._streams.print(line)

    def print_error(self, line: str) -> None:
        """Print *line* past the log, on the standard error as it was at the start."""
        self._streams.print_error(line)

    def _run(self, run: Callable[[], None], end: Callable[[], None]) -> None:
        """Let *run* work in a native thread; *end* asks it to stop, which it may never do."""
        thread = ThreadPool(1)
        running = thread.spawn(run)
        running.rawlink(self._ended)

        def stop() -> None:
            end()
            running.wait(WAIT_SECONDS)
            let_end(thread)

        self._undo.callback(stop)

    def _ended(self, thread: AsyncResult) -> None:
        if not self._is_stopping:  # without its reader whoever prints would wait for ever
            self.health.die(thread.exception or "its thread has ended")
