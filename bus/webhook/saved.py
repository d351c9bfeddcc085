"""Reads the head of a delivery that somebody saved, as HTTP, curl and senders' pages show it. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from .. import strict_json
from ..errors import UsageError

MOST_HEADERS: Final = 200

_REQUEST_LINE = re.compile(r"([A-Z]{3,10}) (\S+)(?: HTTP/[0-9.]+)?")
_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)[ \t]*:[ \t]*(.*)")
_SHOWN = re.compile(r"Request (url|method):[ \t]*(.*)", re.IGNORECASE)


class Head(NamedTuple):
    """A saved head: `headers` as in `Request`, `method` and `url` where they stand in it, else ""."""

    headers: dict[str, str]
    method: str = ""
    url: str = ""


def head_of(content: bytes) -> Head:
    """The head that *content* is: a JSON object, or one ``Name: value`` a line.

    A first line ``POST /hooks/a HTTP/1.1``, the ``> `` of ``curl -v`` and the lines ``Request URL`` and
    ``Request method`` of GitHub's page are understood. Raises UsageError, which quotes no value.
    """
    if content.lstrip().startswith(b"{"):
        return Head(_of_json(content))
    method = url = ""
    headers: dict[str, str] = {}
    for number, line in enumerate(content.decode("latin-1").split("\n"), 1):
        text = line.strip("\r\n\t ").removeprefix("> ").removeprefix("* ").strip()
        if not text or text == ">":
            continue
        if shown := _SHOWN.fullmatch(text):
            method, url = (method, shown[2]) if shown[1].lower() == "url" else (shown[2], url)
        elif first := _REQUEST_LINE.fullmatch(text):
            method, url = first.groups()
        elif header := _HEADER.fullmatch(text):
            _add(headers, header[1], header[2])
        else:
            raise UsageError(
                f"--headers: line {number}: expected NAME: VALUE, got something else; write one header a line"
            )
    return Head(headers, method, url)


def header_of(text: str) -> tuple[str, str]:
    """The lower-case name and the value of ``NAME: VALUE``, given on the command line. Raises UsageError."""
    match = _HEADER.fullmatch(text)
    if not match:
        raise UsageError("--header: expected NAME: VALUE, got something else; write --header 'X-Event: push'")
    return match[1].lower(), match[2].strip().encode("utf-8", "surrogateescape").decode("latin-1")


def _of_json(content: bytes) -> dict[str, str]:
    try:
        given = strict_json.parse(content)
    except strict_json.BadJson as error:
        raise UsageError(f"--headers: {str(error).removeprefix('body: ')}") from None
    headers: dict[str, str] = {}
    for name, value in given.items():
        values: list[Any] = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in values):
            raise UsageError("--headers: expected an object of texts, got other values; write texts")
        for one in values:
            _add(headers, name, one.encode("utf-8").decode("latin-1"))
    return headers


def _add(headers: dict[str, str], name: str, value: str) -> None:
    name = name.lower()
    if len(headers) >= MOST_HEADERS:
        raise UsageError(f"--headers: expected at most {MOST_HEADERS} headers, got more; name the right file")
    headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
