"""The server: accepts connections, caps them, stops without dropping an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from ..clock import Clock
from ..errors import Refused
from . import problem
from .bodies import Bodies
from .connection import Connection
from .crowd import Crowd
from .limits import Limits
from .listen import BACKLOG

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_CLOCK = Clock()
_LOG = logging.getLogger("monqbus")
_KILL_SECONDS = 1.0
_PAUSE_SECONDS = 0.5


class Server(WSGIServer):  # type: ignore[misc]  # gevent has no type hints
    """Serves one WSGI application on one listening socket, TCP or Unix.

    `start()` returns at once, `address` is where it listens. At most `limits.connections` are open;
    further ones wait in the kernel's queue, and the one idle for longest makes room for them. Of these
    one address has at most `limits.connections_per_ip`; a further one is answered 429 and closed.
    """

    handler_class = Connection

    def __init__(self, listener: Any, app: WsgiApp, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.is_stopping = False
        self.connections: set[Connection] = set()
        self.bodies = Bodies(self.limits.bodies)
        self._crowd = Crowd(self.limits.connections_per_ip, self.limits.uncounted)
        address = listener.getsockname()
        self._file = _identity(address) if isinstance(address, str) else None
        host, port = address[:2] if isinstance(address, tuple) else ("localhost", "")
        super().__init__(
            listener,
            app,
            spawn=Pool(self.limits.connections),
            log=None,
            error_log=None,
            # SERVER_NAME is given, so that pywsgi does not ask the DNS for it.
            environ={"SERVER_NAME": host, "SERVER_PORT": str(port), "SERVER_SOFTWARE": "monqbus"},
        )

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one accepted connection in its own greenlet until it ends."""
        connection = self.handler_class(sock, address, self)
        self.connections.add(connection)
        who = self._crowd.who(address)
        try:
            self._make_room()
            if not self._crowd.enter(who):
                connection.turn_away(_crowded())
                return
            try:
                connection.handle()
            finally:
                self._crowd.leave(who)
        finally:
            self.connections.discard(connection)

    def do_read(self) -> Any:
        """Accept one connection. When the process is out of file descriptors, pause instead of spinning."""
        try:
            return super().do_read()
        except OSError as error:  # pywsgi would print a traceback for each try
            _LOG.error("server: cannot accept a connection: %s; trying again", error.strerror)
            self.stop_accepting()
            self._timer = self.loop.timer(_PAUSE_SECONDS)
            self._timer.start(self._start_accepting_if_started)
            return None

    def stop(self, seconds: float = 1.0, hurry: Event | None = None) -> None:
        """Close the door at once, let requests in flight finish, cut the rest after *seconds*.

        Idle connections are hung up; a request that has already arrived on one is still answered.
        Blocks until the last connection is closed; *hurry* cuts the rest when it is set.
        """
        self.is_stopping = True
        self._accept_what_waits()
        if self.has_its_file and not self.closed:
            Path(self.address).unlink(missing_ok=True)
        self.close()
        for connection in tuple(self.connections):
            if connection.is_idle:
                connection.wire.hang_up()
        over = gevent.spawn(self.pool.join, timeout=seconds)
        gevent.wait([over, hurry] if hurry else [over], count=1)
        over.kill()
        self.pool.kill(timeout=_KILL_SECONDS)

    @property
    def has_its_file(self) -> bool:
        """True while the file of this Unix socket is where it was made, so that clients can find it."""
        return self._file is not None and _identity(self.address) == self._file

    def _accept_what_waits(self) -> None:
        """Take in whoever has connected already: closing the door would reset them."""
        for _ in range(BACKLOG if self.started else 0):
            if self.pool.full():
                return
            try:
                accepted = super().do_read()
            except OSError:
                return
            if accepted is None:
                return
            self.do_handle(*accepted)

    def _make_room(self) -> None:
        if not self.pool.full():
            return
        idle = [connection for connection in self.connections if connection.is_idle]
        if idle:
            min(idle, key=lambda connection: connection.idle_since).wire.hang_up()


def _identity(path: str) -> tuple[int, int] | None:
    """Which file *path* is, None when there is none."""
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _crowded() -> Refused:
    detail = "connections: this address has as many open as it may have, close some or wait"
    return Refused(429, "too_many_connections", detail, problem.retry_after(_CLOCK))
