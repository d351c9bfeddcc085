"""The server: accepts connections, caps them, and drains without dropping an answer."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from ..clock import Clock
from ..errors import Refused
from ..telemetry import emit
from . import problem
from .access_log import AccessLog
from .body_budget import BodyBudget
from .connection import Connection
from .connection_quota import ConnectionQuota
from .eviction import Connections, Stage
from .limits import Limits
from .listen import BACKLOG
from .tls import Tls
from .url_map import UrlMap

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_CLOCK = Clock()
_KILL_SECONDS = 1.0
_FIRST_WORD_SECONDS = 0.5
_PAUSE_SECONDS = 0.025
_LOOK_SECONDS = 5e-6
_TELL_SECONDS = 60.0
_ENOUGH = 8
_READABLE = 1


class Server(WSGIServer):  # type: ignore[misc]  # gevent has no type hints
    """Serves one WSGI application on listening sockets, TCP or Unix.

    `start()` returns at once, `address` is where the first one listens. The files of those Unix sockets that
    it *removes* are removed at the end. At most `limits.connections` are open. For further ones whoever has
    shown least for longest gives way (`places`); where nobody may be asked to, they wait in the kernel's
    queue, and `is_full` makes every answer its connection's last. One address has at most
    `limits.connections_per_ip`; a further one is answered 429 and closed. With *tls* every TCP connection is
    encrypted, and none of a Unix socket. *access_log* is told of each answered request.
    """

    handler_class = Connection

    def __init__(
        self,
        listeners: Sequence[Any],
        app: WsgiApp,
        limits: Limits | None = None,
        *,
        removes: Collection[str] = (),
        tls: Tls | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.endpoint = app.answer if isinstance(app, UrlMap) else None
        self.tls = tls
        self.access_log = access_log
        self.is_leaving = False
        """Every answer is its connection's last: soon nobody will listen here."""
        self.is_stopping = False
        self.is_full = False
        self._watchers: list[Any] = []
        self.keep_alive = self.limits.keep_alive
        self.connections: set[Connection] = set()
        self.bodies = BodyBudget(self.limits.bodies, self.limits.bodies_per_ip)
        self._connection_quota = ConnectionQuota(self.limits.connections_per_ip, self.limits.uncounted)
        self._counted: dict[str, set[Connection]] = {}
        self._places = Connections(self.connections, self._connection_quota.size)
        self._told: dict[str, float] = {}
        names = [listener.getsockname() for listener in listeners]
        self._files = {name: _identity(name) for name in names if isinstance(name, str)}
        self._removes = frozenset(removes)
        address = names[0]
        host, port = address[:2] if isinstance(address, tuple) else ("localhost", "")
        super().__init__(
            listeners[0],
            app,
            spawn=Pool(),
            log=None,
            error_log=None,
            # SERVER_NAME is given, so that pywsgi does not ask the DNS for it.
            environ={"SERVER_NAME": host, "SERVER_PORT": str(port), "SERVER_SOFTWARE": "monqbus"},
        )

        self._others = [(other, other.getsockname()) for other in listeners[1:]]

    @property
    def listeners(self) -> list[tuple[Any, Any]]:
        """Each listening socket, and its address; none when it is closed."""
        return [] if self.closed else [(self.socket, self.address), *self._others]

    def start_accepting(self) -> None:
        """Let in who waits, now and later. Never blocks."""
        if not self._watchers:
            for listener, _ in self.listeners:
                watcher = self.loop.io(listener.fileno(), _READABLE)
                watcher.start(self._let_in, listener)
                self._watchers.append(watcher)

    def stop_accepting(self) -> None:
        """Let them wait. Never blocks."""
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
        self._watchers.clear()
        super().stop_accepting()  # the timer

    def close(self) -> None:
        """Close the sockets; connections stay. Never blocks."""
        super().close()
        for other, _ in getattr(self, "_others", ()):
            other.close()

    def _let_in(self, listener: Any) -> None:
        """Somebody waits. Runs in the hub: it must neither block nor raise."""
        for number in range(self.max_accept):
            if len(self.connections) >= self.limits.connections:
                if number:
                    return  # nobody gives way to one who may not be there: if he is, we are called again
                if not self._make_room():
                    self.is_full = True
                    self._pause()
                    return
            try:
                accepted = self._accept(listener)
            except OSError as error:
                self._cannot_accept(error)
                return
            if accepted is None:
                return
            self._admit(*accepted)

    @staticmethod
    def _accept(listener: Any) -> tuple[Any, Any] | None:
        """One connection that waits, and its address; None when there is none. Never blocks."""
        listener = getattr(listener, "_sock", listener)  # the one of the operating system, not gevent's
        try:
            number, address = listener._accept()
        except BlockingIOError:
            return None
        accepted = socket.socket(listener.family, listener.type, listener.proto, fileno=number)
        return accepted, address

    def _make_room(self) -> bool:
        """Let somebody give way. What he still has to say costs no place any more: it is one answer."""
        weakest = self._places.weakest(_CLOCK.monotonic())
        if weakest is None:
            return False
        self._tell("connections.filled", open=len(self.connections))
        self.connections.discard(weakest)
        weakest.give_way()
        return True

    def _cannot_accept(self, error: OSError) -> None:
        """Close what nobody would miss and try again: without a descriptor the next try fails, too."""
        if error.errno == errno.ECONNABORTED:
            return
        for _ in range(_ENOUGH):
            if not self._make_room():
                break
        self._tell("connections.refused", error=error.strerror, open=len(self.connections))
        self._pause()

    def _pause(self) -> None:
        """Look again when somebody leaves, at the latest soon: until then the watcher would only spin."""
        self.stop_accepting()
        self._timer = self.loop.timer(_PAUSE_SECONDS + _LOOK_SECONDS * len(self.connections))
        self._timer.start(self._start_accepting_if_started)

    def _admit(self, sock: Any, address: Any) -> None:
        connection = self.handler_class(sock, address, self, self._connection_quota.who(address))
        self.connections.add(connection)
        self.pool.spawn(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        """Serve one accepted connection, in a greenlet of its own, until it ends."""
        try:
            if self._connection_quota.is_full(connection.who):
                self._let_idle_one_go(connection.who)
            if not self._connection_quota.enter(connection.who):
                connection.turn_away(_crowded())
                return
            self._counted.setdefault(connection.who, set()).add(connection)
            try:
                connection.handle()
            finally:
                self._uncount(connection)
        finally:
            self.connections.discard(connection)
            self._a_place_is_free()

    def _let_idle_one_go(self, who: str) -> None:
        """Close the connection of *who* that has been idle for longest: a sender forgets what it kept."""
        now = _CLOCK.monotonic()
        idle = [
            one for one in self._counted.get(who, ()) if one.stage is Stage.IDLE and one.may_give_way(now)
        ]
        if idle:
            weakest = min(idle, key=attrgetter("since"))
            self._uncount(weakest)
            weakest.give_way()

    def _uncount(self, connection: Connection) -> None:
        """Count *connection* no more; doing so twice changes nothing."""
        own = self._counted.get(connection.who, set())
        if connection in own:
            own.remove(connection)
            self._connection_quota.leave(connection.who)
            if not own:
                del self._counted[connection.who]

    def _a_place_is_free(self) -> None:
        if self.is_full:
            self.is_full = False
            if self.started:
                self.stop_accepting()  # the pause
                self.start_accepting()

    def _tell(self, fact: str, **fields: Any) -> None:
        """Tell *fact*, but no more than once a minute: a flood of connections is not a flood of lines."""
        now = _CLOCK.monotonic()
        if now >= self._told.get(fact, -math.inf) + _TELL_SECONDS:
            self._told[fact] = now
            emit(fact, **fields)

    def leave(self) -> None:
        """Let every answer be its connection's last; who comes is served until `stop`. Never blocks."""
        self.is_leaving = True

    def stop(self, seconds: float = 1.0, hurry: Event | None = None) -> None:
        """Close the door at once, let requests in flight finish, cut the rest after *seconds*.

        Idle connections are hung up; a request that has already arrived on one is still answered, and who has
        just connected has half a second to send one.
        Blocks until the last connection is closed; *hurry* cuts the rest when it is set.
        """
        self.is_stopping = True
        self._accept_what_waits()
        if not self.closed:
            for name in self._removes - set(self.lost_files):
                Path(name).unlink(missing_ok=True)
        self.close()
        self._hang_up(Stage.IDLE, Stage.LEAVING)
        later = gevent.spawn_later(min(seconds, _FIRST_WORD_SECONDS), self._hang_up, Stage.SILENT)
        over = gevent.spawn(self.pool.join, timeout=seconds)
        gevent.wait([over, hurry] if hurry else [over], count=1)
        gevent.killall([over, later])
        self.pool.kill(timeout=_KILL_SECONDS)

    def _hang_up(self, *stages: Stage) -> None:
        for connection in tuple(self.connections):
            if connection.is_idle and connection.stage in stages:
                connection.reader.hang_up()

    @property
    def lost_files(self) -> list[str]:
        """Of its Unix sockets those whose file is not where it was made, so that no client finds them."""
        return [name for name, file in self._files.items() if file is None or _identity(name) != file]

    def _accept_what_waits(self) -> None:
        """Take in whoever has connected already: closing the door would reset them."""
        for listener, _ in self.listeners if self.started else ():
            for _ in range(BACKLOG):
                if len(self.connections) >= self.limits.connections:
                    return
                try:
                    accepted = self._accept(listener)
                except OSError:
                    break
                if accepted is None:
                    break
                self._admit(*accepted)


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
