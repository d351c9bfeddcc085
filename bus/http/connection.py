"""One client connection: read a request, let the application answer, keep alive or close."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from contextlib import closing, suppress
from email.utils import format_datetime
from http import HTTPStatus
from io import BufferedReader
from socket import MSG_DONTWAIT, MSG_PEEK, SHUT_RDWR, SHUT_WR
from typing import Any, Final, Protocol

from gevent.pywsgi import WSGIHandler

from ..clock import Clock
from ..errors import Refused
from ..telemetry import emit
from . import problem
from .access_log import AccessLog, Said
from .body import BodyStream
from .body_budget import BodyBudget
from .deadline_reader import DeadlineReader
from .eviction import GRACE_SECONDS, Stage
from .limits import SPARE_SECONDS, Limits
from .problem import Answer, Rest
from .request import Head, read_head
from .tls import HANDSHAKE_GRACE_SECONDS, Tls, TlsReader, TlsWire, begins_tls, failure_of, plain_http
from .turns import REQUEST_STEPS
from .url_map import Endpoint

_CLOCK = Clock()
_LOG = logging.getLogger("monqbus")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ONE_SEND_BYTES: Final = 64 * 1024

_DEFAULTS: Final = (
    ("x-content-type-options", "X-Content-Type-Options", "nosniff"),
    ("cache-control", "Cache-Control", "no-store"),
)
"""What an answer says unless it says something else itself: as `given` has it, and as it is sent."""


_DATE_SECONDS: Final = 0.5


class _Date:
    """The value of the header Date, put together anew after _DATE_SECONDS."""

    def __init__(self) -> None:
        self._text = ""
        self._until = 0.0

    def __str__(self) -> str:
        now = _CLOCK.monotonic()
        if now >= self._until:
            self._text = format_datetime(_CLOCK.wall(), usegmt=True)
            self._until = now + _DATE_SECONDS
        return self._text


_DATE: Final = _Date()


class ClientGone(Exception):
    """The answer cannot be sent: the client left, or takes it too slowly."""


class Owner(Protocol):
    """What a connection asks of the server that accepted it."""

    limits: Limits
    bodies: BodyBudget
    application: Any
    endpoint: Endpoint | None
    """The same as one call that gives the whole answer, where the application has it."""
    environ: Mapping[str, Any]
    """What the environ of every request holds."""
    keep_alive: tuple[tuple[str, str], ...]
    """What an answer says when it is not its connection's last."""
    is_stopping: bool
    is_leaving: bool
    tls: Tls | None
    """What TCP connections are encrypted with; those of Unix sockets are not."""
    access_log: AccessLog | None
    """Is told of each request that was answered."""
    is_full: bool
    """Whether others wait for a place: each answer is then its connection's last."""


