"""CloudEvents 1.0 as HTTP brings them: in headers, as one JSON object, or as an array of them.

The rules are those of the specification's HTTP binding 1.0.2, JSON format 1.0.2 and type system
(github.com/cloudevents/spec). What it says MUST be refused is refused here, the first mistake of all.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from json import loads
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import unquote_to_bytes

from .. import strict_json
from . import json_members
from .compressed import nothing
from .kinds import is_json
from .media_type import parsed
from .refusal import BadPayload

Mode = Literal["binary", "structured", "batched"]

MOST_EVENTS: Final = 1000
"""Of one batch: all of them become one write of the store."""
MOST_ATTRIBUTES: Final = 100
EVENTS_A_PAUSE: Final = 32
JSON_TYPE: Final = "application/json"
_MODES: Final[Mapping[str, Mode]] = {
    "application/cloudevents+json": "structured",
    "application/cloudevents-batch+json": "batched",
}
_PREFIX: Final = "application/cloudevents"
_HEADER: Final = "ce-"
_REQUIRED: Final = ("id", "source", "specversion", "type")
_OPTIONAL: Final = ("datacontenttype", "dataschema", "subject", "time")
_OWN: Final = frozenset({*_REQUIRED, *_OPTIONAL})
_DATA: Final = ("data", "data_base64")

_NAME = re.compile(r"[a-z0-9]{1,64}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# the type String: no control characters, no surrogates, no code points that Unicode gives to nobody
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(0x10000 * n + 0xFFFE)}-{chr(0x10000 * n + 0xFFFF)}" for n in range(17))
    + "]"
)
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_LEAP_SECOND: Final = 60


class UnknownFormat(BadPayload):
    """The request says of no format that is known here that its event is in it."""


class CloudEvent(NamedTuple):
    """One event: its *attributes*, all as text, and the bytes of its *data* as they came.

    *content_type* is the type of the data, "" where nothing says it.
    """

    attributes: dict[str, str]
    data: bytes
    content_type: str

    @property
    def identity(self) -> str:
        """Events of which it is the same are the same event. No source has a space in it."""
        return f"{self.attributes['source']} {self.attributes['id']}"


def mode_of(content_type: str, headers: Mapping[str, str]) -> Mode:
    """How a request carries its events. Raises UnknownFormat."""
    name = parsed(content_type).name
    if mode := _MODES.get(name):
        return mode
    if name.startswith(_PREFIX):
        raise UnknownFormat(f"content type: expected {' or '.join(_MODES)}, got {name}")
    if any(f"{_HEADER}{name}" in headers for name in _REQUIRED):
        return "binary"
    raise UnknownFormat(
        f"delivery: expected a CloudEvent, as {' or '.join(_MODES)} or with the headers ce-id, ce-source, "
        "ce-specversion and ce-type, got none"
    )


def read(
    mode: Mode,
    headers: Mapping[str, str],
    body: bytes,
    content_type: str,
    pause: Callable[[], object] = nothing,
) -> list[CloudEvent]:
    """The events of a request in their order: one, or any number where it is *batched*.

    *headers* have lower-case names, and values in which each byte is a character. *pause* is called between
    the pieces of a long body. Raises BadPayload, and nothing else, for the first mistake in any of them.
    """
    if mode == "binary":
        return [_from_headers(headers, body, content_type)]
    try:
        text = strict_json.text_in(body, content_type, pause)
        text = text.removeprefix(b"\xef\xbb\xbf")
        strict_json.parse(text, pause, ())
    except strict_json.BadJson as error:
        raise BadPayload(str(error)) from error
    if mode == "structured":
        return [_from_members(json_members.of_object(text, pause), "")]
    events = []
    for place, members in enumerate(json_members.of_array(text, MOST_EVENTS, pause)):
        if place % EVENTS_A_PAUSE == 0:
            pause()
        events.append(_from_members(members, f"item {place}: "))
    return events


def _from_headers(headers: Mapping[str, str], body: bytes, content_type: str) -> CloudEvent:
    attributes: dict[str, str] = {}
    for header, value in headers.items():
        if header.startswith(_HEADER):
            name = header[len(_HEADER) :]
            if name in ("datacontenttype", "data"):
                raise BadPayload(f"header {header}: expected none, the body and its Content-Type say it")
            _require_name(name, f"header {header[:80]}")
            attributes[name] = _from_header(header, value)
    if content_type:
        attributes["datacontenttype"] = content_type
    _check(attributes, "")
    return CloudEvent(attributes, body, content_type)


def _from_header(header: str, value: str) -> str:
    """The text of a header's value: out of its quotes if it has some, then percent-decoded once."""
    value = value.strip(" \t")
    if quoted := _QUOTED.fullmatch(value):
        value = _ESCAPED.sub(r"\1", quoted[1])
    data = value.encode("latin-1", "replace")
    if _BAD_PERCENT.search(data):
        raise BadPayload(f"header {header}: expected two hexadecimal digits behind each %, got others")
    try:
        return unquote_to_bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        raise BadPayload(
            f"header {header}: expected UTF-8 in its percent-encoding, got other bytes"
        ) from None


