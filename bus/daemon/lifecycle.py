"""Builds the parts of the daemon, starts them in order, stops them in reverse.

One process, with a greenlet for each loop in the list of services beside the tasks and the connections.
Native threads: the log's two, the watchdog, the timekeeper's for its file, and the embedded store's writer or
the heartbeat of a shared store. The main greenlet watches all of them: one that is late is told and named,
one that has died ends the daemon.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any, Final

import gevent
from gevent.event import Event

from .. import __version__
from ..admin import Admin
from ..api.server import Api, create_api
from ..apps import from_config, registry
from ..clock import Clock
from ..config import Config, Hook
from ..connecting import CONTROL_SOCKET
from ..cpu import zygote
from ..engine import cpu_workers
from ..engine.claimer import Claimer
from ..engine.cpu_runner import CpuRunner
from ..engine.executor import Executor
from ..engine.fork_guard import ForkGuard
from ..engine.health import Health
from ..engine.hub_thread import AnyThread, HubThread
from ..engine.lanes import Lanes
from ..engine.logging_locks import LoggingLocks
from ..engine.loop import Loop
from ..engine.output import Capture
from ..engine.plan import lanes_of
from ..engine.pool import Pool
from ..engine.recorder import Recorder
from ..errors import Drained, Withdrawn
from ..http import ControlSocket, Limits, Server, listen_tcp, open_files, too_few_files
from ..log.refusals import PERIOD_SECONDS
from ..maintenance.heartbeat import Heartbeat
from ..maintenance.listener import Listener
from ..maintenance.pruner import Pruner
from ..maintenance.queue_depth import QueueDepth
from ..maintenance.reconciler import Reconciler
from ..maintenance.rescuer import Rescuer
from ..maintenance.spooler import Spooler
from ..maintenance.store_monitor import StoreMonitor
from ..maintenance.timekeeper import MarkFile, Timekeeper, queue_clock
from ..maintenance.unknown_tasks import UnknownTasks
from ..maintenance.watchdog import Watchdog
from ..model import Instance
from ..posting import PostOffice
from ..process import identity, parent_death, streams
from ..process.systemd import SEND_SECONDS, ServiceManager
from ..retry import Policy
from ..store import Store, make_data_dir, name_resolution, open_spool, open_store
from ..telemetry import emit, listen
from ..webhook.admission import Admission
from ..webhook.app import create_app
from .doors import Door
from .drain import LEAVING_SECONDS, Drain
from .log import Log
from .names import Names
from .readiness import Readiness
from .reload import Reloader
from .reloadable import waiting_for_restart
from .services import LOOK_SECONDS, Service, Services
from .signals import LOOK_SECONDS as BELONGINGS_SECONDS
from .signals import Belongings, Signals

SECOND_SIGNAL_SECONDS: Final = 1.0
HEARING_SECONDS: Final = 0.1
DOORS_SECONDS: Final = 5.0
# how long a native thread that comes back from the disk waits for a busy hub; Python's default is 5 ms
SWITCH_SECONDS: Final = 0.0005


class Daemon:
    """`monqbus run`: lives until it is told to stop. Needs a process that gevent has patched."""

    def __init__(self, config: Config, clock: Clock, names: Names) -> None:
        self.service_manager = ServiceManager(os.environ, clock)  # first: nothing else may see its variables
        self.config = self._started_with = config
        self.clock = clock
        self.names = names
        self.worker = Instance(
            uuid.uuid4().hex, f"monqbus/{socket.gethostname()} pid {os.getpid()}", identity.of_this_process()
        )
        self._claimed_names: frozenset[str] = frozenset()
        self._stop = Event()
        self._hurry = Event()
        self._stop_asked_at: float | None = None
        self._code = 0
        self._services: list[Service] = []
        self._doors: list[Door] = []
        self._undo = ExitStack()  # runs all of them in reverse, also when one fails
        self.reloader = Reloader(config.path, os.environ, self._take_over)

    def run(self) -> int:
        """Start everything, serve until TERM or INT, drain. The exit code; raises MonqbusError."""
        sys.setswitchinterval(SWITCH_SECONDS)
        sys.dont_write_bytecode = True  # nor of what handlers import later; see registry.load
        gevent.get_hub().SYSTEM_ERROR = ()  # sys.exit() in a greenlet that a handler started ends only that
        parent_death.adopt_orphans()  # of commands, so that they are found; and as process 1 they come anyway
        gevent.get_hub().loop.install_sigchld()  # which buries every child, also those nobody waits for
        try:
            self._start()
            self._watch()
            self._drain()
        finally:
            self._undo.close()
        # what apps have registered for the end may wait for threads that never end
        gevent.spawn_later(LEAVING_SECONDS, os._exit, self._code)
        return self._code

    def _watch(self) -> None:
        """Look at the services until somebody asks this daemon to stop, or one of them has died."""
        try:
            while not self._stop.wait(LOOK_SECONDS):
                if self.services.look():
                    self._fail()
        except gevent.GreenletExit as error:  # a handler got hold of the main greenlet
            emit("service.died", service="main greenlet", reason=repr(error))
            self._fail()

    def _fail(self) -> None:
        """Stop with exit code 1: whoever watches this daemon shall start it anew."""
        self._code = 1
        self._ask_to_stop()

    # start, in this order; what is undone at the end stands beside what was done

    def _start(self) -> None:
        self._protect_process()
        self._open_log()
        self._load_apps()
        self._open_store()
        self._build_engine()
        self._bind_doors()
        self._start_farm()
        self._install_signals()  # before anything is claimed: until then a signal may simply end the process
        self._start_engine()
        self._open_doors()
        self._announce()

    def _protect_process(self) -> None:
        """Before the apps are imported, which may do anything that handlers may do."""
        self.hub_thread = HubThread()
        self._undo.callback(self.hub_thread.close)
        for guard in (LoggingLocks(self.clock), ForkGuard(streams.take_over().lead_back)):
            guard.start()
            self._undo.callback(guard.stop)

    def _open_log(self) -> None:
        settings = self.config.monqbus
        self.log = Log(self.clock, level=settings.log_level, log_format=settings.log_format)
        self._begin(self.log)
        self._undo.callback(listen(self.service_manager))

    def _load_apps(self) -> None:
        from_config.load(self.config)
        self._claimed_names = self.names.of(registry.registry().tasks)

    def _open_store(self) -> None:
        folder = self.config.monqbus.data_dir
        make_data_dir(folder)
        self.store = self._new_store(daemon=True)
        name_resolution.install(gevent.get_hub(), self.store.hosts)
        self._undo.callback(self._close_store)
        self._open_spool()
        self.steady = self.clock = queue_clock(self.clock, folder, self.store, self.spool)

    def _open_spool(self) -> None:
        """Open the spool of a shared store, or one that an earlier run has left something in."""
        settings = self.config
        most = settings.http.spool if self.store.shared else 0
        self.spool = open_spool(settings.monqbus.data_dir, most, min_free=settings.monqbus.min_free)
        if self.spool is not None:
            self._undo.callback(self.spool.close)

    def _close_store(self) -> None:
        """Close it; a driver takes seconds to say farewell to servers that are away, and is left to it."""
        if self.store.shared:
            gevent.spawn(self.store.close).join(LEAVING_SECONDS)
        else:
            self.store.close()

    def _new_store(self, *, daemon: bool) -> Store:
        settings = self.config.monqbus
        return open_store(
            settings.store.reveal(), settings.data_dir, daemon=daemon, min_free=settings.min_free
        )

    def _build_engine(self) -> None:
        clock, worker = self.clock, self.worker
        self.recorder = Recorder(self.store, clock)
        self.executor = Executor(registry.registry, self.recorder, clock, self._policy())
        self.executor.default_timeout = self.config.worker.timeout or None
        self.executor.note = partial(self.hub_thread.tell, self.recorder.note)
        self.watchdog = Watchdog(clock, self.log.fact_log.say_now)
        self.heartbeat = Heartbeat(
            lambda: self._new_store(daemon=False),
            worker,
            clock,
            lease_seconds=self.config.worker.lease,
            fence=lambda: self.lanes.interrupt(None, Drained),
            regained=self._look_again,
        )
        self.lanes = Lanes(
            worker, clock, lambda slots: Pool(slots, self.executor.run, clock), self._new_claimer
        )
        self._arrange()
        self.recorder.waiting_again = self.lanes.expect_at
        self.queue_depth = QueueDepth(self.store, clock, self.config.http.max_ready_tasks)
        self.store_monitor = StoreMonitor(self.store, clock)
        self.services = Services(clock, self._records, store=self.store_monitor.loop.health)
        self.spooler = Spooler(self.spool, self.store, clock, self.lanes.expect) if self.spool else None
        self.office = PostOffice(
            self.store,
            registry.registry,
            clock,
            keep_events=timedelta(seconds=self.config.monqbus.keep_events),
            starter=self.lanes,
            spooler=self.spooler if self.spooler is not None and self.spooler.takes else None,
        )
        self.admin = Admin(
            self.store,
            clock,
            keep_failed=timedelta(seconds=self.config.monqbus.keep_failed),
            withdraw=lambda ids: self.lanes.interrupt(ids, Withdrawn),
            wake=self._look_again,
            known=lambda: registry.registry().tasks,
        )

    def _new_claimer(self, pool: Pool, names: Callable[[], frozenset[str]]) -> Claimer:
        return Claimer(
            self.store,
            self.worker,
            pool,
            self.recorder,
            self.clock,
            names=names,
            may_claim=lambda: not self.store.shared or self.heartbeat.is_safe,
        )

    def _arrange(self) -> None:
        known = registry.registry().tasks
        self.lanes.arrange(lanes_of(self.config, known, self._claimed_names))

    def _look_again(self) -> None:
        self.lanes.wake()
        self.store.ring()

    def _policy(self) -> Policy:
        settings = self.config
        return Policy(
            settings.worker.max_attempts,
            timedelta(seconds=settings.monqbus.keep_complete),
            timedelta(seconds=settings.monqbus.keep_failed),
        )

    def _start_farm(self) -> None:
        """Take over the zygote; a process that was started without one runs cpu tasks itself."""
        if (descriptor := zygote.connection()) is not None:
            known = registry.registry().tasks
            worker_pool = cpu_workers.start(descriptor, self.config, known, self._farm_lost)
            self._undo.callback(worker_pool.stop)
            self.executor.cpu_runner = CpuRunner(worker_pool, lambda: self.office, self.clock)

    def _farm_lost(self) -> None:
        """No worker can be forked any more."""
        if cpu_workers.any_cpu(registry.registry().tasks):
            self._fail()

    def _start_engine(self) -> None:
        capture = Capture()
        capture.start()
        self._undo.callback(capture.stop)
        registry.bind(AnyThread(self.office, self.hub_thread))
        self._undo.callback(lambda: registry.bind(None))
        self._begin(self.watchdog)
        wake = self.lanes.wake
        if self.store.shared:
            self._begin(self.heartbeat)
            self._services.append(self.heartbeat.loop)  # it is started and stopped with it
        timekeeper = Timekeeper(self.steady, MarkFile(self.config.monqbus.data_dir))
        self._undo.callback(timekeeper.save)
        self.unknown_tasks = UnknownTasks(self.store, lambda: registry.registry().tasks)
        self._loops = loops = [
            timekeeper.loop,
            self.store_monitor.loop,
            self.recorder.loop,
            Rescuer(self.store, self.worker, self.clock, lambda: self.executor.policy, wake).loop,
            Pruner(self.store, self.clock).loop,
            Reconciler(self.store, self.worker, self.lanes, self.recorder, self.clock).loop,
            self.unknown_tasks.loop,
            self.queue_depth.loop,
            Loop("supervisor", self.service_manager.beat, SEND_SECONDS, self.clock),
            Loop("belongings", Belongings(self.signals, SWITCH_SECONDS).tick, BELONGINGS_SECONDS, self.clock),
            Loop("refusals", self.log.refusals.tick, PERIOD_SECONDS, self.clock),
        ]
        if self.spooler is not None:
            loops.append(self.spooler.store_monitor.loop)
            # handing over may be broken off anywhere: the next start does it again
            self._begin(self.spooler.loop, partial(self.spooler.loop.stop, HEARING_SECONDS))
        for loop in loops:
            self._begin(loop)
        self._undo.callback(listen(self.queue_depth))
        self._undo.callback(listen(self.unknown_tasks))
        self.lanes.start_claiming()
        self._undo.callback(self.lanes.stop)
        if self.store.shared:
            listener = Listener(self.store, wake).loop
            # it listens for seconds at a time; what it would still hear is of no use any more
            self._begin(listener, partial(listener.stop, HEARING_SECONDS))

    def _begin(self, service: Service, stop: Callable[[], None] | None = None) -> None:
        service.start()
        self._services.append(service)
        self._undo.callback(stop or service.stop)

    def _records(self) -> Iterator[Health]:
        """How everything is that works here, in the order of its start."""
        yield from (service.health for service in self._services)
        yield from self.lanes.records
        yield from (door.health for door in self._doors)

    def _bind_doors(self) -> None:
        """Take the addresses before any task begins: a port in use must not cost a task its run."""
        self.control = ControlSocket(self.config.monqbus.data_dir / CONTROL_SOCKET)
        self._undo.callback(self.control.stop)
        self._public_listener = listen_tcp(*self.config.http.listen)
        self._undo.callback(self._public_listener.close)

    def _open_doors(self) -> None:
        """Accept connections, last of all: what comes in can be stored and run."""
        http = self.config.http
        readiness = Readiness(
            self.store_monitor,
            self.spooler,
            self.services,
            self.queue_depth,
            self.watchdog,
            self._stop.is_set,
        )
        api = create_api(Api(self.admin, self.office, registry.registry, self.clock, readiness.describe))
        self.control.serve(api)
        self._undo.callback(self.control.stop)
        app = create_app(
            hooks=lambda: self.hooks,
            publish=readiness.observed(self.office.deliver),
            ready=readiness.complaint,
            remark=readiness.remark,
            clock=self.clock,
            max_body=http.max_body,
            admission=Admission(http.max_inflight, lambda: self.queue_depth.is_full),
        )
        if remedy := too_few_files(http.connections):
            emit("files.limited", most=open_files(), remedy=remedy)
        self.public = Server(self._public_listener, app, Limits.of(http))
        self.public.start()
        self._doors = [
            Door("public listener", lambda: self.public),
            Door("control socket", lambda: self.control.server),
        ]
        self._begin(Loop("doorkeeper", self.control.look, DOORS_SECONDS, self.clock))
        self._begin(self.reloader.loop)

    @property
    def hooks(self) -> Mapping[str, Hook]:
        """The hooks in use now; a reload swaps them."""
        return self.config.hooks

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
                self.log.print(f"try it:  curl -d World {url}")
                break

    # signals

    def _install_signals(self) -> None:
        acts = {
            signal.SIGTERM: self._ask_to_stop,
            signal.SIGINT: self._ask_to_stop,
            signal.SIGHUP: self.reloader.ask,
            signal.SIGUSR1: self.describe,
        }
        self.signals = Signals(acts)
        self.signals.start()
        self._undo.callback(self.signals.stop)

    def _ask_to_stop(self) -> None:
        """Drain; a second signal stops at once. Within a second it is the same one, sent twice."""
        now = self.clock.monotonic()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
            self._stop.set()
        elif now - self._stop_asked_at > SECOND_SIGNAL_SECONDS:
            self._hurry.set()
            self.lanes.interrupt(None, Drained)

    def _take_over(self, config: Config) -> None:
        """Use what the reloader has read; running tasks go on with the code they began with."""
        known = registry.registry()
        later = ",".join(waiting_for_restart(self._started_with, config))
        self.config = config
        self.executor.policy = self._policy()
        self.admin.keep_failed = self.executor.policy.keep_failed
        self.executor.default_timeout = config.worker.timeout or None
        self._claimed_names = self.names.of(known.tasks)
        self.signals.look()  # the apps have just been imported
        if self.executor.cpu_runner is not None:
            cpu_workers.renew(self.executor.cpu_runner.worker_pool, config, known.tasks)
        self._arrange()
        self.lanes.wake()
        self.unknown_tasks.loop.wake()
        needs = {"needs_restart": later} if later else {}
        emit("config.reloaded", tasks=len(known.tasks), hooks=len(config.hooks), **needs)

    def describe(self) -> None:
        """Log what every slot is doing (USR1)."""
        now = self.clock.monotonic()
        runs = self.lanes.running
        emit("slots.described", taken=len(runs), size=self.lanes.size, unrecorded=self.recorder.depth)
        for run in runs:
            emit("slot.described", task=run.task, seconds=now - run.started)

    def _drain(self) -> None:
        self.reloader.loop.stop(0)
        drain = Drain(
            self.lanes,
            self.recorder,
            self._loops,
            self.store,
            self.clock,
            hurry=self._hurry,
            close_doors=partial(self.public.stop, hurry=self._hurry),
        )
        drain.run(self.config.worker.drain)
        if not self.store.shared and (complaint := self.store_monitor.complaint):
            # the last word of the log: what deleted files hold ends with this process
            emit("store.failed", doing="closing", error=complaint)


def _printed(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
