"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from json import dumps
from typing import Any, Final, NamedTuple, Protocol

from .. import telemetry
from ..clock import Clock
from ..errors import Refused

LONGEST_PAUSE_SECONDS: Final = 5
REQUEST_ID = "monqbus.request_id"
"""Where the WSGI environ holds the request's id, the word that joins answer, fact and log."""


class Rest(Protocol):
    """What follows the body of an answer bit by bit: a generator, or what is closed unbegun as well."""

    def __iter__(self) -> Iterator[bytes]:
        """Each piece when it is there; blocks."""

    def close(self) -> None:
        """Nobody takes any more. Called in any case."""


class Answer(NamedTuple):
    """A whole answer, as WSGI wants it.

    *rest* comes behind the body, piece by piece, as long as it goes on: such an answer says no length and is
    its connection's last. It is closed when the client has left.
    """

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    rest: Rest | None = None


def answer(refusal: Refused, request_id: str, **more: Any) -> Answer:
    """The problem document that tells *refusal*, with the members *more*.

    *request_id* lets an operator find it in the log.
    """
    title = HTTPStatus(refusal.status).phrase
    fields = {
        "type": "about:blank",
        "title": title,
        "status": refusal.status,
        "detail": refusal.detail,
        "code": refusal.code,
        "request_id": request_id,
        **more,
    }
    body = dumps(fields).encode() + b"\n"
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        *refusal.headers.items(),
    ]
    return Answer(f"{refusal.status:d} {title}", headers, body)


def retry_after(clock: Clock) -> dict[str, str]:
    """The header that says when to try again: jittered, so that senders do not come back as one."""
    return {"Retry-After": str(1 + int(clock.chance() * LONGEST_PAUSE_SECONDS))}


def tell(
    refusal: Refused,
    environ: Mapping[str, Any],
    *,
    hook: str = "",
    reason: str = "",
    fact: str = "event.refused",
) -> None:
    """Emit the *fact* that the request of *environ* was refused, which may hold as much as is known of it.

    A sender's words in it are few and quoted; the query is not among them, it may hold a secret.
    """
    said = {"method": "REQUEST_METHOD", "path": "PATH_INFO", "peer": "REMOTE_ADDR"}
    telemetry.emit(
        fact,
        hook=hook,
        status=refusal.status,
        code=refusal.code,
        reason=reason or "; ".join(filter(None, (refusal.detail, refusal.hint))),
        **{field: environ[name] for field, name in said.items() if environ.get(name)},
        request=environ.get(REQUEST_ID, ""),
    )
