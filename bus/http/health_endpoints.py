"""`GET /healthz`: whether the process answers. `GET /readyz`: whether deliveries should be sent here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from json import dumps
from typing import Any, Final

from ..clock import Clock
from ..errors import Refused
from .origin import is_of_this_machine
from .problem import REQUEST_ID, Answer, answer, retry_after
from .url_map import Endpoint

NOT_READY: Final = "not ready"


def healthz(environ: Mapping[str, Any]) -> Answer:
    """The endpoint that touches nothing. Raises Refused for other methods than GET and HEAD."""
    _require_get(environ)
    return _answered(environ, {"status": "ok"})


def readyz(
    ready: Callable[[], str | None], clock: Clock, remark: Callable[[], str | None] = lambda: None
) -> Endpoint:
    """The endpoint that answers 200 when *ready* gives None, else 503 and the reason that it gives.

    *remark* gives what is worth saying although deliveries may come; neither may block, and only callers on
    this machine read them.
    """

    def readyz(environ: Mapping[str, Any]) -> Answer:
        _require_get(environ)
        reason, is_ours = ready(), is_of_this_machine(environ)
        if reason is not None:
            # answered, but not told: a probe is not an event, and one comes every few seconds
            detail = reason if is_ours else NOT_READY
            refusal = Refused(503, "not_ready", detail, retry_after(clock))
            return _for(environ, answer(refusal, environ.get(REQUEST_ID, "")))
        words = remark() if is_ours else None
        return _answered(environ, {"status": "ready"} | ({"detail": words} if words else {}))

    return readyz


def _require_get(environ: Mapping[str, Any]) -> None:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        allow = {"Allow": "GET, HEAD"}
        raise Refused(405, "method_not_allowed", "request: method not allowed", allow)


def _answered(environ: Mapping[str, Any], content: Mapping[str, str]) -> Answer:
    body = dumps(content).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return _for(environ, Answer("200 OK", headers, body))


def _for(environ: Mapping[str, Any], whole: Answer) -> Answer:
    """*whole* without its body for a HEAD: RFC 9110 section 9.3.2."""
    return whole._replace(body=b"") if environ["REQUEST_METHOD"] == "HEAD" else whole
