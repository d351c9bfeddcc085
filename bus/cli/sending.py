"""Sends one delivery to a daemon's public listener, on TCP or a Unix socket."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from ..errors import MonqbusError, UsageError
from ..webhook.request import Request

ANSWER_SECONDS: Final = 30.0
LONGEST_ANSWER: Final = 64 * 1024
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where one listens, not we
_OURS: Final = frozenset({"content-length", "host", "connection", "transfer-encoding"})


class Target(NamedTuple):
    """Where a delivery goes: the URL without a query, and the file of a Unix socket, "" for TCP."""

    url: str
    socket: str = ""


class Answer(NamedTuple):
    """What came back."""

    status: int
    reason: str
    body: bytes


def address_of(place: str, hook: str, listen: Sequence[tuple[str, int] | Path]) -> Target:
    """The target that *place* is, a URL; without one this hook at the first address of *listen*.

    Raises UsageError.
    """
    if place:
        _require_url(place, hook)
        is_root = not urlsplit(place).path.strip("/")
        return Target(f"{place.rstrip('/')}/hooks/{hook}" if is_root else place)
    first = listen[0]
    if isinstance(first, Path):
        return Target(f"http://localhost/hooks/{hook}", str(first))
    host, port = first
    if port == 0:
        raise UsageError(
            f"--to: expected a URL, because listen has port 0; write http://HOST:PORT/hooks/{hook}"
        )
    host = _EVERYWHERE.get(host, host)
    return Target(f"http://{f'[{host}]' if ':' in host else host}:{port}/hooks/{hook}")


def _require_url(place: str, hook: str) -> None:
    """Raise UsageError unless *place* is a URL that can be asked; its password is not shown."""
    try:
        parts = urlsplit(place if place.isprintable() and " " not in place else "")
    except ValueError:  # half an IPv6 address
        parts = urlsplit("")
    remedy = f"write http://127.0.0.1:8080/hooks/{hook}"
    if "@" in parts.netloc:
        raise UsageError(f"--to: expected a URL without a user, got one with; {remedy}")
    try:
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        is_whole = False
    if not is_whole:
        raise UsageError(f"--to: expected a URL, got {place!r}; {remedy}")


def send(target: Target, request: Request, query: str) -> Answer:
    """Send *request* to *target* and wait up to ANSWER_SECONDS for what comes. Raises MonqbusError."""
    parts = urlsplit(target.url)
    connection = _connection(target, parts.scheme, parts.hostname or "", parts.port)
    headers = {name: value for name, value in request.headers.items() if name not in _OURS}
    try:
        connection.request(
            request.method,
            f"{parts.path}?{query}" if query else parts.path,
            request.body,
            {name: value.encode("latin-1", "replace") for name, value in headers.items()},
        )
        answer = connection.getresponse()
        return Answer(answer.status, answer.reason, answer.read(LONGEST_ANSWER))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        remedy = "start the daemon with `monqbus run`, or name its address with --to"
        raise MonqbusError(f"{target.url}: not reached: {reason}; {remedy}") from error
    finally:
        connection.close()


def _connection(target: Target, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if target.socket:
        return _Local(target.socket)
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=context)
    return http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)


class _Local(http.client.HTTPConnection):
    """A connection to the file of a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Open it."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._path)
