"""The Flask application of the public listener, and the fast path of deliveries past it.

A delivery that names a hook goes straight to its `Receiver`: Flask's contexts, routing and session
would cost as much as verifying, parsing and storing it together (docs/performance.md). Everything
else — health, unknown names, other methods — is Flask's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Rule

from ..clock import Clock
from ..errors import Refused
from ..http import REQUEST_ID, WsgiApp
from ..http.problem import Answer, answer
from ..model import Event, Receipt
from .admission import Admission
from .delivery import Receiver, refuse
from .origin import is_of_this_machine

if TYPE_CHECKING:
    from ..config import Hook

    Hooks = Callable[[], Mapping[str, Hook]]

_PREFIX: Final = "/hooks/"
NOT_READY: Final = "not ready"


def create_app(
    *,
    hooks: Hooks,
    publish: Callable[[Event], Receipt],
    ready: Callable[[], str | None],
    clock: Clock,
    max_body: int,
    admission: Admission | None = None,
    remark: Callable[[], str | None] = lambda: None,
) -> Flask:
    """The application of the public listener: ``POST /hooks/NAME``, ``GET /healthz``, ``GET /readyz``.

    *hooks* gives the present hooks by name and is asked for each delivery, so that a reload swaps
    them between two. *ready* gives the reason why no delivery should be sent here, or None; *remark* what is
    worth saying although they may come; neither may block, and only callers on this machine read them. *gate*
    turns deliveries away when there are too many of them. Errors that nobody expected propagate to
    the server, which logs them and answers 500.
    """
    app = Flask(__name__, static_folder=None, template_folder=None, root_path="/")
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.url_map.merge_slashes = False
    receiver = Receiver(publish, clock, max_body, admission or Admission())

    def turned_away(**_: str) -> Response:
        if request.method == "POST":  # Werkzeug takes //hooks/NAME for /hooks/NAME: it may well be there
            return _refused(Refused(404, "unknown_hook", "hook: there is none of this name"))
        # the same answer whether there is such a hook or not: its name is nobody's business
        return _refused(Refused(405, "method_not_allowed", "method: a delivery is a POST", {"Allow": "POST"}))

    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    def readyz() -> dict[str, str] | Response:
        reason, is_ours = ready(), is_of_this_machine(request.environ)
        if reason is not None:
            # answered, but not told: a probe is not an event, and one comes every few seconds
            detail = reason if is_ours else NOT_READY
            refusal = Refused(503, "not_ready", detail, receiver.retry_after())
            return _response(answer(refusal, request.environ.get(REQUEST_ID, "")))
        words = remark() if is_ours else None
        return {"status": "ready", "detail": words} if words else {"status": "ready"}

    # A rule without methods takes all of them.
    app.url_map.add(Rule(f"{_PREFIX}<name>", endpoint="turned_away"))
    app.view_functions["turned_away"] = turned_away
    app.add_url_rule("/healthz", view_func=healthz, provide_automatic_options=False)
    app.add_url_rule("/readyz", view_func=readyz, provide_automatic_options=False)
    app.register_error_handler(HTTPException, _not_routed)
    app.wsgi_app = Lane(app.wsgi_app, hooks, receiver)  # type: ignore[method-assign]  # Flask's own idiom
    return app


class Lane:
    """WSGI middleware: deliveries to a known hook pass here, the rest goes on to *app*."""

    def __init__(self, app: WsgiApp, hooks: Hooks, receiver: Receiver) -> None:
        self._app = app
        self._hooks = hooks
        self._receiver = receiver

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request. Blocks until a delivery is durable."""
        path: str = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] == "POST" and path.startswith(_PREFIX):
            hook = self._hooks().get(path[len(_PREFIX) :])
            if hook is not None:
                status, headers, body = self._receiver.receive(hook, environ)
                start_response(status, headers)
                return [body]
        return self._app(environ, start_response)


def _refused(refusal: Refused) -> Response:
    return _response(refuse(refusal, request.environ))


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)


def _not_routed(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    allow = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        allow = {"Allow": ", ".join(sorted(error.valid_methods))}
    return _refused(Refused(status, status.name.lower(), f"request: {status.phrase.lower()}", allow))
