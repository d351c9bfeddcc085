"""Types of values (duration, size, choice ...): how they are written, and what they are in Python.

A kind never sees the file: it turns text into a value or raises Unfit, and it carries the words
about what it expects, from which error messages and the reference are made.
"""

from __future__ import annotations

import ipaddress
import keyword
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from .. import model
from ..networks import Network, network
from ..process import cpu_quota
from ..regex import BadRegex, searching
from ..spelling import nearest

T = TypeVar("T")
Word = TypeVar("Word", bound=str)
Address = tuple[str, int]
Listen = Address | Path
"""Where a listener is: a host and a port, or the path of a Unix socket."""

UNIX: Final = "unix:"
USERS_AUTH: Final = "users"
HEADER_AUTH: Final = "header:"
LONGEST_SOCKET_PATH: Final = 107
"""Bytes: unix(7), sun_path has 108 with the NUL behind it."""
MOST_PROCESSES: Final = 1024
LONGEST_SHOWN: Final = 60
UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
UNIT_BYTES: Final = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,12})(KiB|MiB|GiB|)")
_WHOLE = re.compile(r"[0-9]{1,9}")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+)):([0-9]{1,5})")
_EVERYWHERE = re.compile(r"(?:\*|\[\*\])?:([0-9]{1,5})")
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(?:;[ -~]{1,200})?")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


class Unfit(ValueError):
    """A text that is not of its kind.

    *got* is what to show of it, None meaning the text itself; *expected* and *remedy* replace those
    of the kind where more is known.
    """

    def __init__(self, got: str | None = None, *, expected: str = "", remedy: str = "") -> None:
        super().__init__(got)
        self.got = got
        self.expected = expected
        self.remedy = remedy


@dataclass(frozen=True)
class ValueType(Generic[T]):
    """One way of writing a value: *expected* completes "expected …", *example* is a good one.

    *read* raises Unfit. The text of a *secret* kind may stand elsewhere and is never shown. One that
    *is_language* has quotes of its own, and may go on over lines.
    """

    expected: str
    example: str
    read: Callable[[str], T]
    words: tuple[str, ...] = ()
    secret: bool = False
    is_language: bool = False

    def complaint(self, text: str, unfit: Unfit) -> str:
        """Expectation, value and remedy about a *text* that *read* refused with *unfit*."""
        got = quoted(text) if unfit.got is None else unfit.got
        remedy = unfit.remedy or f"write for example {nearest(text, self.words) or self.example}"
        return f"expected {unfit.expected or self.expected}, got {got}; {remedy}"


