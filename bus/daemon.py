"""The assembly: builds every room's residents, starts them in order, stops them in reverse.

One process, with these greenlets beside the tasks and the connections: claimer, recorder, rescuer,
pruner, lookout, and on a shared store listener and fence. Native threads: the embedded store's writer, or
the heartbeat of a shared store.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import gevent
from gevent.event import Event

from . import __version__, registry
from .api import Api, create_api
from .clock import Clock
from .config import Config, Hook, load
from .config.table import GROUPS, rows
from .desk import Desk
from .engine.capture import Capture, current
from .engine.claimer import Claimer
from .engine.executor import Executor
from .engine.heartbeat import Heartbeat
from .engine.listener import Listener
from .engine.lookout import Lookout
from .engine.pool import Pool
from .engine.pruner import Pruner
from .engine.recorder import Recorder
from .engine.rescuer import Rescuer
from .errors import ConfigError, Drained, MonqbusError, StoreError, Withdrawn
from .http import Limits, Server, listen_tcp, listen_unix
from .journal import Journal, JournalHandler
from .model import Report, Worker
from .posting import PostOffice
from .retry import Policy
from .store import Store, open_store
from .telemetry import counted, emit, listen
from .webhook.receive import create_app

SECOND_SIGNAL_SECONDS: Final = 1.0
RECORD_SECONDS: Final = 5.0
HEARING_SECONDS: Final = 0.1
# how long a native thread that comes back from the disk waits for a busy hub; Python's default is 5 ms
SWITCH_SECONDS: Final = 0.0005
CONTROL_SOCKET: Final = "control.sock"
RELOADED: Final = frozenset(
    {"apps", "path", "keep_complete", "keep_failed", "max_attempts", "timeout", "drain"}
)
"""What HUP takes over beside the hooks; everything else is said to need a restart."""


@dataclass(frozen=True, slots=True)
class Names:
    """Which of the registered tasks this daemon claims: ``--only`` and ``--except``."""

    only: tuple[str, ...] = ("*",)
    but: tuple[str, ...] = ()

    def of(self, known: Mapping[str, Any]) -> frozenset[str]:
        """Those names of *known* that this daemon claims."""
        return frozenset(
            name
            for name in known
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.only)
            and not any(fnmatch.fnmatchcase(name, pattern) for pattern in self.but)
        )


class Daemon:
    """`monqbus run`: lives until it is told to stop. Needs a process that gevent has patched."""

    def __init__(self, config: Config, clock: Clock, names: Names) -> None:
        self.config = config
        self.clock = clock
        self.names = names
        self.worker = Worker(uuid.uuid4().hex, f"monqbus/{socket.gethostname()} pid {os.getpid()}")
        self._claimed_names: frozenset[str] = frozenset()
        self._stop = Event()
        self._stop_asked_at: float | None = None
        self._undo: list[Callable[[], Any]] = []

    def run(self) -> int:
        """Start everything, serve until TERM or INT, drain. The exit code; raises MonqbusError."""
        sys.setswitchinterval(SWITCH_SECONDS)
        gevent.get_hub().SYSTEM_ERROR = ()  # sys.exit() in a greenlet that a handler started ends only that
        try:
            self._start()
            self._stop.wait()
            self._drain()
        finally:
            while self._undo:
                self._undo.pop()()
        return 0

    # start, in this order; what is undone at the end stands beside what was done

    def _start(self) -> None:
        self._open_journal()
        self._load_apps()
        self._open_store()
        self._build_engine()
        self._bind_doors()
        self._start_engine()
        self._open_doors()
        self._install_signals()
        self._announce()

    def _open_journal(self) -> None:
        settings = self.config.monqbus
        hub = gevent.get_hub()
        self.journal = Journal(
            sys.stderr,
            self.clock,
            level=settings.log_level,
            log_format=settings.log_format,
            later=hub.loop.run_callback,
        )
        self._undo += [self.journal.flush, listen(self.journal)]
        root = logging.getLogger()
        handler = JournalHandler(self.journal)
        handler.addFilter(lambda _: current.get() is None)  # a task's records are told as task.printed
        root.addHandler(handler)
        root.setLevel(settings.log_level.upper())
        self._undo.append(lambda: root.removeHandler(handler))

    def _load_apps(self) -> None:
        settings = self.config.monqbus
        registry.load(settings.apps, settings.path)
        self._claimed_names = self.names.of(registry.registry().tasks)

    def _open_store(self) -> None:
        folder = self.config.monqbus.data_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"[monqbus] data_dir: cannot make {folder}: {error.strerror}; choose a folder of this user"
            ) from error
        self.store = self._new_store(daemon=True)
        self._undo.append(self.store.close)

    def _new_store(self, *, daemon: bool) -> Store:
        settings = self.config.monqbus
        return open_store(settings.store.reveal(), settings.data_dir, daemon=daemon)

    def _build_engine(self) -> None:
        clock, worker = self.clock, self.worker
        self.recorder = Recorder(self.store, clock)
        self.executor = Executor(registry.registry, self.recorder, clock, self._policy())
        self.executor.default_timeout = self.config.worker.timeout or None
        self.pool = Pool(self.config.worker.greenlets, self.executor.run, clock)
        self.heartbeat = Heartbeat(
            lambda: self._new_store(daemon=False),
            worker,
            clock,
            lease_seconds=self.config.worker.lease,
            fence=lambda: self.pool.interrupt(None, Drained),
        )
        self.claimer = Claimer(
            self.store,
            worker,
            self.pool,
            self.recorder,
            clock,
            names=lambda: self._claimed_names,
            may_claim=lambda: not self.store.shared or self.heartbeat.is_safe,
        )
        self.office = PostOffice(
            self.store,
            registry.registry,
            clock,
            keep_events=timedelta(seconds=self.config.monqbus.keep_events),
            starter=self.claimer,
        )
        self.desk = Desk(
            self.store,
            clock,
            keep_failed=timedelta(seconds=self.config.monqbus.keep_failed),
            withdraw=lambda ids: self.pool.interrupt(ids, Withdrawn),
            wake=self._look_again,
        )

    def _look_again(self) -> None:
        self.claimer.loop.wake()
        self.store.ring()

    def _policy(self) -> Policy:
        settings = self.config
        return Policy(
            settings.worker.max_attempts,
            timedelta(seconds=settings.monqbus.keep_complete),
            timedelta(seconds=settings.monqbus.keep_failed),
        )

    def _start_engine(self) -> None:
        capture = Capture()
        capture.start()
        self._undo.append(capture.stop)
        registry.bind(self.office)
        self._undo.append(lambda: registry.bind(None))
        wake = self.claimer.loop.wake
        if self.store.shared:
            self.heartbeat.start()
            self._undo.append(self.heartbeat.stop)
        loops = [
            self.recorder.loop,
            Rescuer(self.store, self.worker, self.clock, lambda: self.executor.policy, wake).loop,
            Pruner(self.store, self.clock).loop,
            Lookout(self.store, lambda: registry.registry().tasks).loop,
            self.claimer.loop,
        ]
        for loop in loops:
            loop.start()
            self._undo.append(loop.stop)
        if self.store.shared:
            listener = Listener(self.store, wake).loop
            listener.start()
            # it listens for seconds at a time; what it would still hear is of no use any more
            self._undo.append(lambda: listener.stop(HEARING_SECONDS))

    def _bind_doors(self) -> None:
        """Take the addresses before any task begins: a port in use must not cost a task its run."""
        self._control_listener = listen_unix(self.config.monqbus.data_dir / CONTROL_SOCKET)
        self._undo.append(self._control_listener.close)
        self._public_listener = listen_tcp(*self.config.http.listen)
        self._undo.append(self._public_listener.close)

    def _open_doors(self) -> None:
        """Accept connections, last of all: what comes in can be stored and run."""
        http = self.config.http
        limits = Limits(
            connections=http.connections,
            header_seconds=http.header_timeout,
            body_seconds=http.body_timeout,
            idle_seconds=http.idle_timeout,
        )
        api = create_api(Api(self.desk, self.office, registry.registry, self.clock))
        self.control = Server(self._control_listener, api)
        self.control.start()
        self._undo.append(self.control.stop)
        app = create_app(
            hooks=lambda: self.hooks,
            publish=self.office.deliver,
            ready=self.not_ready,
            clock=self.clock,
            max_body=http.max_body,
        )
        self.public = Server(self._public_listener, app, limits)
        self.public.start()

    @property
    def hooks(self) -> Mapping[str, Hook]:
        """The hooks in use now; a reload swaps them."""
        return self.config.hooks

    def not_ready(self) -> str | None:
        """Why `/readyz` says no: a sentence, or None when all is well. Asks the store."""
        if self._stop.is_set():
            return "draining: this daemon is stopping"
        try:
            self.store.ping()
        except StoreError as error:
            return f"store: {error}"
        return None

    def _announce(self) -> None:
        known = registry.registry()
        emit(
            "daemon.started",
            version=__version__,
            listen=f"http://{_printed(self.public.address)}",
            store=self.config.monqbus.store,
            tasks=len(known.tasks),
            topics=len(known.topics),
            hooks=len(self.hooks),
            pid=os.getpid(),
        )
        for hook in self.hooks.values():
            if hook.verify == "none":
                url = f"http://{_printed(self.public.address)}/hooks/{hook.name}"
                print(f"try it:  curl -d World {url}", flush=True)  # noqa: T201 - a line to paste
                break

    # signals

    def _install_signals(self) -> None:
        for number, act in (
            (signal.SIGTERM, self._ask_to_stop),
            (signal.SIGINT, self._ask_to_stop),
            (signal.SIGHUP, self.reload),
            (signal.SIGUSR1, self.describe),
        ):
            watcher = gevent.signal_handler(number, act)
            self._undo.append(watcher.cancel)

    def _ask_to_stop(self) -> None:
        """Drain; a second signal stops at once. Within a second it is the same one, sent twice."""
        now = self.clock.monotonic()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
            self._stop.set()
        elif now - self._stop_asked_at > SECOND_SIGNAL_SECONDS:
            self.pool.interrupt(None, Drained)

    def reload(self) -> None:
        """Read config and apps again; when either is bad, everything stays as it was."""
        try:
            config = load(self.config.path, os.environ)
            fresh = registry.load(config.monqbus.apps, config.monqbus.path, afresh=True)
        except MonqbusError as error:
            emit("config.refused", error=error)
            return
        later = ",".join(_waiting_for_restart(self.config, config))
        self.config = config
        self.executor.policy = self._policy()
        self.desk.keep_failed = self.executor.policy.keep_failed
        self.executor.default_timeout = config.worker.timeout or None
        self._claimed_names = self.names.of(fresh.tasks)
        self.claimer.loop.wake()
        emit("config.reloaded", tasks=len(fresh.tasks), hooks=len(config.hooks), needs_restart=later)

    def describe(self) -> None:
        """Log what every slot is doing (USR1)."""
        now = self.clock.monotonic()
        runs = list(self.pool.running.values())
        emit("slots.described", taken=len(runs), size=self.pool.size, unrecorded=self.recorder.depth)
        for run in runs:
            emit("slot.described", task=run.task, seconds=now - run.started)

    # stop

    def _drain(self) -> None:
        """Doors, claimer, running tasks until the deadline while the lease lives on, then the ends."""
        running, released = len(self.pool.running), counted["task.released"]
        seconds = self.config.worker.drain
        emit("daemon.draining", running=running, seconds_left=seconds, hint="a second signal stops at once")
        self.claimer.is_stopping = True
        deadline = self.clock.monotonic() + seconds
        self.public.stop(min(seconds, 5.0))
        self.pool.drain(max(0.0, deadline - self.clock.monotonic()))
        self.pool.interrupt(None, Drained)
        self.pool.drain(1.0)
        self.recorder.drain(RECORD_SECONDS)
        released = counted["task.released"] - released + self._give_back_the_stubborn()
        emit("daemon.stopped", finished=running - released, released=released)

    def _give_back_the_stubborn(self) -> int:
        """Release tasks whose handlers swallow every interrupt: they must not wait for a lease to end."""
        reports = [
            Report(run.task.claim, {"state": "ready", "worker": None, "attempt": run.task.attempt - 1})
            for run in self.pool.running.values()
        ]
        return sum(self.store.report(reports)) if reports else 0


def _waiting_for_restart(old: Config, new: Config) -> list[str]:
    """The settings whose change a reload does not take over."""
    return [
        f"{section}.{row.key}"
        for section, group in GROUPS.items()
        for row in rows(group)
        if row.attribute not in RELOADED
        and getattr(getattr(old, section), row.attribute) != getattr(getattr(new, section), row.attribute)
    ]


def _printed(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
