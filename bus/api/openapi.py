"""The OpenAPI 3.1 document of the API, made from the table of its routes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from .. import __version__
from ..access.roles import Role
from .schemas import ID, PROBLEM, WORD, Schema

_ARGUMENT: Final = re.compile(r"\{(\w+)\}")
_ERRORS: Final[Mapping[str, str]] = {
    "400": "malformed: the detail says what was expected",
    "401": "nobody is signed in, or the token is not known or over",
    "403": "the role is less than this takes; or no page of this listener asks (csrf, other_origin)",
    "404": "not found",
    "409": "its state forbids it",
    "412": "it has been begun since the generation that If-Match names",
    "413": "the body is too large",
    "422": "it cannot be stored, or no function takes it",
    "429": "too many at this moment",
    "503": "the store does not answer",
}


class Described(Protocol):
    """What is told of a route; see routes.ApiRoute."""

    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def answer(self) -> Callable[..., Any]: ...  # noqa: D102
    @property
    def role(self) -> Role: ...  # noqa: D102
    @property
    def gives(self) -> Schema: ...  # noqa: D102
    @property
    def query(self) -> Mapping[str, Schema]: ...  # noqa: D102
    @property
    def body(self) -> Schema | None: ...  # noqa: D102
    @property
    def needs_body(self) -> bool: ...  # noqa: D102
    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def given(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102


def document_of(routes: Iterable[Described], prefix: str) -> dict[str, Any]:
    """The document of *routes*, all below *prefix*."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"{prefix}{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "monqbus",
            "version": __version__,
            "description": "See and steer the queue. Errors are RFC 9457 problem documents.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM},
            "responses": {name: _error(text) for name, text in _ERRORS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Of `monqbus token add`."}
            },
        },
        "security": [{"token": []}],
    }


def _operation(route: Described) -> dict[str, Any]:
    summary = (inspect.getdoc(route.answer) or "").splitlines()[0]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": f"{route.given['action'].capitalize()}: {summary}" if route.given else summary,
        "description": f"For the role {route.role.word} and above.",
        "parameters": [*_in_path(route), *_in_query(route), *_in_headers(route)],
        "responses": {
            str(route.status): {
                "description": "done" if route.status == 200 else "stored",
                "content": {"application/json": {"schema": route.gives}},
            },
            **{name: {"$ref": f"#/components/responses/{name}"} for name in _ERRORS},
        },
    }
    if route.body is not None:
        content = {"application/json": {"schema": route.body}}
        operation["requestBody"] = {"required": route.needs_body, "content": content}
    return operation


def _in_path(route: Described) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": ID if name.endswith("_id") else WORD}
        for name in _ARGUMENT.findall(route.path)
    ]


def _in_query(route: Described) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "schema": schema} for name, schema in route.query.items()]


def _in_headers(route: Described) -> list[dict[str, Any]]:
    if not (route.given and "{" in route.path):
        return []
    described = "The ETag of the task as it was looked at, its generation."
    schema = {"type": "string", "pattern": '^"[0-9]{1,9}"$'}
    return [{"name": "If-Match", "in": "header", "description": described, "schema": schema}]


def _error(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}