def quoted(text: str) -> str:
    """*text* as an error message quotes it: on one line, cut when long."""
    if not text:
        return "nothing"
    return repr(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…")


def host_port(host: str, port: int) -> str:
    """An address as ADDRESS reads it: one of IPv6 stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def nearest_name(text: str, names: Iterable[str]) -> str:
    """The task name or topic of *names* that *text* was probably meant to be, or nothing.

    By the whole name; else by its last part, which is often all that somebody remembers.
    """
    words = tuple(sorted(names))
    last_parts = {name.rpartition(".")[2].lower(): name for name in words}
    if near := nearest(text, words) or last_parts.get(text.rpartition(".")[2].lower(), ""):
        return near
    return "" if "." in text else last_parts.get(nearest(text, tuple(last_parts)), "")


def choice(*words: Word) -> ValueType[Word]:
    """Exactly one of *words*."""

    def read(text: str) -> Word:
        for word in words:
            if word == text:
                return word
        raise Unfit

    return ValueType(f"one of {', '.join(words)}", words[0], read, words)


def _read_yes_or_no(text: str) -> bool:
    return choice("yes", "no").read(text) == "yes"


def whole_number(least: int, most: int) -> ValueType[int]:
    """A whole number in decimal digits, both bounds included."""

    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise Unfit
        return int(text)

    return ValueType(f"a whole number from {least} to {most}", str(max(10, least)), read)


def _read_priority(text: str) -> int | None:
    return whole_number(0, 1000).read(text) if text else None


def _read_processes(text: str) -> int:
    if text == "auto":
        return cpu_quota.cpus()
    return whole_number(1, MOST_PROCESSES).read(text)


def duration(least: str = "0s", most: str = "36500d") -> ValueType[float]:
    """A whole number with its unit, in seconds; a hundred years at most: a date can still hold it."""

    def read(text: str) -> float:
        match = _DURATION.fullmatch(text)
        if not match or not shortest <= _seconds(match) <= longest:
            raise Unfit
        return _seconds(match)

    shortest, longest = (_seconds(_DURATION.fullmatch(bound)) for bound in (least, most))
    return ValueType(f"a duration from {least} to {most} (unit ms, s, m, h or d)", "30s", read)


def _seconds(match: re.Match[str] | None) -> float:
    return int(match[1]) * UNIT_SECONDS[match[2]] if match else 0.0


def size(most: str, least: int = 1) -> ValueType[int]:
    """A number of bytes, plain or with a binary unit, from *least* to *most*."""

    def read(text: str) -> int:
        match = _SIZE.fullmatch(text)
        if not match or not least <= _bytes(match) <= largest:
            raise Unfit
        return _bytes(match)

    largest = _bytes(_SIZE.fullmatch(most))
    return ValueType(f"a size from {least} to {most} (bytes, KiB, MiB or GiB)", most, read)


def _bytes(match: re.Match[str] | None) -> int:
    return int(match[1]) * UNIT_BYTES[match[2]] if match else 0


def _read_address(text: str) -> Address:
    if text.isascii() and text.isdigit():
        raise Unfit(
            remedy=f"write 127.0.0.1:{text} for this machine alone, or 0.0.0.0:{text} for all addresses"
        )
    if everywhere := _EVERYWHERE.fullmatch(text):
        port = everywhere[1]
        raise Unfit(remedy=f"write 0.0.0.0:{port} for all IPv4 addresses, or [::]:{port} for IPv6 too")
    match = _ADDRESS.fullmatch(text)
    if not match or int(match[3]) > 65_535:
        raise Unfit
    host = match[1] or match[2]
    if not (_is_ip(host) if match[1] or _looks_numeric(host) else _HOST.fullmatch(host)):
        raise Unfit
    return host, int(match[3])


def _read_listen(text: str) -> tuple[Listen, ...]:
    found = tuple(_read_one_listen(item) for item in _items(text))
    if not found:
        raise Unfit
    for place, one in enumerate(found):
        if one in found[:place] and not (isinstance(one, tuple) and one[1] == 0):
            raise Unfit(f"{quoted(listen_text(one))} twice", remedy="remove one")
    return found


def _read_listen_or_none(text: str) -> tuple[Listen, ...]:
    return _read_listen(text) if text else ()


def _read_one_listen(item: str) -> Listen:
    if not item.startswith(UNIX):
        try:
            return _read_address(item)
        except Unfit as unfit:
            if item.startswith("/"):
                unfit.remedy = f"write {UNIX}{item} for a Unix socket"
            unfit.got = quoted(item)
            raise
    path = Path(item.removeprefix(UNIX))
    if not path.is_absolute() or len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        expected = f"an absolute path of at most {LONGEST_SOCKET_PATH} bytes behind {UNIX}"
        raise Unfit(quoted(item), expected=expected, remedy=f"write for example {UNIX}/run/monqbus/http.sock")
    return path


def listen_text(one: Listen) -> str:
    """*one* as LISTEN reads it."""
    return f"{UNIX}{one}" if isinstance(one, Path) else host_port(*one)


def _looks_numeric(host: str) -> bool:
    return host.replace(".", "").isdigit()


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(address: Listen) -> bool:
    """True when only this machine can reach *address*."""
    if isinstance(address, Path):
        return True
    host = address[0]
    return ipaddress.ip_address(host).is_loopback if _is_ip(host) else host == "localhost"


def _items(text: str) -> list[str]:
    return [item for item in (part.strip() for part in re.split(r"[,\n]", text)) if item]


def _read_modules(text: str) -> tuple[str, ...]:
    for item in _items(text):
        if not all(part.isidentifier() and not keyword.iskeyword(part) for part in item.split(".")):
            raise Unfit(quoted(item))
    return tuple(_items(text))


def _read_path(text: str) -> Path:
    if not text or "\n" in text:
        raise Unfit
    if text.startswith("~"):
        raise Unfit(remedy="write the home folder out")
    return Path(text)


def _read_paths(text: str) -> tuple[Path, ...]:
    return tuple(_read_path(item) for item in _items(text))


def _read_task_name(text: str) -> str:
    if text and not model.TASK_NAME.fullmatch(text):
        raise Unfit
    return text


def _read_media_type(text: str) -> str:
    if text and not _MEDIA_TYPE.fullmatch(text):
        raise Unfit
    return text


def _read_networks(text: str) -> tuple[Network, ...]:
    networks = []
    for item in _items(text):
        try:
            networks.append(network(item))
        except ValueError as error:
            host_bits = "host bits" in str(error)
            remedy = f"write {ipaddress.ip_network(item, strict=False)}" if host_bits else ""
            raise Unfit(quoted(item), remedy=remedy) from None
    return tuple(networks)


NETWORKS: Final = ValueType(
    "addresses or networks, separated by commas", "10.0.0.0/8, 2001:db8::/32", _read_networks
)


def _read_path_or_none(text: str) -> Path | None:
    return _read_path(text) if text else None


def _read_user(text: str) -> str:
    if text and not _USER.fullmatch(text):
        raise Unfit
    return text


def _read_variables(text: str) -> tuple[str, ...]:
    for item in _items(text):
        if not _VARIABLE.fullmatch(item):
            raise Unfit(quoted(item))
    return tuple(_items(text))


YES_OR_NO: Final = ValueType("yes or no", "yes", _read_yes_or_no, ("yes", "no"))
PROCESSES: Final = ValueType(
    f"a whole number from 1 to {MOST_PROCESSES}, or auto", "auto", _read_processes, ("auto",)
)

TASK_NAME: Final = ValueType("the name of a task", "hello.clean_up", _read_task_name)
OPTIONAL_PRIORITY: Final = ValueType("a whole number from 0 to 1000", "20", _read_priority)
LISTEN: Final = ValueType(
    f"HOST:PORT or {UNIX}/PATH, several separated by commas", "127.0.0.1:8080", _read_listen
)
LISTEN_OR_NONE: Final = ValueType(
    f"HOST:PORT or {UNIX}/PATH, several separated by commas", "127.0.0.1:8081", _read_listen_or_none
)
MODULES: Final = ValueType("dotted module names, separated by commas", "hello, myteam.billing", _read_modules)
FOLDER: Final = ValueType("a folder, absolute or relative to this file", "./data", _read_path)
FOLDERS: Final = ValueType(
    "existing folders, absolute or relative to this file, separated by commas", "./apps", _read_paths
)
MEDIA_TYPE: Final = ValueType("a media type", "application/json", _read_media_type)
FOLDER_OR_NONE: Final = ValueType(
    "a folder, absolute or relative to this file", "/srv/site", _read_path_or_none
)
FILE_OR_NONE: Final = ValueType(
    "a file, absolute or relative to this file", "/etc/monqbus/tls/fullchain.pem", _read_path_or_none
)
USER: Final = ValueType("the name of a user of this machine", "deploy", _read_user)
VARIABLES: Final = ValueType(
    "names of environment variables, separated by commas", "DEPLOY_KEY", _read_variables
)


def _read_pattern(text: str) -> str:
    try:
        if text:
            searching(text)
    except BadRegex as error:
        raise Unfit(expected=f"a regular expression ({error})") from None
    return text


PATTERN: Final = ValueType("a regular expression, or nothing", "^x-internal-", _read_pattern)


_OF_CLIENTS: Final = frozenset(
    [
        "host",
        "cookie",
        "authorization",
        "origin",
        "referer",
        "user-agent",
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
    ]
)
"""Headers that say something else, which clients choose or every proxy sends."""


def _read_auth(text: str) -> str:
    header = text.removeprefix(HEADER_AUTH)
    is_header = header != text and _HEADER_NAME.fullmatch(header) and header.lower() not in _OF_CLIENTS
    if text != USERS_AUTH and not is_header:
        raise Unfit
    return text


AUTH: Final = ValueType(
    f"{USERS_AUTH}, or {HEADER_AUTH}NAME with the name of a header", "header:X-Forwarded-User", _read_auth
)
