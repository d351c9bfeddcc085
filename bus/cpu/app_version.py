"""One version of the apps in the daemon: its app process and the workers forked from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import gevent
from gevent import socket
from gevent.event import AsyncResult

from ..errors import ConfigError
from ..telemetry import emit
from .forkserver_client import ForkserverClient
from .oom import OomCounter
from .worker_handle import WorkerHandle

IMPORT_SECONDS: Final = 60.0
END_SECONDS: Final = 2.0


class Apps(NamedTuple):
    """What an app process imports, from where, and from which level on its handlers' log records are kept.

    Without a level nothing is done to `logging`.
    """

    modules: tuple[str, ...]
    folders: tuple[Path, ...]
    log_level: str = "INFO"


class AppVersion:
    """An app process and its workers. Made ready by `wait`; ends once retired and without workers."""

    def __init__(
        self, zygote: ForkserverClient, apps: Apps, oom: OomCounter, on_gone: Callable[[AppVersion], None]
    ) -> None:
        self.apps = apps
        self._oom = oom
        self._on_gone = on_gone
        self._idle: list[WorkerHandle] = []
        self._handles: set[WorkerHandle] = set()
        self._is_retired = False
        self._news: AsyncResult = AsyncResult()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(None)  # whatever an app has made the default of this process
        order = {"apps": apps.modules, "path": [str(one) for one in apps.folders]}
        self._child = zygote.fork(theirs.fileno(), log_level=apps.log_level, **order)
        theirs.close()
        self._app_process = ForkserverClient(ours, hear=self._news.set, on_gone=self._lost)

    def wait(self) -> None:
        """Block until the apps are imported. Raises ConfigError when they cannot be."""
        news = self._news.wait(IMPORT_SECONDS)
        if news is None:
            problem = (
                f"apps: expected their import to end within {IMPORT_SECONDS:g} s; see what they wait for"
            )
            raise ConfigError(problem)
        if "refused" in news:
            raise ConfigError(*news["refused"])
        if "ready" not in news:
            raise ConfigError(f"apps: the process that imports them ended: {news['ended']}")
        if news["threads"]:
            emit("apps.threaded", threads=", ".join(news["threads"]))

    @property
    def is_gone(self) -> bool:
        """True when no worker can come from it any more."""
        return self._app_process.is_gone

    # workers

    def take(self) -> WorkerHandle:
        """A worker for one item: an idle one, else a new one. Never blocks for long."""
        while self._idle:
            handle = self._idle.pop()
            if not handle.is_gone and not handle.is_spent:
                return handle
        return self.hire()

    def hire(self) -> WorkerHandle:
        """A new worker. Never blocks for long."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(None)
        child = self._app_process.fork(theirs.fileno())
        theirs.close()
        handle = WorkerHandle(ours, child, self._oom, self._forget)
        self._handles.add(handle)
        return handle

    def give_back(self, handle: WorkerHandle) -> None:
        """Take *handle* back after its item; it stays idle unless it is spent or this version is retired."""
        if handle.is_gone:
            return
        if handle.is_spent or self._is_retired:
            handle.dismiss()
        else:
            self._idle.append(handle)

    def _forget(self, handle: WorkerHandle) -> None:
        self._handles.discard(handle)
        if handle in self._idle:
            self._idle.remove(handle)
        self._end_if_done()

    # the end

    def retire(self) -> None:
        """End idle workers now, busy ones after their item, and the app process after the last of them."""
        self._is_retired = True
        idle, self._idle = self._idle, []
        for handle in idle:
            handle.dismiss()
        self._end_if_done()

    def kill(self) -> None:
        """End everything at once; blocks until it is gone, END_SECONDS at most."""
        self._is_retired = True
        for handle in self._handles:
            handle.kill()
        if not self._news.ready():
            self._child.kill()  # an import may be deaf; later the app process takes its workers along itself
        self._app_process.close()
        self._child.wait(END_SECONDS)

    def kill_app_process(self) -> None:
        """End an app process that does not react; the next item gets a new one. Never blocks."""
        self._child.kill()

    def _end_if_done(self) -> None:
        if self._is_retired and not self._handles:
            self._app_process.close()
            self._on_gone(self)

    def _lost(self) -> None:
        """The app process has gone without being told to."""
        if not self._news.ready():
            gevent.spawn(self._tell_end)
        self._on_gone(self)

    def _tell_end(self) -> None:
        self._news.set({"ended": _told(self._child.wait(1.0))})


def _told(status: Any) -> str:
    return f"status {status}" if isinstance(status, int) else str(status or "nobody knows why")
