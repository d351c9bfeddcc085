"""Builds what works on the queue: the path of a task, and the loops that keep its store in order.

Each part is made when it is first asked for, which starts nothing.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cached_property, partial

import gevent

from ..admin import Admin
from ..apps import from_config, registry
from ..apps.command_program import faults_of
from ..apps.hook_handlers import names_of, own_names_of
from ..cpu import zygote
from ..engine.claimer import Claimer
from ..engine.coalescing import Coalescing
from ..engine.cpu_runner import CpuRunner, any_cpu, start_pool
from ..engine.executor import Executor
from ..engine.lanes import Lane, Lanes, lanes_of
from ..engine.pool import Pool
from ..engine.recorder import Recorder
from ..errors import Drained, Withdrawn
from ..http import Queue
from ..maintenance.breakers import Breakers
from ..maintenance.certificate_monitor import CertificateMonitor
from ..maintenance.feed_listener import Listener
from ..maintenance.heartbeat import Heartbeat
from ..maintenance.inbox_collector import Collector
from ..maintenance.late_starts import LateStarts
from ..maintenance.pause_monitor import PauseMonitor
from ..maintenance.program_monitor import ProgramMonitor
from ..maintenance.pruner import Pruner
from ..maintenance.queue_depth import QueueDepth
from ..maintenance.reconciler import Reconciler
from ..maintenance.rescuer import Rescuer
from ..maintenance.scheduler import Scheduler
from ..maintenance.spooler import Spooler
from ..maintenance.store_monitor import StoreMonitor
from ..maintenance.timekeeper import MarkFile, Timekeeper
from ..maintenance.unknown_tasks import UnknownTasks
from ..model import Instance
from ..operations import Operations
from ..posting import PostOffice
from ..process import identity
from ..retry import Policy
from .access_parts import AccessParts
from .process_parts import ProcessParts
from .readiness import Readiness
from .services import Services


class QueueParts(ProcessParts):
    """What takes tasks from the store and runs them, what keeps the store in order, what operators ask."""

    # the path of a task

    def load_apps(self) -> None:
        """Import the apps, and declare the commands. Blocks as long as they do; raises ConfigError."""
        from_config.load(self.config)
        self.log.attach()

    @property
    def policy(self) -> Policy:
        """What the present configuration says about attempts and retention."""
        settings = self.config
        return Policy(
            settings.worker.max_attempts,
            timedelta(seconds=settings.monqbus.keep_complete),
            timedelta(seconds=settings.monqbus.keep_failed),
        )

    @property
    def plan(self) -> Mapping[str, Lane]:
        """The lanes that there should be now."""
        known = registry.registry().tasks
        return lanes_of(self.config, known, self.names.of(known))

    @cached_property
    def instance(self) -> Instance:
        """This daemon, as the store knows it."""
        title = f"monqbus/{socket.gethostname()} pid {os.getpid()}"
        return Instance(uuid.uuid4().hex, title, identity.of_this_process())

    @cached_property
    def recorder(self) -> Recorder:
        """Records the ends of runs."""

        def waiting_again(moments: list[tuple[str, datetime]]) -> None:
            self.lanes.expect_at(moments)

        recorder = Recorder(self.store, self.clock)
        recorder.waiting_again = waiting_again
        recorder.keep_failed = self.policy.keep_failed
        return recorder

    @cached_property
    def executor(self) -> Executor:
        """Executes runs."""
        executor = Executor(registry.registry, self.recorder, self.clock, self.policy)
        executor.default_timeout = self.config.worker.timeout or None
        executor.coalescing = Coalescing(
            self.store, self.clock, lambda: self.policy.keep_failed, lambda: self.config.hooks
        )
        executor.note = partial(self.hub_thread.tell, self.recorder.note)
        was_paused = self.pause_monitor.was_task_paused
        late_starts = LateStarts(registry.registry, self.clock, lambda: self.lanes, was_paused)
        executor.scheduled = late_starts.note
        return executor

    @cached_property
    def lanes(self) -> Lanes:
        """The slots of this daemon, arranged as `plan` says."""

        def new_pool(slots: int) -> Pool:
            return Pool(slots, self.executor.run, self.clock)

        lanes = Lanes(self.instance, self.clock, new_pool, self._new_claimer)
        lanes.arrange(self.plan)
        self.recorder.is_limited = lanes.is_limited
        return lanes

    def _new_claimer(self, pool: Pool, names: Callable[[], frozenset[str]]) -> Claimer:
        return Claimer(
            self.store,
            self.instance,
            pool,
            self.recorder,
            self.clock,
            names=names,
            may_claim=lambda: not self.store.shared or self.heartbeat.is_safe,
        )

    def start_cpu_workers(self) -> None:
        """Take over the zygote; a process that was started without one runs cpu tasks itself."""
        if (descriptor := zygote.connection()) is not None:
            known = registry.registry().tasks
            pool = start_pool(descriptor, self.config, known, self._cpu_workers_lost)
            self.executor.cpu_runner = CpuRunner(pool, lambda: self.office, self.clock)

    def stop_cpu_workers(self) -> None:
        """End the workers; blocks for a moment."""
        if self.executor.cpu_runner is not None:
            self.executor.cpu_runner.worker_pool.stop()

    def _cpu_workers_lost(self) -> None:
        """No worker can be forked any more."""
        if any_cpu(registry.registry().tasks):
            self.control.fail()

    # maintenance

    @cached_property
    def heartbeat(self) -> Heartbeat:
        """Renews the lease; for a shared store only."""
        return Heartbeat(
            lambda: self._open_store(daemon=False),
            self.instance,
            self.clock,
            lease_seconds=self.config.worker.lease,
            fence=lambda: self.lanes.interrupt(None, Drained),
            regained=self._look_again,
        )

    @cached_property
    def timekeeper(self) -> Timekeeper:
        """Keeps the queue's time."""
        return Timekeeper(self.clock, MarkFile(self.config.monqbus.data_dir))

    @cached_property
    def store_monitor(self) -> StoreMonitor:
        """Asks whether the store takes work."""
        return StoreMonitor(self.store, self.clock)

    @cached_property
    def spooler(self) -> Spooler | None:
        """Keeps deliveries while the store is away; None where there is no spool."""
        return Spooler(self.spool, self.store, self.clock, self.lanes.expect) if self.spool else None

    @cached_property
    def rescuer(self) -> Rescuer:
        """Rescues tasks of dead daemons."""
        return Rescuer(self.store, self.instance, self.clock, lambda: self.executor.policy, self.lanes.wake)

    @cached_property
    def pruner(self) -> Pruner:
        """Deletes what is past its retention."""
        return Pruner(self.store, self.clock)

    @cached_property
    def reconciler(self) -> Reconciler:
        """Reconciles runs with claims."""
        return Reconciler(self.store, self.instance, self.lanes, self.recorder, self.clock)

    @cached_property
    def unknown_tasks(self) -> UnknownTasks:
        """Reports tasks under unknown names."""
        return UnknownTasks(self.store, lambda: registry.registry().tasks)

    @cached_property
    def program_monitor(self) -> ProgramMonitor:
        """Looks whether commands can be started, in a native thread."""
        return ProgramMonitor(
            lambda: faults_of(self.config.handlers.values()), gevent.get_hub().threadpool.apply
        )

    @cached_property
    def pause_monitor(self) -> PauseMonitor:
        """Knows which pauses hold."""
        return PauseMonitor(self.store, self.clock, self._paused_or_resumed, self._tasks_of_hook)

    @cached_property
    def breakers(self) -> Breakers:
        """Pauses what fails too often."""
        breakers = Breakers(
            self.store, self.clock, self.pause_monitor, self.lanes, lambda: registry.registry().tasks
        )
        self.executor.ended = breakers.note
        return breakers

    def _tasks_of_hook(self, name: str) -> list[str]:
        hook = self.config.hooks.get(name)
        return names_of(hook, registry.registry()) if hook is not None else []

    def _paused_or_resumed(self) -> None:
        self.lanes.pause(self.pause_monitor.is_task_paused)
        self.scheduler.loop.wake()

    @cached_property
    def certificate(self) -> CertificateMonitor | None:
        """Keeps the certificate of the public listener; None without TLS. Raises ConfigError."""
        http = self.config.http
        if http.tls_cert is None or http.tls_key is None:
            return None
        return CertificateMonitor(
            http.tls_cert, http.tls_key, self.machine_clock, gevent.get_hub().threadpool.apply
        )

    @cached_property
    def queue_depth(self) -> QueueDepth:
        """Counts the work that waits."""
        return QueueDepth(self.store, self.clock, self.config.http.max_ready_tasks)

    @cached_property
    def listener(self) -> Listener:
        """Hears of other daemons' posts; for a shared store only."""
        return Listener(self.store, self.lanes.wake)

    @cached_property
    def scheduler(self) -> Scheduler:
        """Stores the ticks of schedules."""
        is_paused = self.pause_monitor.is_schedule_paused
        return Scheduler(self.store, registry.registry, self.office.fire, self.clock, is_paused)

    @cached_property
    def collector(self) -> Collector:
        """Takes over what other processes have posted."""
        return Collector(self.config.monqbus.data_dir, self.office, self.clock)

    # what others ask of the daemon

    @cached_property
    def office(self) -> PostOffice:
        """Everything that brings work in."""
        return PostOffice(
            self.store,
            registry.registry,
            self.clock,
            keep_events=timedelta(seconds=self.config.monqbus.keep_events),
            hooks=lambda: self.config.hooks,
            pause=Queue().step_back,
            starter=self.lanes,
            spooler=self.spooler if self.spooler is not None and self.spooler.takes else None,
        )

    @cached_property
    def admin(self) -> Admin:
        """Every operator action."""
        return Admin(
            self.store,
            self.clock,
            keep_failed=timedelta(seconds=self.config.monqbus.keep_failed),
            withdraw=lambda ids: self.lanes.interrupt(ids, Withdrawn),
            wake=self._look_again,
            known=lambda: registry.registry().tasks,
            schedules=lambda: registry.registry().schedules,
            paused=self.pause_monitor.look,
            tasks_of_hook=lambda name: own_names_of(name, self.config.hooks, registry.registry()),
        )

    @cached_property
    def operations(self) -> Operations:
        """Everything an operator changes, noted in the audit."""
        return Operations(self.admin, self.office, self.access.audit)

    def _look_again(self) -> None:
        self.lanes.wake()
        self.store.ring()

    @cached_property
    def services(self) -> Services:
        """Watches everything that is started."""
        return Services(self.clock, self.records, store=self.store_monitor.loop.health)

    @cached_property
    def readiness(self) -> Readiness:
        """What `/readyz` says."""
        return Readiness(
            self.store_monitor,
            self.spooler,
            self.services,
            self.queue_depth,
            self.watchdog,
            self.program_monitor,
            self.pause_monitor,
            self.control.is_stopping,
            lambda: self.config.faults,
        )

    @cached_property
    def access(self) -> AccessParts:
        """Who may reach the operators' listener."""
        return AccessParts(lambda: self.config, self.store, self.clock)
