"""Parses a request head strictly: whatever two programs could understand differently is refused.

pywsgi reads headers with the e-mail parser: slower, and lenient where leniency is request smuggling
(RFC 9112 sections 2.2, 5.1, 5.2, 6.1, 6.3, 11.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BufferedReader
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from ..errors import Refused
from ..safe_text import cached_if_short
from .limits import Limits

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/(1\.[01])\r\n")
FIELD = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n")
_PLAIN_HEAD = re.compile(
    rb"(%b) ([\x21\x22\x24-\x7e]+) HTTP/(1\.[01])\r\n((?:%b:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
    % (_TOKEN, _TOKEN)
)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(.*)")
_EXPECTATIONS = frozenset({"", "100-continue"})  # an empty one, which proxies make, expects nothing
_LENGTH = re.compile(r"[0-9]{1,18}")

_VERSIONS = {b"1.0": "HTTP/1.0", b"1.1": "HTTP/1.1"}

_ONCE = frozenset(
    {"HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_AUTHORIZATION", "HTTP_EXPECT"}
)  # a second one means that somebody downstream would read another one than we do


class Head(NamedTuple):
    """A request without its body. *fields* has WSGI's names and values decoded as Latin-1."""

    method: str
    path: str
    query: str
    version: str
    fields: dict[str, str]
    length: int | None
    is_chunked: bool
    is_last: bool

    @property
    def expects_continue(self) -> bool:
        """The client waits for "100 Continue" before it sends the body."""
        return self.version == "HTTP/1.1" and bool(self.fields.get("HTTP_EXPECT"))


def read_head(stream: BufferedReader[Any], limits: Limits) -> Head:
    """Read one request head. Raises Refused with the status that RFC 9112 or a limit of ours asks for."""
    method, target, version, fields = _take_plain(stream, limits) or (
        *_read_request_line(stream, limits),
        _read_fields(stream, limits),
    )
    if not target.startswith("/"):
        target = _own_target(method, target, fields)
    _check_host(fields, version)
    if "HTTP_EXPECT" in fields:
        _check_expectation(fields, version)
    length, is_chunked = _framing(fields, version)
    path, _, query = target.partition("?")
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")
    return Head(method, path, query, version, fields, length, is_chunked, _is_last(fields, version))


def _take_plain(stream: BufferedReader[Any], limits: Limits) -> tuple[str, str, str, dict[str, str]] | None:
    """A head that has arrived whole and has nothing odd, taken off *stream* in one piece; None for any other.

    Whatever it does not take is left on *stream* for `_read_request_line` and `_read_fields`, which are the
    rule: they refuse it, or take it line by line, with the same result.
    """
    arrived = stream.peek(1)
    end = arrived.find(b"\r\n\r\n") + 4
    if not 4 <= end <= min(limits.request_line, limits.header_bytes):
        return None
    match = _PLAIN_HEAD.fullmatch(arrived, 0, end)
    if match is None:
        return None
    pairs = FIELD.findall(match[4])
    if len(pairs) > limits.header_lines:
        return None
    stream.read(end)
    fields: dict[str, str] = {}
    for name, value in pairs:
        key = _key(name)
        if key is not None and key not in fields:
            fields[key] = value.strip(b" \t").decode("latin-1")
        else:
            _add(fields, name, value)
    return match[1].decode("ascii"), match[2].decode("ascii"), _VERSIONS[match[3]], fields


def _read_request_line(stream: BufferedReader[Any], limits: Limits) -> tuple[str, str, str]:
    if stream.peek(1)[:1] in (b"\x16", b"\x80"):  # otherwise a TLS hello waits for a line end until 408
        remedy = "set [http] tls_cert, or put a TLS proxy in front"
        raise _bad(f"request: expected plain HTTP, this looks like TLS; {remedy}")
    line = stream.readline(limits.request_line + 1)
    if line == b"\r\n":  # some clients end a body with one too many: RFC 9112 section 2.2
        line = stream.readline(limits.request_line + 1)
    if len(line) > limits.request_line:
        raise Refused(414, "uri_too_long", f"request line: at most {limits.request_line} bytes")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad("request line: expected METHOD TARGET HTTP/1.1, ended by CR LF")
    method, target, version = match.groups()
    return method.decode("ascii"), target.decode("ascii"), _VERSIONS[version]