class Connection(WSGIHandler):  # type: ignore[misc]  # gevent has no type hints
    """pywsgi's handler with its reading and its error answers replaced, its WSGI writing kept.

    Runs in a greenlet of its own. `stage` says since when nothing, or how much, of a client's would be
    lost by hanging up; `is_idle`, that no request has begun or the last answer is out. *who* is the
    name under which its address is counted.
    """

    environ: dict[str, Any]
    wsgi_input: BodyStream | None
    status: bytes
    response_length: int

    def __init__(self, sock: Any, address: Any, server: Owner, who: str = "") -> None:
        # Not super().__init__: it would open a second, deadline-free reader on the socket.
        self.socket = sock
        self.server = server
        self.reader = DeadlineReader(sock)
        self.rfile: BufferedReader[Any] = BufferedReader(self.reader)
        self._wire: TlsWire | None = None
        self._is_greeting = False
        self.who = who
        self.is_idle = True
        self.stage = Stage.SILENT
        self.since = _CLOCK.monotonic()
        self.must_linger = self.gave_way = False
        self.request_id = ""
        self.share = server.bodies.share(self.reader, who)
        self._known: dict[str, Any] = {problem.REQUEST_ID: ""}
        if isinstance(address, tuple):
            self._known.update(REMOTE_ADDR=address[0], REMOTE_PORT=str(address[1]))
        self._tls = server.tls if isinstance(address, tuple) else None

    def may_give_way(self, now: float) -> bool:
        """Whether another one may have this place, were none free at *now*."""
        if self.stage is Stage.ARRIVING:
            return not self._has_body and self.share.is_slow(now)
        if self._is_greeting and self.stage is Stage.SILENT:
            return now - self.since > HANDSHAKE_GRACE_SECONDS
        return now - self.since > GRACE_SECONDS.get(self.stage, math.inf)

    def give_way(self) -> None:
        """End soon: a request that has begun is answered 503. Never blocks."""
        self.gave_way = True
        detail = "connections: all are taken, and this one had shown least for longest; send it again"
        self.reader.cut(Refused(503, "connections_full", detail, problem.retry_after(_CLOCK)))
        if self.stage is Stage.SENDING:
            with suppress(OSError):  # the client may have been faster
                self.socket.shutdown(SHUT_RDWR)

    @property
    def _has_body(self) -> bool:
        return self.wsgi_input is not None and self.wsgi_input.is_finished

    def _stand(self, stage: Stage) -> None:
        self.stage = stage
        self.since = _CLOCK.monotonic()

    def handle(self) -> None:
        """Serve requests until one side has had enough. Never raises but to be killed."""
        try:
            if self._tls is not None and not self._encrypt(self._tls, self._longest_wait):
                return
            while self.await_request() and self.handle_one_request():
                pass
            if self.must_linger:
                self.linger()
        except (OSError, ClientGone):
            pass  # leaving is the client's right
        finally:
            self._close()

    def _encrypt(self, tls: Tls, first_seconds: float) -> bool:
        """Begin TLS; False when the client does not, and has been told so in plain HTTP if it speaks that.

        Blocks until the handshake is over, its first byte for *first_seconds*; raises OSError.
        """
        try:
            self.reader.allow(first_seconds, "request")
            byte = self.reader.first_byte()
            if not byte:
                return False
            if not begins_tls(byte):
                self._refuse_plain()
                return False
            self._is_greeting = True
            self._stand(self.stage)
            self.reader.allow(self.server.limits.header_seconds, "TLS handshake")
            self._wire = tls.wire(self.reader, self._send_handshake)
            self._wire.shake_hands()
        except Refused as refusal:
            # nothing can be said to a client before the handshake; one that was asked to leave did not fail
            if self._is_greeting and refusal.status == HTTPStatus.REQUEST_TIMEOUT:
                _tell_failed(refusal, self._known)
            return False
        except OSError as error:
            if self._is_greeting:
                _tell_failed(error, self._known)
            raise
        self._stand(self.stage)
        self.rfile = BufferedReader(TlsReader(self._wire))
        self._known["wsgi.url_scheme"] = "https"
        return True

    def _send_handshake(self, data: bytes) -> None:
        """What reading asks for is under the deadline of that reading."""
        self.socket.settimeout(self.reader.time_left())
        self.socket.sendall(data)

    def _refuse_plain(self) -> None:
        self._forget_last()
        self.refuse(plain_http())
        self._note(self.since)
        self.linger()

    def _close(self) -> None:
        """Close without waiting for anybody: what does not fit into the socket any more is not said."""
        if self._wire is not None:
            with suppress(OSError):
                self.socket._sock.send(self._wire.farewell())
        self.socket.close()

    def turn_away(self, refusal: Refused) -> None:
        """Answer *refusal* without reading a request, and close. Tells no fact: this must stay cheap."""
        self.stage = Stage.LEAVING
        self._forget_last()
        try:
            if self._tls is not None and not self._encrypt(self._tls, self.server.limits.linger_seconds):
                return
            self._answer(refusal)
            self.linger()
        except (OSError, ClientGone):
            pass
        finally:
            self._close()

    def await_request(self) -> bool:
        """Wait for the first byte of a request; False when none came in time."""
        if self.server.is_stopping and self.stage is not Stage.SILENT:
            self.reader.hang_up()
        self.is_idle = True
        if self.stage is not Stage.SILENT:
            self._stand(Stage.IDLE)
        self.reader.allow(self._longest_wait, "request")
        try:
            return bool(self.rfile.peek(1))
        except Refused:
            return False
        finally:
            self.is_idle = False

    @property
    def _longest_wait(self) -> float:
        """How long the next request may take to begin, in seconds."""
        limits = self.server.limits
        if self.stage is Stage.SILENT:
            return min(limits.first_seconds, limits.idle_seconds)
        return limits.idle_seconds + (SPARE_SECONDS if self.server.keep_alive else 0.0)

    def handle_one_request(self) -> bool:
        """Read and answer one request; True when another one may follow."""
        self._forget_last()
        begun = 0.0 if self.server.access_log is None else _CLOCK.monotonic()
        try:
            self.reader.allow(self.server.limits.header_seconds, "headers")
            self.reader.meter.spend(REQUEST_STEPS)
            self._begin(read_head(self.rfile, self.server.limits))
            self.reader.allow(self.server.limits.body_seconds, "body")
            if self.server.endpoint is None:
                self.run_application()
            else:
                self._send(self.server.endpoint(self.environ))
        except Refused as refusal:
            self.refuse(refusal)
        except ClientGone:
            self.close_connection = True
        except Exception:  # noqa: BLE001 - the HTTP edge: a bug costs one answer, not the daemon
            _LOG.exception("request %s: the application failed", self.request_id)
            self.refuse(Refused(500, "internal_error", "server: failed; its log says more under this id"))
        finally:
            self.share.give_back()
        self._note(begun)
        return not self.close_connection

    def _note(self, begun: float) -> None:
        """Have the access log tell what was answered since *begun*."""
        if self.server.access_log is not None and self.answered:
            said = Said(int(self.answered[:3]), self.response_length, _CLOCK.monotonic() - begun)
            self.server.access_log.note(self.environ if self.command else self._peer(), said)

    def refuse(self, refusal: Refused) -> None:
        """Answer with a problem document; where the next request would begin may be unknown after it."""
        if not self.gave_way:  # a flood of connections is not a flood of lines
            problem.tell(refusal, self.environ if self.command else self._peer())
        if self.response_length:
            self.close_connection = True  # a second answer inside the first one would only confuse
            return
        try:
            self._answer(refusal)
        except ClientGone:
            self.close_connection = True

    def _answer(self, refusal: Refused) -> None:
        answer = problem.answer(refusal, self.request_id)
        self._send(answer._replace(body=b"") if self.command == "HEAD" else answer)

    def _send(self, answer: Answer) -> None:
        """Send *answer*, which says its own length, with what every answer carries.

        In one step for nearly all requests, where pywsgi takes five.
        """
        status, headers, body, rest = answer
        if rest is None:
            self._send_head(status, headers, body)
            return
        with closing(rest):  # also when the head is not taken
            self._send_head(status, headers, body, is_last=True)
            self._send_rest(rest)

    def _send_head(
        self, status: str, headers: list[tuple[str, str]], body: bytes, *, is_last: bool = False
    ) -> None:
        """Send the head of an answer, and the body that is there."""
        self._decide_whether_last()
        self.close_connection = self.close_connection or is_last
        self.answered = status
        given = {name.lower() for name, _ in headers}
        lines = [f"HTTP/1.1 {status}", *[f"{name}: {value}" for name, value in headers], f"Date: {_DATE}"]
        lines += [f"{name}: {value}" for key, name, value in _DEFAULTS if key not in given]
        lines.append(f"X-Request-Id: {self.request_id}")
        if self.close_connection:
            lines.append("Connection: close")
        elif self.request_version == "HTTP/1.0":
            lines.append("Connection: keep-alive")
        else:
            lines += [f"{name}: {value}" for name, value in self.server.keep_alive]
        text = "\r\n".join(lines)
        if not text.count("\r") == text.count("\n") == len(lines) - 1:
            raise ValueError(f"answer: expected headers of one line each, got {text!r}")
        self._send_both(text.encode("latin-1") + b"\r\n\r\n", body)

    def _send_rest(self, rest: Rest) -> None:
        """Send each piece as it comes. An empty one sends nothing, and is the moment to see who has left."""
        for piece in rest:
            if self.server.is_stopping or self._has_left():
                break
            if piece:
                self._sendall(piece)

    def _has_left(self) -> bool:
        """Whether the client has hung up. Whatever it sends now is not read: this answer is the last."""
        try:
            return not self.socket._sock.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def linger(self) -> None:
        """Read and forget for a moment: closing over unread bytes would reset the answer away."""
        if self.gave_way:
            return
        self.is_idle = True
        self._stand(Stage.LEAVING)
        if self._wire is not None:
            self._send_what_fits(self._wire.farewell())
        self.socket.shutdown(SHUT_WR)
        self.reader.allow(self.server.limits.linger_seconds, "rest")
        rest = bytearray(_ONE_SEND_BYTES)
        try:
            while self.reader.readinto(rest):
                pass
        except Refused:
            pass

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """WSGI's; also decides whether this answer is the connection's last."""
        self._decide_whether_last()
        self.answered = status
        return super().start_response(status, headers, exc_info)

    def _decide_whether_last(self) -> None:
        if self.wsgi_input is None or not self.wsgi_input.is_finished:
            self.close_connection = self.must_linger = True
        if self.server.is_leaving or self.server.is_stopping or self.server.is_full:
            self.close_connection = True

    def finalize_headers(self) -> None:
        """Add what every answer carries, unless the application gave its own."""
        super().finalize_headers()
        given = {name.lower() for name, _ in self.response_headers}
        self.response_headers += [
            (name.encode("ascii"), value.encode("ascii"))
            for key, name, value in _DEFAULTS
            if key.encode("ascii") not in given
        ]
        self.response_headers.append((b"X-Request-Id", self.request_id.encode("ascii")))
        if b"connection" not in given:
            kept = (("Connection", "close"),) if self.close_connection else self.server.keep_alive
            self.response_headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in kept]

    def _forget_last(self) -> None:
        self.request_id = str(_CLOCK.new_id())
        self.wsgi_input = None
        self.result = None
        self.status = b""
        self.code = self.response_length = 0
        self.answered = ""
        self.command = ""
        self.request_version = "HTTP/1.1"
        self.headers_sent = self.response_use_chunked = self.close_connection = False

    def _begin(self, head: Head) -> None:
        given_id = head.fields.get("HTTP_X_REQUEST_ID", "")
        if _REQUEST_ID.fullmatch(given_id):
            self.request_id = given_id
        self.command = head.method
        self.request_version = head.version
        self.close_connection = head.is_last
        self.share = self.server.bodies.share(self.reader, self.who)
        self.wsgi_input = BodyStream(
            self.rfile,
            self.reader,
            self.share,
            length=head.length,
            chunked=head.is_chunked,
            waiting=self if head.expects_continue else None,
        )
        self.stage = Stage.WORKING if self.wsgi_input.is_finished else Stage.ARRIVING
        self.application = self.server.application
        self.environ = self._environ(head)

    def _environ(self, head: Head) -> dict[str, Any]:
        return {
            **self.server.environ,
            **head.fields,
            "REQUEST_METHOD": head.method,
            "PATH_INFO": head.path,
            "QUERY_STRING": head.query,
            "SERVER_PROTOCOL": head.version,
            "wsgi.input": self.wsgi_input,
            "wsgi.input_terminated": True,
            **self._known,
            problem.REQUEST_ID: self.request_id,
        }

    def _peer(self) -> dict[str, Any]:
        """What is known of a request before its head is read."""
        return {**self._known, problem.REQUEST_ID: self.request_id}

    def _write_with_headers(self, data: bytes) -> None:
        # pywsgi sends headers and body apart: two system calls, two packets.
        self.headers_sent = True
        self.finalize_headers()
        lines = [b"HTTP/1.1 " + self.status]
        lines += [name + b": " + value for name, value in self.response_headers]
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        if self.response_use_chunked:
            self._sendall(head)
            self._write(data)
        else:
            self._send_both(head, data)

    def _send_both(self, head: bytes, data: bytes) -> None:
        if len(data) > _ONE_SEND_BYTES:
            self._sendall(head)
            self._sendall(data)
        else:
            self._sendall(head + data)

    def sendall(self, data: bytes) -> None:
        """Send *data* between two answers. Blocks as long as the client lets it; raises OSError."""
        self.socket.sendall(data if self._wire is None else self._wire.sealed(data))

    def _sendall(self, plain: bytes) -> None:
        self.stage = Stage.WORKING
        try:
            data = plain if self._wire is None else self._wire.sealed(plain)
            sent = self._send_what_fits(data)
            if sent < len(data):
                self._stand(Stage.SENDING)
                self.socket.settimeout(self.server.limits.send_seconds)
                self.socket.sendall(memoryview(data)[sent:])
        except OSError as error:
            raise ClientGone from error
        self.response_length += len(plain)

    def _send_what_fits(self, data: bytes) -> int:
        try:
            return int(self.socket._sock.send(data))  # that of the operating system, which never waits
        except BlockingIOError:
            return 0


def _tell_failed(error: BaseException, known: Mapping[str, Any]) -> None:
    code, reason = failure_of(error)
    emit("tls.failed", code=code, reason=reason, peer=known.get("REMOTE_ADDR", ""))
