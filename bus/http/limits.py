"""The limits of the HTTP server: connections, head, body, time."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import ConfigError
from ..networks import Network
from .connection_quota import LOOPBACK

if TYPE_CHECKING:
    from ..config.settings import Http

READER_BYTES: Final = 64 * 1024
"""What a connection holds beside header and body: its buffers, and a chunked body's pieces."""

TLS_BYTES: Final = 64 * 1024
"""What it holds with TLS besides; measured: 40 KiB."""

SPARE_SECONDS: Final = 1.0
"""An answer is on its way for a moment before its client begins to count."""

SPARE_FILES: Final = 256
"""Beside connections: listeners, the store, workers, what handlers open."""

LEAST_FILES: Final = 128
"""With fewer a daemon has none left for connections; with 64 it cannot even keep its standard streams."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on connections, time and size. Sizes are bytes; one body's is the application's affair.

    `connections_per_ip` (0: any number) are open at once from one address, except from the `uncounted`
    networks. `bodies` is for those of all requests together that are not yet answered, `bodies_per_ip`
    for those from one address that is counted.

    A connection may be idle for `idle_seconds` between two requests, which each answer says to its client;
    the first byte of its first request must come in `first_seconds`. A request head must be complete
    `header_seconds` after its first byte, a body `body_seconds` after its head. An answer refused by the
    client's side for `send_seconds` is given up. After a refusal we listen `linger_seconds` more, so that the
    answer is read before the reset.
    """

    connections: int = 512
    connections_per_ip: int = 64
    uncounted: tuple[Network, ...] = LOOPBACK
    bodies: int = 64 * 1024 * 1024
    bodies_per_ip: int = 16 * 1024 * 1024
    idle_seconds: float = 75.0
    first_seconds: float = 15.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    send_seconds: float = 30.0
    linger_seconds: float = 2.0
    request_line: int = 8 * 1024
    header_bytes: int = 64 * 1024
    header_lines: int = 100
    reader_bytes: int = READER_BYTES

    @classmethod
    def of(cls, http: Http) -> Limits:
        """Those that the configuration asks for."""
        return cls(
            connections=http.connections,
            connections_per_ip=http.connections_per_ip,
            uncounted=(*LOOPBACK, *http.trusted_proxies),
            bodies=http.max_body_memory,
            bodies_per_ip=max(http.max_body, http.max_body_memory // 4),
            header_seconds=http.header_timeout,
            body_seconds=http.body_timeout,
            idle_seconds=http.idle_timeout,
            reader_bytes=READER_BYTES + (TLS_BYTES if http.tls_cert else 0),
        )

    @property
    def keep_alive(self) -> tuple[tuple[str, str], ...]:
        """The headers that tell a client how long it may keep its connection, in whole seconds.

        A client that closes after so long never meets our end, which comes SPARE_SECONDS later. Below one
        second nothing can be said.
        """
        if self.idle_seconds < 1:
            return ()
        return ("Connection", "keep-alive"), ("Keep-Alive", f"timeout={int(self.idle_seconds)}")

    @property
    def most_bytes(self) -> int:
        """About how much memory the requests of all connections take at worst, on their way in.

        Bodies count twice: while one is being stored, there is its copy in the store's own form.
        """
        return 2 * self.bodies + self.connections * (self.header_bytes + self.reader_bytes)


def open_files() -> int | None:
    """How many files this process may have open; None is any number."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if most == resource.RLIM_INFINITY else most


def too_few_files(connections: int) -> str:
    """What to do when so many *connections* may take the last of the files; "" when they may not."""
    most, wanted = open_files(), connections + SPARE_FILES
    if most is None or most >= wanted:
        return ""
    return f"[http] connections wants {wanted}: ulimit -n {wanted}, or LimitNOFILE={wanted} in the unit"


def require_files(connections: int) -> None:
    """Raise ConfigError when a daemon could not begin to work with the files that may be open."""
    most = open_files()
    if most is not None and most < LEAST_FILES:
        remedy = too_few_files(connections)
        raise ConfigError(f"open files: expected at least {LEAST_FILES}, got {most}; {remedy}")