def _from_members(members: json_members.Members, where: str) -> CloudEvent:
    if len(members) > MOST_ATTRIBUTES + len(_DATA):
        raise BadPayload(f"{where}attributes: expected at most {MOST_ATTRIBUTES}, got more")
    attributes: dict[str, str] = {}
    data: dict[str, bytes] = {}
    for key, text in members.items():
        name = loads(key)
        if name in _DATA:
            data[name] = text
        elif text != b"null":
            _require_name(name, f"{where}attribute {name[:80]!r}")
            attributes[name] = _from_json(name, text, where)
    _check(attributes, where)
    content_type = attributes.get("datacontenttype", JSON_TYPE)
    encoded = data.get("data_base64", b"null")
    if encoded != b"null":
        if "data" in data:
            raise BadPayload(f"{where}data: expected it or data_base64, got both")
        return CloudEvent(attributes, _from_base64(encoded, where), content_type)
    if "data" in data:
        return CloudEvent(attributes, *_from_data(data["data"], content_type))
    return CloudEvent(attributes, b"", attributes.get("datacontenttype", ""))


def _from_data(text: bytes, content_type: str) -> tuple[bytes, str]:
    """The bytes and the type of the member *data*: JSON as it stands there, or the text in a string.

    Both are UTF-8, whatever charset the type names.
    """
    media_type = parsed(content_type)
    if text.startswith(b'"') and not is_json(content_type):
        return cast(str, loads(text)).encode("utf-8"), f"{media_type.name}; charset=utf-8"
    return text, media_type.name if "charset" in media_type.parameters else content_type


def _from_base64(text: bytes, where: str) -> bytes:
    value = loads(text) if text.startswith(b'"') else None
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):  # ValueError: not ASCII
        pass
    raise BadPayload(f"{where}data_base64: expected a string of base64, got something else")


def _from_json(name: str, text: bytes, where: str) -> str:
    """The text of an attribute: the specification's own are strings, others flags and whole numbers, too."""
    value: Any = None if text[:1] in (b"{", b"[") else loads(text)
    if isinstance(value, str):
        return value
    if name not in _OWN and isinstance(value, bool):
        return "true" if value else "false"
    if name not in _OWN and isinstance(value, int) and -(2**31) <= value < 2**31:
        return str(value)
    expected = "a string" if name in _OWN else "a string, true, false or a whole number of 32 bits"
    raise BadPayload(f"{where}attribute {name}: expected {expected}, got something else")


def _require_name(name: str, what: str) -> None:
    if name == "data" or not _NAME.fullmatch(name):
        raise BadPayload(f"{what}: expected a name of 1 to 64 of the characters a-z and 0-9, got another one")


def _check(attributes: Mapping[str, str], where: str) -> None:
    """Raise BadPayload unless *attributes* are those of an event."""
    for name in _REQUIRED:
        if name not in attributes:
            raise BadPayload(f"{where}attribute {name}: required, got none")
    for name, value in attributes.items():
        if _UNFIT.search(value):
            raise BadPayload(f"{where}attribute {name}: expected text without control characters, got some")
        if not value and name in _OWN:
            raise BadPayload(f"{where}attribute {name}: expected text, got none")
    version = attributes["specversion"]
    if version != "1.0":
        raise BadPayload(f"{where}attribute specversion: expected 1.0, got {version[:20]!r}")
    for name, is_right, expected in _SHAPES:
        if name in attributes and not is_right(attributes[name]):
            raise BadPayload(f"{where}attribute {name}: expected {expected}, got {attributes[name][:80]!r}")


def _is_uri_reference(text: str) -> bool:
    return bool(_URI_REFERENCE.fullmatch(text))


def _is_uri(text: str) -> bool:
    return bool(_SCHEME.match(text)) and _is_uri_reference(text)


def _is_media_type(text: str) -> bool:
    return bool(parsed(text).name)


def _is_time(text: str) -> bool:
    match = _TIME.fullmatch(text)
    if match is None or int(match[3]) > _LEAP_SECOND:
        return False
    try:
        datetime.fromisoformat(f"{match[1]}T{match[2]}:00")
    except ValueError:  # the 30th of February, the year 0
        return False
    return True


_SHAPES: Final[tuple[tuple[str, Callable[[str], bool], str], ...]] = (
    ("source", _is_uri_reference, "a URI or a part of one (RFC 3986)"),
    ("dataschema", _is_uri, "a URI with its scheme (RFC 3986)"),
    ("time", _is_time, "a time as RFC 3339 has it"),
    ("datacontenttype", _is_media_type, "a media type"),
)
