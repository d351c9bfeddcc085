"""Answers a sender that asks first whether the address is one of somebody who knows what is coming.

Only the handshakes of the hook's own sender are answered, those that the sender signs once they are proven.
An answer holds what its row says and nothing else of the request, as text/plain or JSON that no browser
takes for a page.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from json import dumps
from typing import Any, Final

from .. import strict_json
from ..errors import Refused
from ..http.problem import Answer
from ..senders import Handshake, Sender
from ..senders.keys import ring
from .request import Request, raw
from .signed import Mismatch, values_at

LONGEST_BODY: Final = 16 * 1024
"""Bytes of a body that is looked into for a handshake."""

EMPTY: Final = Answer("200 OK", [("Content-Length", "0")], b"")


def unproven(
    sender: Sender, secrets: tuple[str, ...], tokens: tuple[str, ...], request: Request
) -> Answer | None:
    """The answer to a handshake that its sender does not sign; None when *request* is none.

    *tokens* are the hook's `verify_token`. Raises Refused(403) when none of them is in it.
    """
    for one in sender.handshakes:
        if not one.verified and _is(one, request, None):
            if one.token and not _is_known(one, tokens, request):
                raise Refused(403, "wrong_token", "handshake: its token is not the hook's verify_token")
            return _answer(one, sender, secrets, request, None)
    return None


def before_secret(sender: Sender, request: Request) -> Answer | None:
    """The answer to a handshake that comes before the hook has its secret; None when *request* is none."""
    for one in sender.handshakes:
        if one.precedes_secret and _is(one, request, None):
            return _answer(one, sender, (), request, None)
    return None


def proven(sender: Sender, secrets: tuple[str, ...], request: Request) -> Answer | None:
    """The answer to a handshake that is proven now; None when *request* is a delivery."""
    content = None
    for one in sender.handshakes:
        if not one.verified or not _may_be(one, request):
            continue
        content = content or _parsed(request)
        if _is(one, request, content):
            return _answer(one, sender, secrets, request, content)
    return None


def _may_be(one: Handshake, request: Request) -> bool:
    """Whether it is worth to parse the body: most deliveries are no handshake."""
    return one.method == request.method and all(
        wanted.encode() in request.body if place.startswith("body:") else request.at(place) == wanted
        for place, wanted in one.given
        if wanted
    )


def _parsed(request: Request) -> Any:
    if len(request.body) > LONGEST_BODY:
        return None
    try:
        return strict_json.parse(request.body)
    except strict_json.BadJson:
        return None


def _is(one: Handshake, request: Request, content: Any) -> bool:
    if one.method != request.method or (one.empty and request.headers.get("content-length", "0") != "0"):
        return False
    if one.empty and "transfer-encoding" in request.headers:
        return False
    found = [(_at(place, request, content), wanted) for place, wanted in one.given]
    if not all(value == wanted if wanted else value for value, wanted in found):
        return False
    return not any(_at(place, request, content) for place in one.absent)


def _at(place: str, request: Request, content: Any) -> str:
    if place.startswith("body:"):
        return values_at(content, place[5:])[0]
    return request.at(place)


def _is_known(one: Handshake, tokens: Sequence[str], request: Request) -> bool:
    given = request.at(one.token).encode("utf-8", "replace")
    matches = [hmac.compare_digest(token.encode(), given) for token in tokens if token]
    return any(matches)


def _answer(
    one: Handshake, sender: Sender, secrets: tuple[str, ...], request: Request, content: Any
) -> Answer:
    value = _at(one.echo, request, content) if one.echo else ""
    if one.echo and not one.value.fullmatch(value):
        raise Refused(400, "bad_handshake", "handshake: its value is empty, too long or of other characters")
    if one.header:
        return _of(HTTPStatus.OK, "text/plain", b"", (one.header, value))
    if one.fields:
        filled = {
            name: _filled(one, sender, secrets, text, value) if isinstance(text, str) else text
            for name, text in one.fields
        }
        return _of(HTTPStatus.OK, "application/json", dumps(filled).encode())
    if one.echo:
        return _of(HTTPStatus.OK, "text/plain", raw(value))
    return _of(HTTPStatus.NO_CONTENT if one.method == "POST" else HTTPStatus.OK, "text/plain", b"")


def _filled(one: Handshake, sender: Sender, secrets: tuple[str, ...], text: str, value: str) -> str:
    mac = _mac(one, sender, secrets, value) if "{mac}" in text else ""
    values: Mapping[str, str] = {"{value}": value, "{mac}": mac}
    return re.sub(r"\{value\}|\{mac\}", lambda match: values[match[0]], text)


def _mac(one: Handshake, sender: Sender, secrets: tuple[str, ...], value: str) -> str:
    """By the last of the secrets: while it is being changed, the new one stands behind the old one."""
    ways = ring(sender, secrets)
    if not ways:
        raise Mismatch("no_secret")
    way, keys = ways[0]
    mac = hmac.digest(keys[-1], raw(value), way.algorithm)
    return base64.b64encode(mac).decode() if one.encoding == "base64" else mac.hex()


def _of(status: HTTPStatus, media_type: str, body: bytes, *more: tuple[str, str]) -> Answer:
    headers = [
        ("Content-Type", media_type),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
        *more,
    ]
    if status is HTTPStatus.NO_CONTENT:  # RFC 9110 section 8.6: no length with it
        headers = headers[2:]
    return Answer(f"{status:d} {status.phrase}", headers, body)
