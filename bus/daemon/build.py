"""Builds the parts of a daemon from its configuration, each when it is first asked for.

Building a part starts nothing, but that the store and the spool are opened, and addresses bound: when that
happens, and what is started and stopped in which order, stands in `service_list`.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.event import Event

from ..access.gate import Route
from ..access.recognition import METRICS_PATH
from ..access.roles import Role
from ..admin import Admin
from ..api.access import AccessApi
from ..api.routes import api_routes, create_api
from ..api.server import Api
from ..apps import from_config, registry
from ..apps.command_program import faults_of
from ..apps.hook_handlers import names_of, own_names_of
from ..config import CONTROL_SOCKET
from ..cpu import zygote
from ..engine.claimer import Claimer
from ..engine.cpu_runner import CpuRunner, any_cpu, start_pool
from ..engine.executor import Executor
from ..engine.lanes import Lane, Lanes, lanes_of
from ..engine.pool import Pool
from ..engine.recorder import Recorder
from ..errors import Drained, StoreError, Withdrawn
from ..http import AccessLog, ControlSocket, Limits, Queue, Server
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
from ..metrics import CountedUrls, metrics_endpoint
from ..model import Instance
from ..operations import Operations
from ..posting import PostOffice
from ..process import activation, identity
from ..regex import searching
from ..retry import Policy
from ..webhook.admission import Admission
from ..webhook.delivery_log import DeliveryLog, Extent
from ..webhook.endings import Endings
from ..webhook.streams import Streams
from . import addresses
from .access_parts import AccessParts
from .addresses import Addresses
from .desk_parts import DeskParts
from .gauges import Gauges
from .process_parts import ProcessParts
from .readiness import Readiness
from .services import Services
from .url_maps import public_urls

if TYPE_CHECKING:
    pass

CLOSE_SECONDS: Final = 1.0
WAITING_SHARE: Final = 4
"""Every so many-th connection at most waits for the ends of tasks."""
STREAMING_SHARE: Final = 8
"""Every so many-th connection at most is shown what tasks print."""
ADMIN_CONNECTIONS: Final = 32


class Parts(ProcessParts):
    """What one daemon consists of."""

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

    # the listeners; each of the first two binds its address when it is asked for

    @cached_property
    def control_socket(self) -> ControlSocket:
        """Raises ConfigError when the path cannot be had."""
        return ControlSocket(self._control_path, self.addresses.control)

    @cached_property
    def addresses(self) -> Addresses:
        """The listening sockets: bound now, or passed on. Raises ConfigError when one cannot be had."""
        return addresses.take(activation.passed(), self.config.http.listen, self._control_path)

    @property
    def _control_path(self) -> Path:
        return self.config.monqbus.data_dir / CONTROL_SOCKET

    @cached_property
    def delivery_log(self) -> DeliveryLog:
        """Records deliveries that store nothing."""
        settings, http = self.config.monqbus, self.config.http
        extent = Extent(
            settings.delivery_log,
            settings.delivery_log_size,
            timedelta(seconds=settings.keep_deliveries),
            http.log_refused_bodies,
            searching(http.redact) if http.redact else lambda _: False,
        )
        return DeliveryLog(self.store.log_deliveries, self.clock, extent)

    @cached_property
    def public(self) -> Server:
        """The server of the public listener, not started yet."""
        http = self.config.http
        urls = public_urls(
            hooks=lambda: self.config.hooks,
            publish=self.readiness.observed(self.office.deliver),
            publish_all=self.readiness.observed(self.office.deliver_all),
            ready=self.readiness.complaint,
            remark=self.readiness.remark,
            clock=self.clock,
            max_body=http.max_body,
            log=self.delivery_log,
            admission=Admission(http.max_inflight, lambda: self.queue_depth.is_full),
            trusted_proxies=http.trusted_proxies,
            endings=self.endings,
            streams=self.streams,
        )
        if self.counts is not None:
            urls = CountedUrls(urls, self.counts)
        return Server(
            self.addresses.public,
            urls,
            Limits.of(http),
            removes=self.addresses.files,
            tls=None if self.certificate is None else self.certificate.tls,
            access_log=AccessLog(http.trusted_proxies) if http.access_log else None,
        )

    @cached_property
    def endings(self) -> Endings:
        """Lets answers wait for the ends of tasks: at a share of the connections, others need some, too."""
        most = max(1, self.config.http.connections // WAITING_SHARE)
        return Endings(self.store.find, self.clock, most, Event)

    @cached_property
    def streams(self) -> Streams:
        """Shows what tasks print, to a share of the connections as well."""
        most = max(1, self.config.http.connections // STREAMING_SHARE)
        return Streams(self.store.find, self.clock, most, Event)

    def leave(self) -> None:
        """Let every answer be its connection's last, and none wait any longer. Never blocks."""
        self.public.leave()
        self.endings.close()
        self.streams.close()

    @cached_property
    def admin_addresses(self) -> Addresses:
        """The listening sockets of operators, none by default. Raises ConfigError when one cannot be had."""
        return addresses.bind(self.config.admin.listen, "[admin] listen")

    @cached_property
    def admin_server(self) -> Server | None:
        """The server of the operators' listener, not started yet; None where there is none."""
        if self.counts is None:
            return None
        metrics = metrics_endpoint(self.counts, Gauges(self, self.counts), Queue().step_back)
        routes = [Route("GET", METRICS_PATH, Role.METRICS, metrics, is_page=False)]
        pages = [] if self.desk is None else self.desk.routes()
        urls = self.access.gate([*routes, *api_routes(*self._api), *pages])
        taken = self.admin_addresses
        return Server(taken.public, urls, Limits(connections=ADMIN_CONNECTIONS), removes=taken.files)

    @cached_property
    def desk(self) -> DeskParts | None:
        """The pages of the operators' listener; None where there is none."""
        if self.counts is None:
            return None
        return DeskParts(self, self.counts, self.access.audit, self.control.is_stopping)

    @cached_property
    def access(self) -> AccessParts:
        """Who may reach the operators' listener."""
        return AccessParts(lambda: self.config, self.store, self.clock)

    def serve_api(self) -> None:
        """Answer on the control socket. Never blocks."""
        self.control_socket.serve(create_api(*self._api))

    @cached_property
    def _api(self) -> tuple[Api, AccessApi]:
        """What is answered there and to the visitors of the operators' listener."""
        api = Api(
            self.admin,
            self.office,
            registry.registry,
            self.clock,
            status=self.readiness.describe,
            catch_up=self.collector.collect,
            operations=self.operations,
            hooks=lambda: self.config.hooks,
            workers=self._workers,
        )
        return api, AccessApi(self.access.accounts, self.access.audit)

    def _workers(self) -> Mapping[str, Any]:
        """The slots of each lane, what runs in them, what was ready by name at the last look; all daemons."""
        now = self.clock.monotonic()
        running = [
            {"id": run.task.id, "name": run.task.task_name, "seconds": round(now - run.started, 3)}
            for run in self.lanes.running
        ]
        lanes = {lane: {"slots": size, "taken": taken} for lane, (size, taken) in self.lanes.slots.items()}
        waiting = {name: one.depth for name, one in self.unknown_tasks.waiting.items()}
        others: list[str] = []
        with suppress(StoreError):
            others = [one.process for one in self.store.instances() if one.id != self.instance.id]
        title = self.instance.process
        daemons = sorted([title, *others])
        return {"title": title, "daemons": daemons, "lanes": lanes, "running": running, "waiting": waiting}
