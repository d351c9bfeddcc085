"""The way between daemons and one server, which can be made long, or lead nowhere for a while.

As on a real network nothing is lost by that: what was sent meanwhile arrives when the way is free again.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

PIECE_BYTES = 64 * 1024


class Network:
    """Relays connections to a server on *port* of this machine; `with` opens and closes the way.

    *delay* in seconds is how late each piece arrives, in both directions; it may be changed at any time.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self._late = 0
        self._count = threading.Lock()
        self._port = port
        self._is_free = threading.Event()
        self._is_free.set()
        self._ends: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))

    @property
    def is_clear(self) -> bool:
        """Whether nothing is on its way that is still to be late."""
        return self._late == 0

    @property
    def host(self) -> str:
        """Where it listens, as in a URI."""
        return f"127.0.0.1:{self._door.getsockname()[1]}"

    def block(self) -> None:
        """Let nothing through until `free`: connections stay open and are silent, new ones too."""
        self._is_free.clear()

    def free(self) -> None:
        """Undo `block`; what was held back arrives now."""
        self._is_free.set()

    def __enter__(self) -> Network:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.free()
        for end in (self._door, *self._ends):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._door.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _dawdle(self) -> None:
        if self.delay:
            with self._count:
                self._late += 1
            time.sleep(self.delay)
            with self._count:
                self._late -= 1

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while piece := one.recv(PIECE_BYTES):
                self._dawdle()
                self._is_free.wait()
                other.sendall(piece)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
