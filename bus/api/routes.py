"""The table of the API's routes, of which the control socket, the administrators' listener and the OpenAPI
document are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from ..access.gate import ANY_SEGMENT, Route, as_refusal
from ..access.roles import Role
from ..access.visitor import VISITOR
from ..errors import MonqbusError
from ..http.problem import Answer
from ..operations import OPERATOR, ROLE_OF
from . import schemas
from .access import AccessApi
from .openapi import document_of
from .requests import answered, problem
from .schemas import Schema
from .server import Api

PREFIX: Final = "/api/v1"
BY: Final = "HTTP_X_MONQBUS_BY"
_NAME: Final = re.compile(r"[!-~]{1,200}")


class ApiRoute(NamedTuple):
    """One route. ``{name}`` in *path* is an argument of *answer*, others are *given*.

    *query* are its parameters, *body* is what it takes, *gives* the members of its answer, with *status*. One
    that *is_local* is answered on the control socket alone.
    """

    method: str
    path: str
    answer: Callable[..., Response]
    role: Role
    gives: Schema
    query: Mapping[str, Schema] = {}
    body: Schema | None = None
    needs_body: bool = True
    status: int = 200
    given: Mapping[str, str] = {}
    is_local: bool = False

    @property
    def name(self) -> str:
        """Of the operation: one for each route."""
        return "_".join([self.answer.__name__, *self.given.values()])


def _acts() -> Iterable[ApiRoute]:
    for verb in ("retry", "cancel", "purge"):
        yield ApiRoute(
            "POST",
            f"/tasks/{verb}",
            Api.act_on_tasks,
            ROLE_OF[verb],
            schemas.STEP,
            body=schemas.ACT,
            given={"action": verb},
        )
        yield ApiRoute(
            "POST",
            f"/tasks/{{task_id}}/{verb}",
            Api.act_on_task,
            ROLE_OF[verb],
            schemas.DONE,
            given={"action": verb},
        )


VIEWER, ADMIN = Role.VIEWER, Role.ADMIN
ROUTES: Final[tuple[ApiRoute, ...]] = (
    ApiRoute("GET", "/tasks", Api.list_tasks, VIEWER, schemas.TASKS, query=schemas.TASK_QUERY),
    ApiRoute("POST", "/tasks", Api.post_task, ROLE_OF["post"], schemas.POSTED, body=schemas.POST, status=201),
    ApiRoute("POST", "/tasks/find", Api.find_tasks, VIEWER, schemas.TASKS, body=schemas.FIND_TASKS),
    ApiRoute("POST", "/tasks/count", Api.count_tasks, VIEWER, schemas.COUNTS, body=schemas.COUNT),
    *_acts(),
    ApiRoute("GET", "/tasks/{task_id}", Api.show_task, VIEWER, schemas.ONE_TASK),
    ApiRoute("GET", "/counts", Api.counts, VIEWER, schemas.COUNTS, query=schemas.COUNT_QUERY),
    ApiRoute("GET", "/events", Api.list_events, VIEWER, schemas.EVENTS, query=schemas.EVENT_QUERY),
    ApiRoute(
        "POST",
        "/events",
        Api.publish_event,
        ROLE_OF["publish"],
        schemas.PUBLISHED,
        body=schemas.PUBLISH,
        status=201,
    ),
    ApiRoute("POST", "/events/find", Api.find_events, VIEWER, schemas.EVENTS, body=schemas.FIND_EVENTS),
    ApiRoute("GET", "/events/{event_id}", Api.show_event, VIEWER, schemas.ONE_EVENT),
    ApiRoute(
        "POST",
        "/events/{event_id}/replay",
        Api.replay_event,
        ROLE_OF["replay"],
        schemas.RECEIPT,
        body=schemas.ID_ALONE,
        needs_body=False,
        status=201,
    ),
    ApiRoute(
        "GET", "/deliveries", Api.list_deliveries, VIEWER, schemas.DELIVERIES, query=schemas.DELIVERY_QUERY
    ),
    ApiRoute(
        "POST",
        "/deliveries/find",
        Api.find_deliveries,
        VIEWER,
        schemas.DELIVERIES,
        body=schemas.FIND_DELIVERIES,
    ),
    ApiRoute("GET", "/deliveries/{delivery_id}", Api.show_delivery, VIEWER, schemas.ONE_DELIVERY),
    ApiRoute("GET", "/topics", Api.list_topics, VIEWER, schemas.TOPICS),
    ApiRoute("GET", "/handlers", Api.list_handlers, VIEWER, schemas.rows_of("handlers")),
    ApiRoute("GET", "/hooks", Api.list_hooks, VIEWER, schemas.rows_of("hooks")),
    ApiRoute("GET", "/workers", Api.show_workers, VIEWER, schemas.OBJECT),
    ApiRoute("GET", "/schedules", Api.show_schedules, VIEWER, schemas.rows_of("schedules")),
    ApiRoute(
        "POST",
        "/schedules/{name}/run",
        Api.run_schedule,
        ROLE_OF["run schedule"],
        schemas.RECEIPT,
        body=schemas.ID_ALONE,
        needs_body=False,
        status=201,
    ),
    ApiRoute("GET", "/pauses", Api.show_pauses, VIEWER, schemas.rows_of("pauses")),
    ApiRoute(
        "POST", "/pauses", Api.pause, ROLE_OF["pause"], schemas.ONE_PAUSE, body=schemas.PAUSE, status=201
    ),
    ApiRoute("POST", "/pauses/resume", Api.resume, ROLE_OF["resume"], schemas.ONE_PAUSE, body=schemas.RESUME),
    ApiRoute(
        "POST",
        "/backup",
        Api.back_up,
        ROLE_OF["backup"],
        schemas.OBJECT,
        body=schemas.BACKUP,
        status=201,
        is_local=True,
    ),
    ApiRoute("GET", "/facts", Api.count_facts, VIEWER, schemas.OBJECT),
    ApiRoute("GET", "/status", Api.show_status, VIEWER, schemas.OBJECT),
    ApiRoute("GET", "/users", AccessApi.list_users, ADMIN, schemas.rows_of("users")),
    ApiRoute("POST", "/users", AccessApi.add_user, ADMIN, schemas.ONE_USER, body=schemas.USER, status=201),
    ApiRoute("POST", "/users/{name}/remove", AccessApi.remove_user, ADMIN, schemas.ONE_USER),
    ApiRoute(
        "POST",
        "/users/{name}/password",
        AccessApi.set_password,
        ADMIN,
        schemas.ONE_USER,
        body=schemas.PASSWORD,
    ),
    ApiRoute("POST", "/users/{name}/role", AccessApi.set_role, ADMIN, schemas.ONE_USER, body=schemas.ROLE),
    ApiRoute("GET", "/tokens", AccessApi.list_tokens, ADMIN, schemas.rows_of("tokens")),
    ApiRoute(
        "POST", "/tokens", AccessApi.add_token, ADMIN, schemas.ONE_TOKEN, body=schemas.TOKEN, status=201
    ),
    ApiRoute("POST", "/tokens/{token}/revoke", AccessApi.revoke_token, ADMIN, schemas.ONE_TOKEN),
    ApiRoute("POST", "/links", AccessApi.add_link, ADMIN, schemas.OBJECT, body=schemas.LINK, status=201),
    ApiRoute("GET", "/audit", AccessApi.list_audit, ADMIN, schemas.AUDIT, query=schemas.AUDIT_QUERY),
)


def create_api(api: Api, access: AccessApi | None = None) -> Flask:
    """The WSGI application of the control socket, under ``/api/v1``: who reaches it is the operator.

    Without *access* nobody can be given any.
    """
    app = _flask(api, access, [route for route in ROUTES if access or route.answer.__name__ in dir(Api)])
    served = app.wsgi_app

    def by_operator(environ: dict[str, Any], start_response: Any) -> Any:
        name = environ.get(BY, "")
        environ[VISITOR] = replace(OPERATOR, name=name) if _NAME.fullmatch(name) else OPERATOR
        return served(environ, start_response)

    app.wsgi_app = by_operator  # type: ignore[method-assign]
    return app


def api_routes(api: Api, access: AccessApi) -> list[Route]:
    """The same routes for a Gate, which has checked who asks, and the OpenAPI document of them."""
    served = [route for route in ROUTES if not route.is_local]
    app = _flask(api, access, served)
    document = document_of(served, PREFIX)

    def openapi() -> Response:
        return answered(document)

    app.add_url_rule(f"{PREFIX}/openapi.json", "openapi", openapi, methods=["GET"])

    def answer(environ: Mapping[str, Any]) -> Answer:
        return _whole(app, environ)

    routes = [
        Route(route.method, f"{PREFIX}{_for_gate(route.path)}", route.role, answer, is_page=False)
        for route in served
    ]
    return [*routes, Route("GET", f"{PREFIX}/openapi.json", Role.VIEWER, answer, is_page=False)]


def _flask(api: Api, access: AccessApi | None, routes: Iterable[ApiRoute]) -> Flask:
    app = Flask("monqbus.api", static_folder=None, root_path="/")
    for route in routes:
        owner = api if route.answer.__name__ in dir(Api) else access
        rule = f"{PREFIX}{route.path.replace('{', '<').replace('}', '>')}"
        view = partial(route.answer, owner, **route.given)
        app.add_url_rule(
            rule,
            f"{route.method} {route.path}",
            view,
            methods=[route.method],
            provide_automatic_options=False,
        )
    app.before_request(api.catch_up)
    app.register_error_handler(MonqbusError, _failed)
    app.register_error_handler(HTTPException, _no_such_thing)
    return app


def _for_gate(path: str) -> str:
    return "/".join(ANY_SEGMENT if part.startswith("{") else part for part in path.split("/"))


def _whole(app: Flask, environ: Mapping[str, Any]) -> Answer:
    """The answer of *app*, whole."""
    begun: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        begun[:] = [status, headers]

    body = b"".join(app(dict(environ), start_response))
    return Answer(begun[0], begun[1], body)


def _failed(error: MonqbusError) -> Response:
    refusal = as_refusal(error)
    return problem(refusal.status, refusal.code, refusal.detail, refusal.headers)


def _no_such_thing(error: HTTPException) -> Response:
    return problem(error.code or 500, "http", error.description or error.name)
