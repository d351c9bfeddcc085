"""``multipart/form-data`` (RFC 7578): fields as texts, files with their name, type and bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..strict_json import parse
from .form import add
from .media_type import parsed
from .refusal import BadPayload
from .text import decoded

MOST_PARTS: Final = 100
HEAD_BYTES: Final = 8 * 1024
_BOUNDARY = re.compile(r"[A-Za-z0-9'()+_,./:=? -]{0,69}[A-Za-z0-9'()+_,./:=?-]")
_END: Final = b"\r\n\r\n"


def read(
    body: bytes, parameters: Mapping[str, str], is_json: Callable[[str], bool], pause: Callable[[], object]
) -> dict[str, Any]:
    """The parts of *body* by name, a list where a name comes several times.

    A part is its text; JSON, if its own type says so; or, with a file name, a dict of ``filename``,
    ``content_type`` and ``content``, which are bytes. Raises BadPayload, and BadJson for such a part.
    """
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadPayload(
            f"body: expected a boundary of 1 to 70 characters in its type, got {boundary[:80]!r}"
        )
    fields: dict[str, Any] = {}
    for count, (start, end) in enumerate(_parts(body, b"--" + boundary.encode("ascii"))):
        if count == MOST_PARTS:
            raise BadPayload(f"body: expected at most {MOST_PARTS} parts, got more")
        head, content = _part(body, start, end)
        add(fields, *_field(head, content, is_json, pause))
        pause()
    return fields


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Where each part begins and ends. Raises BadPayload."""
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if at == 1:
        raise BadPayload("body: expected parts between boundaries, got no boundary")
    while True:
        at += len(delimiter)
        if body.startswith(b"--", at):
            return
        start = body.find(b"\r\n", at)
        if start < 0 or body[at:start].strip(b" \t"):
            raise BadPayload("body: expected the end of a line behind a boundary, got something else")
        end = body.find(b"\r\n" + delimiter, start)
        if end < 0:
            raise BadPayload("body: expected a boundary behind the last part, got none: it is cut short")
        yield start + 2, max(end, start + 2)
        at = end + 2


def _part(body: bytes, start: int, end: int) -> tuple[Mapping[str, str], bytes]:
    """The headers and the content of the part from *start* to *end*. Raises BadPayload."""
    # of a part without headers the line before it is that of its boundary
    blank = body.find(_END, start - 2, min(end, start + HEAD_BYTES))
    if blank < 0:
        raise BadPayload(f"body: expected the headers of a part to end within {HEAD_BYTES} bytes, got no end")
    return _headers(body[start : max(blank, start)]), body[blank + len(_END) : end]


def _field(
    headers: Mapping[str, str], content: bytes, is_json: Callable[[str], bool], pause: Callable[[], object]
) -> tuple[str, Any]:
    """The name of a part, and its value."""
    content_type = headers.get("content-type", "")
    disposition = parsed(f"x/x;{headers.get('content-disposition', '').partition(';')[2]}").parameters
    if (name := disposition.get("name")) is None:
        raise BadPayload("body: expected a name for each part, got one without")
    if (filename := disposition.get("filename")) is not None:
        return name, {"filename": filename, "content_type": content_type, "content": content}
    if is_json(content_type):
        return name, parse(content, pause)
    return name, decoded(content, parsed(content_type).parameters.get("charset", ""))


def _headers(head: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in decoded(head).split("\r\n"):
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return headers
