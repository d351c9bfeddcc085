"""The pool of workers in the daemon: which worker runs what, suspects each in one of its own.

Only the hub's thread may use it; every call blocks the calling greenlet and nobody else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore

from ..errors import ConfigError
from ..retry import Ending, Stopped
from ..telemetry import emit
from .app_version import Apps, AppVersion
from .forkserver_client import ForkserverClient
from .oom import OomCounter
from .worker_handle import WorkerHandle, WorkItem

PAUSE_SECONDS: Final = 1.0
SUSPECTS: Final = 8
"""How many suspects run at the same time: they wait more than they compute, like all greenlets."""


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How many *workers* there are, after how many tasks and at how many bytes one is replaced; 0: never."""

    workers: int = os.cpu_count() or 1
    tasks: int = 0
    bytes: int = 0


class WorkerPool:
    """Workers of one daemon, forked from the versions of its apps.

    *descriptor* is where the zygote takes orders; the pool owns it. *on_lost* is called once if the
    zygote dies: there will be no workers any more.
    """

    def __init__(
        self, descriptor: int, apps: Apps, options: PoolOptions, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self.options = options
        self.is_lost = False
        self._apps = apps
        self._on_lost = on_lost
        self._oom = OomCounter()
        self._slots = BoundedSemaphore(options.workers)
        self._cells = BoundedSemaphore(SUSPECTS)
        self._making = BoundedSemaphore(1)
        self._current: AppVersion | None = None
        self._app_versions: set[AppVersion] = set()
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)
        control.settimeout(None)  # whatever an app has made the default of this process
        self._zygote = ForkserverClient(control, on_gone=self._lost)

    # items

    def perform(self, item: WorkItem) -> Ending:
        """Run *item* in a worker, when there is a free one. Interrupts of this greenlet reach the handler."""
        with self._slots:
            return self._carry_out(item, alone=False)

    def perform_alone(self, item: WorkItem) -> Ending:
        """Run *item* in a worker of its own that ends with it; up to SUSPECTS such at a time.

        For a task that may have brought a daemon down: if it is guilty, only this worker dies of it.
        """
        with self._cells:
            return self._carry_out(item, alone=True)

    def _carry_out(self, item: WorkItem, *, alone: bool) -> Ending:
        try:
            app_version = self._app_version()
        except ConfigError as error:
            return self._not_now(f"cpu workers: {error}")
        handle = app_version.hire() if alone else app_version.take()
        try:
            ending = handle.carry_out(item)
        finally:
            handle.is_spent = handle.is_spent or alone or self._has_had_its_time(handle)
            app_version.give_back(handle)
        if isinstance(ending, Stopped) and handle.is_unborn:
            app_version.kill_app_process()  # it does not fork when told to
        # a worker that could not be forked, or knows the task's name no more: the next one is no better
        return self._not_now(ending.reason) if isinstance(ending, Stopped) else ending

    def _not_now(self, why: str) -> Ending:
        """Put the task back after a pause: else it would be claimed again at once, without end."""
        emit("cpu.failed", reason=why)
        gevent.sleep(PAUSE_SECONDS)
        return Stopped(why)

    def _has_had_its_time(self, handle: WorkerHandle) -> bool:
        tasks, size = self.options.tasks, self.options.bytes
        if (tasks and handle.runs >= tasks) or (size and handle.bytes > size):
            emit("cpu_worker.recycled", pid=handle.child.pid, tasks=handle.runs, bytes=handle.bytes)
            return True
        return False

    # versions

    def warm_up(self) -> None:
        """Import the apps now, so that the first item need not wait for it. Never raises ConfigError."""
        try:
            self._app_version()
        except ConfigError as error:
            emit("cpu.failed", reason=str(error))

    def prepare(self, apps: Apps) -> AppVersion:
        """Import *apps* in a process of their own, nothing else changes. Raises ConfigError; blocks."""
        if self.is_lost:
            raise ConfigError("cpu workers: the zygote that forks them is gone; start the daemon again")
        app_version = AppVersion(self._zygote, apps, self._oom, self._app_versions.discard)
        self._app_versions.add(app_version)
        try:
            app_version.wait()
        except BaseException:  # also an Interrupt of the run that waits for it
            self.discard(app_version)
            raise
        return app_version

    def renew(self, apps: Apps, *, at_once: bool) -> None:
        """Work with *apps* from now on; new items wait for their import, those that run keep their version.

        Without *at_once* they are imported at the first need. When they cannot be, the old ones stay.
        """
        with self._making:
            try:
                fresh = self.prepare(apps) if at_once else None
            except ConfigError as error:
                emit("cpu.failed", reason=f"the old apps stay: {error}")
                return
            before, self._current, self._apps = self._current, fresh, apps
        if before is not None:
            before.retire()

    def discard(self, app_version: AppVersion) -> None:
        """Forget a version that was prepared in vain."""
        self._app_versions.discard(app_version)
        app_version.kill()

    def _app_version(self) -> AppVersion:
        """The version in use; made at the first need, and again when its app process has died."""
        with self._making:
            if self._current is None or self._current.is_gone:
                self._current = self.prepare(self._apps)
            return self._current

    # the end

    def stop(self) -> None:
        """End every worker, app process and the zygote, whatever they do."""
        for app_version in list(self._app_versions):
            app_version.kill()
        self._zygote.close()
        self._oom.close()

    def _lost(self) -> None:
        self.is_lost = True
        emit("cpu.lost")
        self._on_lost()
