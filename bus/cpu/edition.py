"""One edition of the apps: the template that has imported it, and the workers forked from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import gevent
from gevent import socket
from gevent.event import AsyncResult

from ..errors import ConfigError
from ..telemetry import emit
from .oom import OomCounter
from .parent import Parent
from .peer import Peer

IMPORT_SECONDS: Final = 60.0
END_SECONDS: Final = 2.0


class Apps(NamedTuple):
    """What a template imports, from where, and from which level on its handlers' log records are kept."""

    modules: tuple[str, ...]
    folders: tuple[Path, ...]
    log_level: str = "INFO"


class Edition:
    """A template and its workers. Made ready by `wait`; ends by itself once retired and without workers."""

    def __init__(
        self, zygote: Parent, apps: Apps, oom: OomCounter, on_gone: Callable[[Edition], None]
    ) -> None:
        self.apps = apps
        self._oom = oom
        self._on_gone = on_gone
        self._idle: list[Peer] = []
        self._peers: set[Peer] = set()
        self._is_retired = False
        self._news: AsyncResult = AsyncResult()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(None)  # whatever an app has made the default of this process
        order = {"apps": apps.modules, "path": [str(one) for one in apps.folders]}
        self._child = zygote.fork(theirs.fileno(), log_level=apps.log_level, **order)
        theirs.close()
        self._template = Parent(ours, hear=self._news.set, on_gone=self._lost)

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
        return self._template.is_gone

    # workers

    def take(self) -> Peer:
        """A worker for one job: a warm one, else a new one. Never blocks for long."""
        while self._idle:
            peer = self._idle.pop()
            if not peer.is_gone and not peer.is_spent:
                return peer
        return self.hire()

    def hire(self) -> Peer:
        """A new worker. Never blocks for long."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(None)
        child = self._template.fork(theirs.fileno())
        theirs.close()
        peer = Peer(ours, child, self._oom, self._forget)
        self._peers.add(peer)
        return peer

    def give_back(self, peer: Peer) -> None:
        """Take *peer* back after its job; it stays warm unless it or this edition has had its time."""
        if peer.is_gone:
            return
        if peer.is_spent or self._is_retired:
            peer.dismiss()
        else:
            self._idle.append(peer)

    def _forget(self, peer: Peer) -> None:
        self._peers.discard(peer)
        if peer in self._idle:
            self._idle.remove(peer)
        self._end_if_done()

    # the end

    def retire(self) -> None:
        """Let idle workers go now, busy ones after their job, the template after the last of them."""
        self._is_retired = True
        idle, self._idle = self._idle, []
        for peer in idle:
            peer.dismiss()
        self._end_if_done()

    def kill(self) -> None:
        """End everything at once; blocks until it is gone, END_SECONDS at most."""
        self._is_retired = True
        for peer in self._peers:
            peer.kill()
        if not self._news.ready():
            self._child.kill()  # an import may be deaf; later the template takes its workers along itself
        self._template.close()
        self._child.wait(END_SECONDS)

    def kill_template(self) -> None:
        """End a template that does not react; the next job gets a new one. Never blocks."""
        self._child.kill()

    def _end_if_done(self) -> None:
        if self._is_retired and not self._peers:
            self._template.close()
            self._on_gone(self)

    def _lost(self) -> None:
        """The template has gone without being told to."""
        if not self._news.ready():
            gevent.spawn(self._tell_end)
        self._on_gone(self)

    def _tell_end(self) -> None:
        self._news.set({"ended": _told(self._child.wait(1.0))})


def _told(status: Any) -> str:
    return f"status {status}" if isinstance(status, int) else str(status or "nobody knows why")
