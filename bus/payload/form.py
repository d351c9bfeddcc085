"""Forms: ``a=1&b=2`` as a dict of texts, and the JSON that GitHub and Slack send in the field ``payload``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from ..strict_json import BadJson, parse, unquoted
from .refusal import BadPayload
from .text import decoded

MOST_FIELDS: Final = 1000
_PAYLOAD: Final = "payload"


def read(body: bytes, charset: str, pause: Callable[[], object], only: Collection[str] | None = None) -> Any:
    """The fields of the form *body* by name, a list where a name comes several times.

    A form with one field ``payload`` that holds a JSON object or array is that object or array; *only* is as
    in `strict_json.parse`. *pause* is called between the pieces of a long one. Raises BadPayload.
    """
    if body.count(b"&") >= MOST_FIELDS:
        raise BadPayload(f"body: expected at most {MOST_FIELDS} fields of a form, got more")
    fields: dict[str, Any] = {}
    for part in body.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            add(fields, _text(name, charset, pause), _text(value, charset, pause))
    payload = fields.get(_PAYLOAD)
    if isinstance(payload, str) and payload.lstrip()[:1] in ("{", "["):
        try:
            return parse(payload.encode(), pause, only)
        except BadJson:
            pass  # a field that is called so
    return fields


def add(fields: dict[str, Any], name: str, value: Any) -> None:
    """Note *value* under *name*, beside those that came before."""
    if name not in fields:
        fields[name] = value
    elif isinstance(fields[name], list):
        fields[name].append(value)
    else:
        fields[name] = [fields[name], value]


def _text(value: bytes, charset: str, pause: Callable[[], object]) -> str:
    return decoded(unquoted(value, pause), charset)
