"""Notices when a handler has closed the daemon's listening sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from ..engine.health import Health
from ..http import Server


class Door:
    """The record of a listening socket. *server* gives who listens on it, None before somebody does.

    It dies with the file of a Unix socket too, unless somebody *mends* that.
    """

    def __init__(self, name: str, server: Callable[[], Server | None], *, mends: bool = False) -> None:
        self._health = Health(name)
        self._server = server
        self._mends = mends

    @property
    def health(self) -> Health:
        """Its record, after a look at the socket. Never blocks."""
        server = self._server()
        if server is not None and not server.is_stopping and (reason := self._deafness(server)):
            self._health.die(f"{reason}; see which handler, or who else, does that")
        return self._health

    def _deafness(self, server: Server) -> str:
        if server.closed:
            return "its socket was closed"
        for name in () if self._mends else server.lost_files:
            return f"the file of its socket {name} is gone"
        return next(filter(None, (_harm(*one) for one in server.listeners)), "")


def _harm(listener: Any, address: Any) -> str:
    try:
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        found = listener.getsockname()
    except OSError as error:
        return f"its descriptor is no socket any more: {error.strerror}"
    return "" if listens and found == address else "its descriptor is somebody else's now"
