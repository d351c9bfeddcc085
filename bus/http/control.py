"""The Unix control socket of the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError
from ..telemetry import ToldOnce, emit
from .listen import listen_unix
from .server import Server, WsgiApp

LOOK_SECONDS: Final = 2.0


class ControlSocket:
    """A Unix socket at *path*, listening from the start; whoever connects waits until `serve`.

    *listener* is a socket that listens there already, and whose file stays where it is at the end.
    Raises ConfigError when the path cannot be had. People and clean-up jobs delete socket files, and
    nobody could reach the daemon any more: `look` puts the file back.
    """

    def __init__(self, path: Path, listener: Any | None = None) -> None:
        self._path = path
        self._is_ours = listener is None
        self._listener = listen_unix(path) if listener is None else listener
        self.server: Server | None = None
        """Who answers there now."""
        self._told = ToldOnce()

    def serve(self, app: WsgiApp) -> None:
        """Answer with *app* from now on. Never blocks."""
        removes = [str(self._path)] if self._is_ours else []
        self.server = Server([self._listener], app, removes=removes)
        self.server.start()

    def look(self) -> float:
        """Listen anew when the file is gone; the seconds until the next look."""
        if self.server is None or not self.server.lost_files:
            return LOOK_SECONDS
        try:
            listener = listen_unix(self._path)
        except ConfigError as error:
            self._tell(str(error))
            return LOOK_SECONDS
        old, self._listener, self._is_ours = self.server, listener, True
        self.serve(old.application)
        old.stop()
        self._tell("")
        return LOOK_SECONDS

    def stop(self) -> None:
        """Stop serving and remove the file."""
        if self.server is None:
            self._listener.close()
        else:
            self.server.stop()

    def _tell(self, problem: str) -> None:
        """Tell each problem once, and the end of it."""
        if not problem:
            emit("socket.restored", path=str(self._path))
        for news in self._told.now([problem] if problem else []):
            emit("socket.lost", path=str(self._path), error=news)