def _read_fields(stream: BufferedReader[Any], limits: Limits) -> dict[str, str]:
    fields: dict[str, str] = {}
    room = limits.header_bytes
    for number in range(1, limits.header_lines + 2):
        line = stream.readline(room + 1)
        if line == b"\r\n":
            return fields
        room -= len(line)
        if room < 0:
            raise Refused(431, "headers_too_large", f"headers: at most {limits.header_bytes} bytes")
        match = FIELD.fullmatch(line)
        if match is None:
            raise _bad(
                f"header line {number}: expected NAME: VALUE on one line ended by CR LF, "
                "no space before the colon, no control characters"
            )
        _add(fields, *match.groups())
    raise Refused(431, "headers_too_large", f"headers: at most {limits.header_lines} lines")


def _add(fields: dict[str, str], name: bytes, value: bytes) -> None:
    key = _key(name)
    if key is None:
        return
    text = value.strip(b" \t").decode("latin-1")
    if key not in fields:
        fields[key] = text
    elif key in _ONCE:
        raise _bad(f"header {name.decode('ascii')}: stands twice")
    else:
        fields[key] += ("; " if key == "HTTP_COOKIE" else ",") + text


@cached_if_short(1024)
def _key(name: bytes) -> str | None:
    """WSGI's name of a header; None drops it: X_Sig would be the same key as X-Sig."""
    if b"_" in name:
        return None
    key = name.decode("ascii").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _own_target(method: str, target: str, fields: dict[str, str]) -> str:
    """The target as path and query. The absolute form brings its own host: RFC 9112 section 3.2.2."""
    if target == "*" and method == "OPTIONS":
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise _bad("request line: expected a target that begins with /")
    if "HTTP_HOST" in fields:
        fields["HTTP_HOST"] = match[1]
    return match[2] if match[2].startswith("/") else f"/{match[2]}"


def _check_host(fields: Mapping[str, str], version: str) -> None:
    host = fields.get("HTTP_HOST")
    if host is None:
        if version == "HTTP/1.1":
            raise _bad("header Host: missing")
    elif not _is_host(host):
        raise _bad("header Host: expected a name or address, with or without a port")


@cached_if_short(1024)
def _is_host(host: str) -> bool:
    return bool(_HOST.fullmatch(host))


def _check_expectation(fields: Mapping[str, str], version: str) -> None:
    if version == "HTTP/1.1" and fields.get("HTTP_EXPECT", "").lower() not in _EXPECTATIONS:
        raise Refused(417, "expectation_failed", "header Expect: only 100-continue is understood")


def _framing(fields: Mapping[str, str], version: str) -> tuple[int | None, bool]:
    """The body's length, and whether it comes in chunks. Both at once is smuggling."""
    coding = fields.get("HTTP_TRANSFER_ENCODING")
    length = fields.get("CONTENT_LENGTH")
    if coding is None:
        if length is None:
            return None, False
        if not _LENGTH.fullmatch(length):
            raise _bad("header Content-Length: expected one whole number of bytes")
        return int(length), False
    if length is not None:
        raise _bad("headers Content-Length and Transfer-Encoding exclude each other")
    if version != "HTTP/1.1":
        raise _bad("header Transfer-Encoding: HTTP/1.0 does not know it")
    if coding.lower() != "chunked":
        raise Refused(501, "not_implemented", "header Transfer-Encoding: only chunked is understood")
    return None, True


def _is_last(fields: Mapping[str, str], version: str) -> bool:
    if "HTTP_CONNECTION" not in fields:
        return version == "HTTP/1.0"
    options = {option.strip() for option in fields.get("HTTP_CONNECTION", "").lower().split(",")}
    return "close" in options or (version == "HTTP/1.0" and "keep-alive" not in options)


def _bad(detail: str) -> Refused:
    return Refused(400, "bad_request", detail)
