"""Every path of the desk, the least role that it takes, and what an error looks like there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from ..access import Role, Route
from ..access.gate import as_refusal
from ..errors import MonqbusError, Refused
from ..http.problem import Answer
from ..http.url_map import Endpoint
from . import (
    assets,
    audit_page,
    config_page,
    error_list,
    event_pages,
    handler_pages,
    overview,
    task_list,
    task_page,
)
from .desk import Desk

Page = Callable[[Desk, Mapping[str, Any]], Answer]

PAGES: Final[tuple[tuple[str, str, Role, Page], ...]] = (
    ("GET", "/", Role.VIEWER, overview.show),
    ("GET", "/search", Role.VIEWER, task_list.search_all),
    ("GET", "/tasks", Role.VIEWER, task_list.show),
    ("POST", "/tasks", Role.OPERATOR, task_list.act),
    ("GET", "/tasks/NAME", Role.VIEWER, task_page.show),
    ("POST", "/tasks/NAME/NAME", Role.OPERATOR, task_page.act),
    ("GET", "/tasks/NAME/again", Role.OPERATOR, task_page.edit),
    ("POST", "/tasks/NAME/again", Role.OPERATOR, task_page.post_again),
    ("GET", "/errors", Role.VIEWER, error_list.show),
    ("GET", "/events", Role.VIEWER, event_pages.show_events),
    ("POST", "/events", Role.OPERATOR, event_pages.publish),
    ("GET", "/events/NAME", Role.VIEWER, event_pages.show_event),
    ("POST", "/events/NAME/replay", Role.OPERATOR, event_pages.replay),
    ("GET", "/deliveries", Role.VIEWER, event_pages.show_deliveries),
    ("GET", "/deliveries/NAME", Role.VIEWER, event_pages.show_delivery),
    ("GET", "/handlers", Role.VIEWER, handler_pages.show_handlers),
    ("GET", "/handlers/NAME", Role.VIEWER, handler_pages.show_handler),
    ("POST", "/pauses", Role.OPERATOR, handler_pages.pause),
    ("POST", "/pauses/resume", Role.OPERATOR, handler_pages.resume),
    ("GET", "/schedules", Role.VIEWER, handler_pages.show_schedules),
    ("POST", "/schedules/NAME/run", Role.OPERATOR, handler_pages.fire),
    ("GET", "/workers", Role.VIEWER, handler_pages.show_workers),
    ("GET", "/config", Role.VIEWER, config_page.show),
    ("GET", "/audit", Role.ADMIN, audit_page.show),
)


def dashboard_routes(desk: Desk) -> list[Route]:
    """The routes of all pages, actions and assets, and of the hints that open pages listen to.

    Reads the files of the package, so that a daemon without them does not start. Each template is compiled
    for its first page, 1 to 18 ms: all of them together would hold up the hub for 0.1 s at the start.
    """
    desk.templates.list_templates()
    return [
        *(Route(method, path, role, _served(desk, page)) for method, path, role, page in PAGES),
        Route("GET", "/live", Role.VIEWER, desk.live.answer, is_page=False),
        *(Route("GET", f"/assets/{name}", None, assets.asset(name)) for name in assets.NAMES),
    ]


def _served(desk: Desk, page: Page) -> Endpoint:
    """*page* as an endpoint, whose errors are pages for a browser and problem documents for programs."""

    def endpoint(environ: Mapping[str, Any]) -> Answer:
        try:
            return page(desk, environ)
        except MonqbusError as error:
            return _failed(desk, environ, as_refusal(error))

    return endpoint


def _failed(desk: Desk, environ: Mapping[str, Any], refusal: Refused) -> Answer:
    if "text/html" not in environ.get("HTTP_ACCEPT", ""):
        raise refusal
    phrase = HTTPStatus(refusal.status).phrase
    return desk.page(
        environ,
        "error.html",
        status=f"{refusal.status:d} {phrase}",
        phrase=phrase,
        number=int(refusal.status),
        detail=refusal.detail,
    )
