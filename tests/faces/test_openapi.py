"""The API is what its OpenAPI document says, for right and for wrong requests: schemathesis makes them up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from bus.access.accounts import Accounts
from bus.access.audit import Audit
from bus.access.book import Book
from bus.access.gate import Gate
from bus.access.passwords import Passwords
from bus.access.recognition import Recognition
from bus.access.sessions import Sessions
from bus.admin import Admin
from bus.api.access import AccessApi
from bus.api.routes import PREFIX, ROUTES, ApiRoute, api_routes
from bus.api.server import Api
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import Clock
from bus.http import Server, listen_tcp
from bus.operations import Operations
from bus.posting import PostOffice
from bus.store import open_memory_store

EXAMPLES = 5
SERVED = [route for route in ROUTES if not route.is_local]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, str]]:
    """Where the API is, and an admin's token."""
    with closing(open_memory_store()) as store:
        clock, registry = Clock(), Registry()
        registry.add(Task(lambda *_, **__: None, "shop.sell", Options()))
        book = Book(store, clock)
        sessions = Sessions(book, idle=3600, lifetime=3600)
        accounts = Accounts(book, Passwords(ln=4, r=1, p=1), sessions)
        audit = Audit(store, clock)
        admin, office = Admin(store, clock), PostOffice(store, lambda: registry, clock)
        operations = Operations(admin, office, audit)
        api = Api(admin, office, lambda: registry, clock, operations=operations)
        routes = api_routes(api, AccessApi(accounts, audit))
        gate = Gate(routes, Recognition(book, accounts, sessions))
        server = Server([listen_tcp("127.0.0.1", 0, setting="test")], gate)
        server.start()
        host, port = server.address[:2]
        yield f"http://{host}:{port}", accounts.add_token("schemathesis", "admin")[1]
        server.stop(0.0)


@pytest.fixture(scope="module")
def api_schema(served: tuple[str, str]) -> Any:
    url, token = served
    headers = {"Authorization": f"Bearer {token}"}
    return schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json", headers=headers)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("route", SERVED, ids=lambda route: route.name)
def test_every_answer_is_one_that_the_document_names(
    api_schema: Any, served: tuple[str, str], route: ApiRoute, mode: GenerationMode
) -> None:
    """No 5xx, no status, media type or shape that it does not have; what it forbids is refused."""
    operation = api_schema[f"{PREFIX}{route.path}"][route.method]
    if mode is GenerationMode.NEGATIVE and not (
        operation.body or operation.query or operation.path_parameters
    ):
        pytest.skip("nothing in it can be wrong")

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {served[1]}"})
        case.validate_response(response, checks=CHECKS)

    check()
