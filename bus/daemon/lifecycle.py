"""The daemon: starts its services, watches them until it is told to stop, drains, stops them.

The main greenlet watches all of them: one that is late is told and named, one that has died ends the daemon.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from functools import partial
from typing import Any, Final

import gevent
import gevent.socket
from gevent.event import Event

from .. import __version__
from ..apps import registry
from ..apps.hook_fit import misfits
from ..clock import Clock
from ..config import Config
from ..config.value_types import host_port
from ..engine.cpu_runner import renew_pool
from ..errors import Drained, UsageError
from ..process import parent_death
from ..telemetry import emit
from .build import Parts
from .drain import LEAVING_SECONDS, Drain
from .names import Names
from .process_parts import Control
from .reloadable import waiting_for_restart
from .service_list import SERVICES
from .services import LOOK_SECONDS
from .signals import SWITCH_SECONDS
from .startup import Startup

SECOND_SIGNAL_SECONDS: Final = 1.0
COLLECT_AFTER: Final = 10_000
"""New containers between two looks for garbage; by itself Python looks after 700. Measured: 4 % less CPU."""


class Daemon:
    """`monqbus run`: lives until it is told to stop. Needs a process that gevent has patched."""

    def __init__(self, config: Config, clock: Clock, names: Names) -> None:
        self._stop = Event()
        self._hurry = Event()
        self._stop_asked_at: float | None = None
        self._code = 0
        self._started_with = config
        self._clock = clock
        control = Control(self._ask_to_stop, self._fail, self._stop.is_set, self._describe, self._take_over)
        self._parts = Parts(config, clock, names, control)
        self._startup = Startup(SERVICES, self._parts, self._not_stopped)
        self._parts.records = self._startup.records

    def run(self) -> int:
        """Start everything, serve until TERM or INT, drain. The exit code; raises MonqbusError."""
        if socket.socket is not gevent.socket.socket:
            raise UsageError("run: expected a process that gevent has patched; start it as `monqbus run`")
        sys.setswitchinterval(SWITCH_SECONDS)
        sys.dont_write_bytecode = True  # nor of what handlers import later; see loading.load
        gevent.config.track_greenlet_tree = False  # who started whom, a walk over ten frames for each task
        gevent.get_hub().SYSTEM_ERROR = ()  # sys.exit() in a greenlet that a handler started ends only that
        parent_death.adopt_orphans()  # of commands, so that they are found; and as process 1 they come anyway
        gevent.get_hub().loop.install_sigchld()  # which buries every child, also those nobody waits for
        try:
            self._startup.start()
            # not gc.freeze(): it would hide our greenlets from whoever looks for them, as gevent.util does
            gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
            self._announce()
            self._watch()
            self._drain()
        finally:
            self._startup.stop()
        # what apps have registered for the end may wait for threads that never end
        gevent.spawn_later(LEAVING_SECONDS, os._exit, self._code)
        return self._code

    def _watch(self) -> None:
        """Look at the services until somebody asks this daemon to stop, or one of them has died."""
        services = self._parts.services
        try:
            while not self._stop.wait(LOOK_SECONDS):
                if services.look():
                    self._fail()
        except gevent.GreenletExit as error:  # a handler got hold of the main greenlet
            emit("service.died", service="main greenlet", reason=repr(error))
            self._fail()

    def _fail(self) -> None:
        """Stop with exit code 1: whoever watches this daemon shall start it anew."""
        self._code = 1
        self._ask_to_stop()

    def _not_stopped(self, service: str, error: BaseException) -> None:
        """A service could not be stopped: in the log, or on standard error once the log has ended."""
        self._code = 1
        log = self._parts.log
        if log.is_open and service != "log":
            emit("service.not_stopped", service=service, error=error)
        else:
            log.print_error(f"monqbus: service {service} could not be stopped: {error!r}")

    def _announce(self) -> None:
        parts, known = self._parts, registry.registry()
        hooks, scheme = parts.config.hooks, "http" if parts.certificate is None else "https"
        addresses = [_url(name, scheme) for _, name in parts.public.listeners]
        admin = [_url(name) for _, name in parts.admin_server.listeners] if parts.admin_server else []
        emit(
            "daemon.started",
            version=__version__,
            listen=",".join(addresses),
            **({"admin": ",".join(admin)} if admin else {}),
            store=parts.config.monqbus.store,
            tasks=len(known.tasks),
            topics=len(known.topics),
            hooks=len(hooks),
            pid=os.getpid(),
        )
        if admin:
            parts.access.tell_first_link(next((one for one in admin if not one.startswith("unix:")), ""))
        if sentence := parts.names.unmatched(known.tasks):
            emit("names.unmatched", reason=sentence)
        self._tell_of_closed_hooks()
        self._tell_of_misfits()
        for hook in hooks.values():
            if hook.verify == "none":
                parts.log.print(f"try it:  curl -d World {_as_curl_has_it(addresses[0])}/hooks/{hook.name}")
                break

    def _tell_of_closed_hooks(self) -> None:
        for name, fault in self._parts.config.faults.items():
            emit("hook.disabled", hook=name, reason=fault)

    def _tell_of_misfits(self) -> None:
        """`check` refuses these handlers; here the others must not wait for them."""
        unfit = misfits(self._parts.config.hooks.values(), registry.registry())
        for sentence in (*unfit.certain, *unfit.possible):
            emit("handler.mismatched", reason=sentence)

    # what signals ask

    def _ask_to_stop(self) -> None:
        """Drain; a second signal stops at once. Within a second it is the same one, sent twice."""
        now = self._clock.monotonic()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
            self._stop.set()
        elif now - self._stop_asked_at > SECOND_SIGNAL_SECONDS:
            self._hurry.set()
            self._parts.lanes.interrupt(None, Drained)

    def _take_over(self, config: Config) -> None:
        """Use what the reloader has read; running tasks go on with the code they began with."""
        parts, known = self._parts, registry.registry()
        later = ",".join(waiting_for_restart(self._started_with, config))
        parts.config = config
        parts.executor.policy = parts.policy
        parts.executor.default_timeout = config.worker.timeout or None
        parts.recorder.keep_failed = parts.policy.keep_failed
        parts.admin.keep_failed = parts.policy.keep_failed
        parts.signals.look()  # the apps have just been imported
        parts.log.attach()
        parts.capture.attach()
        if parts.executor.cpu_runner is not None:
            renew_pool(parts.executor.cpu_runner.worker_pool, config, known.tasks)
        parts.lanes.arrange(parts.plan)
        parts.lanes.wake()
        parts.unknown_tasks.loop.wake()
        parts.program_monitor.loop.wake()
        if parts.certificate is not None:
            parts.certificate.use(config.http)
        parts.scheduler.loop.wake()
        needs = {"needs_restart": later} if later else {}
        emit("config.reloaded", tasks=len(known.tasks), hooks=len(config.hooks), **needs)
        self._tell_of_closed_hooks()
        self._tell_of_misfits()

    def _describe(self) -> None:
        """Log what every slot is doing (USR1)."""
        now, lanes = self._parts.clock.monotonic(), self._parts.lanes
        runs = lanes.running
        emit("slots.described", taken=len(runs), size=lanes.size, unrecorded=self._parts.recorder.depth)
        for run in runs:
            emit("slot.described", task=run.task, seconds=now - run.started)

    def _drain(self) -> None:
        parts = self._parts
        parts.reloader.loop.stop(0)
        parts.scheduler.loop.retire()  # what comes from here on is missed, and the next daemon's to decide
        drain = Drain(
            parts.lanes,
            parts.recorder,
            self._startup.retire,
            parts.store,
            parts.clock,
            hurry=self._hurry,
            announce=parts.leave,
            close_doors=partial(parts.public.stop, hurry=self._hurry),
        )
        drain.run(parts.config.worker.drain)
        parts.delivery_log.flush()
        if not parts.store.shared and (complaint := parts.store_monitor.complaint):
            # the last word of the log: what deleted files hold ends with this process
            emit("store.failed", doing="closing", error=complaint)


def _url(name: tuple[Any, ...] | str, scheme: str = "http") -> str:
    """Where a listener is reached, by the *name* of its socket."""
    return f"unix:{name}" if isinstance(name, str) else f"{scheme}://{host_port(*name[:2])}"


def _as_curl_has_it(url: str) -> str:
    if url.startswith("unix:"):
        return f"--unix-socket {url.removeprefix('unix:')} http://localhost"
    # its certificate is for a name, not for this address
    return f"-k {url}" if url.startswith("https:") else url
