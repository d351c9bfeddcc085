"""The process of a daemon and its store, on which all other parts stand; each is made when asked for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import gevent

from ..clock import Clock
from ..config import Config
from ..engine.fork_guard import ForkGuard
from ..engine.health import Health
from ..engine.hub_thread import HubThread
from ..engine.logging_locks import LoggingLocks
from ..engine.output import Capture
from ..maintenance.timekeeper import queue_clock
from ..maintenance.watchdog import Watchdog
from ..metrics import Counts, timed
from ..process import streams
from ..process.systemd import ServiceManager
from ..steady_clock import SteadyClock
from ..store import Store, make_data_dir, open_spool, open_store
from .gauges import counts_for
from .log import Log
from .names import Names
from .reload import Reloader
from .signals import Signals

if TYPE_CHECKING:
    from ..store import Spool

CLOSE_SECONDS: Final = 1.0
WAITING_SHARE: Final = 4
"""Every so many-th connection at most waits for the ends of tasks."""
ADMIN_CONNECTIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Control:
    """What parts ask of their daemon. None of it blocks, but *take_over*.

    *stop* asks it to drain, *fail* to do so with exit code 1; *describe* logs what runs; *take_over* is
    called with a new configuration whose apps are imported.
    """

    stop: Callable[[], None]
    fail: Callable[[], None]
    is_stopping: Callable[[], bool]
    describe: Callable[[], None]
    take_over: Callable[[Config], None]


class ProcessParts:
    """The process, the store, its clock. `config` is the present one: a reload replaces it."""

    def __init__(self, config: Config, clock: Clock, names: Names, control: Control) -> None:
        self.service_manager = ServiceManager(os.environ, clock)  # first: nothing else may see its variables
        self.reloader = Reloader(config.path, os.environ, control.take_over)
        self.config = config
        self.control = control
        self.machine_clock = clock
        self.names = names
        self.records: Callable[[], Iterable[Health]] = tuple
        """Gives the records of all that is started; set before `services` is asked for."""

    # the process

    @cached_property
    def hub_thread(self) -> HubThread:
        """Takes calls of native threads."""
        return HubThread()

    @cached_property
    def logging_locks(self) -> LoggingLocks:
        """Locks of `logging` for greenlets and native threads."""
        return LoggingLocks(self.machine_clock)

    @cached_property
    def fork_guard(self) -> ForkGuard:
        """Refuses calls that would end or double this process."""
        return ForkGuard(streams.take_over().lead_back)

    @cached_property
    def log(self) -> Log:
        """The log on standard error."""
        settings = self.config.monqbus
        return Log(
            self.machine_clock,
            level=settings.log_level,
            log_format=settings.log_format,
            records=settings.capture_logging,
        )

    @cached_property
    def capture(self) -> Capture:
        """Keeps what tasks print and log with them."""
        return Capture(logs=self.config.monqbus.capture_logging)

    @cached_property
    def signals(self) -> Signals:
        """What TERM, INT, HUP and USR1 do."""
        return Signals(
            {
                signal.SIGTERM: self.control.stop,
                signal.SIGINT: self.control.stop,
                signal.SIGHUP: self.reloader.ask,
                signal.SIGUSR1: self.control.describe,
            }
        )

    @cached_property
    def watchdog(self) -> Watchdog:
        """Watches the hub of the thread that asks for it first."""
        return Watchdog(self.clock, self.log.fact_log.say_now)

    @cached_property
    def counts(self) -> Counts | None:
        """What metrics count; None where nobody can ask for them."""
        return counts_for(lambda: self.config)

    # the store; each of these is asked for the first time by its own line in the list of services

    @cached_property
    def store(self) -> Store:
        """The opened store. Raises ConfigError, StoreError."""
        make_data_dir(self.config.monqbus.data_dir)
        store = self._open_store(daemon=True)
        return store if self.counts is None else timed(store, self.counts)

    @cached_property
    def spool(self) -> Spool | None:
        """The opened spool of a shared store, or one that an earlier run has left something in."""
        settings = self.config
        most = settings.http.spool if self.store.shared else 0
        return open_spool(settings.monqbus.data_dir, most, min_free=settings.monqbus.min_free)

    @cached_property
    def clock(self) -> SteadyClock:
        """The queue's time. Asks the store when the machine's clock was set back; raises StoreError."""
        return queue_clock(self.machine_clock, self.config.monqbus.data_dir, self.store, self.spool)

    def _open_store(self, *, daemon: bool) -> Store:
        settings = self.config.monqbus
        return open_store(
            settings.store.reveal(), settings.data_dir, daemon=daemon, min_free=settings.min_free
        )

    def close_store(self) -> None:
        """Close it; close() can block for seconds while servers are unreachable, and is not waited for."""
        if self.store.shared:
            gevent.spawn(self.store.close).join(CLOSE_SECONDS)
        else:
            self.store.close()
