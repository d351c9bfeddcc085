"""What kind of payload a body is, by its type, and its value."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, Literal

from .. import strict_json
from ..safe_text import cached_if_short
from . import form, multipart, xml
from .compressed import nothing
from .media_type import MediaType, parsed
from .refusal import BadPayload
from .text import decoded

Kind = Literal["json", "form", "multipart", "xml", "text", "binary"]

_KINDS: Final[dict[str, Kind]] = {
    "application/json": "json",
    "text/json": "json",
    "application/x-www-form-urlencoded": "form",
    "multipart/form-data": "multipart",
    "application/xml": "xml",
    "text/xml": "xml",
}
GUESSED_KINDS: Final = frozenset({"text", "binary"})
"""Bodies of these do not say whether they are JSON."""
_SUFFIXES: Final[dict[str, Kind]] = {"json": "json", "xml": "xml"}


@cached_if_short(256)
def kind_of(content_type: str) -> Kind:
    """The kind of a body that came as *content_type*; "binary" where nothing better is known."""
    name = parsed(content_type).name
    if kind := _KINDS.get(name) or _SUFFIXES.get(name.rpartition("+")[2] if "+" in name else ""):
        return kind
    return "text" if name.startswith("text/") else "binary"


def is_json(content_type: str) -> bool:
    """Whether a body of this type says that it is JSON."""
    return kind_of(content_type) == "json"


def decode(
    body: bytes,
    content_type: str,
    pause: Callable[[], object] = nothing,
    only: Collection[str] | None = None,
) -> Any:
    """The value of *body* by its type: JSON; a dict for a form, multipart and XML; text; else its bytes.

    *pause* is called between the pieces of a long one; of JSON only what is at the paths in *only* is sure to
    be kept. Raises BadPayload, and nothing else, when the body is not what its type says.
    """
    try:
        return _value(body, content_type, parsed(content_type), pause, only)
    except strict_json.BadJson as error:
        raise BadPayload(str(error)) from error


def tree(
    body: bytes,
    content_type: str,
    pause: Callable[[], object] = nothing,
    only: Collection[str] | None = None,
) -> Any:
    """As `decode`, but text and bytes are looked into as JSON: Amazon SNS sends it as text."""
    kind = kind_of(content_type)
    if kind != "json" and kind not in GUESSED_KINDS:
        return decode(body, content_type, pause, only)
    try:
        return strict_json.parse(strict_json.text_in(body, content_type, pause), pause, only)
    except strict_json.BadJson as error:
        raise BadPayload(str(error)) from error


def _value(
    body: bytes,
    content_type: str,
    media_type: MediaType,
    pause: Callable[[], object],
    only: Collection[str] | None,
) -> Any:
    kind = kind_of(content_type)
    charset = media_type.parameters.get("charset", "")
    if kind == "json":
        return strict_json.parse(strict_json.text_in(body, content_type, pause), pause, only)
    if kind == "form":
        return form.read(body, charset, pause, only)
    if kind == "multipart":
        return multipart.read(body, media_type.parameters, is_json, pause)
    if kind == "xml":
        return xml.read(body, charset, pause)
    return decoded(body, charset) if kind == "text" else body
