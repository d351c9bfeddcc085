"""What a sender signs of a request, by its row: the same bytes for who verifies and for who signs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .. import strict_json
from ..placeholders import Placeholder
from ..senders import Proof
from .request import FORM, Request, TooManyFields, raw

LONGEST_UNPROVEN: Final = 1024 * 1024
"""Bytes of a body that has to be taken apart before it is proven."""


class Mismatch(Exception):
    """The delivery is not proven. *reason* is one word for the log; a sender is never told it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parts(
    way: Proof, request: Request, moment: str, delivery: str, pause: Callable[[], object] = lambda: None
) -> list[bytes]:
    """The signed bytes in their pieces. Raises Mismatch when the request has not what is signed of it."""
    if way.signed == "{body}":
        return [request.body]
    own = {"id": delivery, "timestamp": moment, "method": request.method, "url": request.url}
    return [
        part.encode("utf-8", "replace") if isinstance(part, str) else _value(part, request, own, pause)
        for part in way.content.parts
    ]


def _value(part: Placeholder, request: Request, own: Mapping[str, str], pause: Callable[[], object]) -> bytes:
    kind = part.kind
    if kind == "body":
        return request.body
    if kind == "binary":
        return _binary(request)
    if kind in ("form", "payload"):
        return _form(request) if kind == "form" else _payload(request, pause)
    if kind == "json":
        return raw(values_at(content_of(request, pause), part.where)[0])
    return raw(own[kind] if kind in own else request.at(part.name))


def _binary(request: Request) -> bytes:
    """The text of the body as JavaScript's "binary" has it; of ASCII it is the body, which `{body}` signs."""
    if request.body.isascii() or len(request.body) > LONGEST_UNPROVEN:
        raise Mismatch("wrong")
    try:
        return request.body.decode("utf-8").encode("utf-16-le")[::2]
    except UnicodeDecodeError:
        raise Mismatch("wrong") from None


def _form(request: Request) -> bytes:
    """The sorted form: of another body nothing would be signed, and it is refused."""
    if (request.body and not request.is_form) or len(request.body) > LONGEST_UNPROVEN:
        raise Mismatch("malformed")
    try:
        return request.sorted_form()
    except TooManyFields:
        raise Mismatch("malformed") from None


def _payload(request: Request, pause: Callable[[], object]) -> bytes:
    """The body, of a form its one field: a second one would not be signed."""
    if not request.is_form:
        return request.body
    if not request.body.startswith(b"payload=") or b"&" in request.body:
        raise Mismatch("malformed")
    return strict_json.text_in(request.body, FORM, pause)


def content_of(request: Request, pause: Callable[[], object] = lambda: None) -> Any:
    """The JSON of the body. Raises Mismatch when it is none, or longer than LONGEST_UNPROVEN."""
    if len(request.body) > LONGEST_UNPROVEN:
        raise Mismatch("malformed")
    try:
        text = strict_json.text_in(request.body, request.headers.get("content-type", ""), pause)
        return strict_json.parse(text, pause)
    except strict_json.BadJson:
        raise Mismatch("malformed") from None


def values_at(content: Any, path: str) -> list[str]:
    """The scalars at *path* of parsed JSON, "" for one that is not there; ``*`` is every item of a list."""
    before, star, behind = path.partition(".*.")
    if not star:
        return [strict_json.at_path(content, path) or ""]
    for step in before.split("."):
        content = content.get(step) if isinstance(content, Mapping) else None
    if not isinstance(content, list) or not content:
        return [""]
    return [strict_json.at_path(item, behind) or "" for item in content]


def is_by(way: Proof, key: Any, signature: bytes, content: bytes) -> bool:
    """Whether the holder of the private half of *key* made *signature* of *content*."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        if way.scheme == "ed25519":
            key.verify(signature, content)
        else:
            key.verify(signature, content, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True
