"""A client that sends exactly the bytes it is told to, and reads the answers apart."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from bus import telemetry
from bus.http import Limits, Server, WsgiApp, listen_tcp

PATIENCE_SECONDS = 5.0

Address = Any


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_last(self) -> bool:
        return self.headers.get("connection") == "close"


class Stranger:
    """One connection. Reading fails the test when nothing comes for five seconds."""

    def __init__(self, address: Address, *, source: str = "", tls: ssl.SSLContext | None = None) -> None:
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE_SECONDS)
        try:
            if source:
                self._socket.bind((source, 0))
            self._socket.connect(address)
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        except OSError:
            self._socket.close()
            raise
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def half_close(self) -> None:
        socket.socket.shutdown(
            self._socket, socket.SHUT_WR
        )  # that of TLS would leave only ciphertext to read

    def send_plainly(self, data: bytes) -> None:
        """Beside the encryption."""
        self._socket._sock.sendall(data)  # type: ignore[attr-defined]  # gevent's

    def rest(self) -> bytes:
        """Everything that comes until the end of the stream."""
        try:
            return self._stream.read()
        except ConnectionResetError:
            return b""

    def some(self) -> bytes:
        """What is there, at least one byte; b"" at the end of the stream."""
        return self._stream.read1(65536)

    def answer(self, *, has_body: bool = True) -> Answer:
        status = int(self._stream.readline().split()[1])
        headers = dict(self._fields())
        length = int(headers.get("content-length", 0)) if has_body else 0
        return Answer(status, headers, self._stream.read(length))

    def is_hung_up(self) -> bool:
        """Wait for the end of the stream; anything but the end is an answer too many."""
        try:
            return self._stream.read(1) == b""
        except ConnectionResetError:
            return True

    def ends_in_order(self) -> bool:
        """Wait for the end of the stream; a reset could have taken an answer with it."""
        try:
            return self._stream.read(1) == b""
        except ConnectionResetError:
            return False

    def _fields(self) -> Iterator[tuple[str, str]]:
        while (line := self._stream.readline().decode("latin-1").rstrip("\r\n")) != "":
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()


def ask(address: Address, data: bytes, *, tls: ssl.SSLContext | None = None) -> Answer:
    """Send *data* on a connection of its own and read one answer."""
    with Stranger(address, tls=tls) as stranger:
        stranger.send(data)
        return stranger.answer()


def post(path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a well-formed POST."""
    fields = {"Host": "monqbus.test", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(path: str, *chunks: bytes, **headers: str) -> bytes:
    """The bytes of a POST whose body comes in *chunks*."""
    fields = {"Host": "monqbus.test", "Transfer-Encoding": "chunked", **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, *lines: str, version: str = "HTTP/1.1") -> bytes:
    """The bytes of a GET with further header *lines*."""
    return "\r\n".join([f"GET {path} {version}", "Host: monqbus.test", *lines, "", ""]).encode("latin-1")


@contextmanager
def serving(app: WsgiApp, limits: Limits | None = None, **options: Any) -> Iterator[Server]:
    """A started server on a free port of 127.0.0.1."""
    server = Server([listen_tcp("127.0.0.1", 0)], app, limits, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop(0.0)


@contextmanager
def told() -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    """The facts emitted meanwhile."""
    facts: list[tuple[str, Mapping[str, Any]]] = []
    forget = telemetry.listen(lambda fact, fields: facts.append((fact, dict(fields))))
    try:
        yield facts
    finally:
        forget()
