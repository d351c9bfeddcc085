"""A WSGI application that says what it understood."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from bus.errors import Refused
from bus.http import read_body

MAX_BODY = 1000


class Echo:
    """Answers what it understood. ``/wait`` waits for `gate`, ``/fail`` fails, ``/refuse`` refuses."""

    def __init__(self) -> None:
        self.entered = Event()
        self.gate = Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        path = environ["PATH_INFO"]
        if path == "/fail":
            raise ValueError("raw outside text\r\n\x1b[31m")
        if path == "/refuse":
            raise Refused(409, "busy", "thing: busy")
        if path == "/ignore":
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]
        if path == "/pieces":
            start_response("200 OK", [("Cache-Control", "max-age=60")])
            return iter([b"one ", b"", b"two"])  # type: ignore[return-value]
        body = read_body(environ, MAX_BODY)
        if path == "/wait":
            self.entered.set()
            self.gate.wait(5)
        understood = {
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "query": environ["QUERY_STRING"],
            "host": environ.get("HTTP_HOST"),
            "body": body.decode("latin-1"),
            "x": environ.get("HTTP_X_SIG"),
        }
        answer = json.dumps(understood).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]
