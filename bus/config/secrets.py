"""Secrets: never shown, and read from the file, the environment, another file or a credential."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from ..errors import ConfigError
from ..files import regular_file
from ..spelling import nearest
from .value_types import Unfit, ValueType

LARGEST_FILE: Final = 64 * 1024
SHORTEST: Final = 16
"""Bytes of a secret that is not weak: 128 bits, where they are random."""
COMMENT: Final = "#"
WRITTEN: Final = "env:NAME, file:PATH or credential:NAME"

_REFERENCE = re.compile(r"(env|file|credential):\s*(.*)")
_NEXT = re.compile(r",\s*(?:env|file|credential):")
_NAME = {
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "file": re.compile(r".+"),
    "credential": re.compile(r"(?!\.{1,2}\Z)[^/]+"),
}
_USER = r"(?:[^\s:/?#\[\]@%]|%[0-9A-Fa-f]{2})"
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]+)(?::[0-9]{1,5})?"
_MONGODB = re.compile(
    rf"(mongodb(?:\+srv)?://)({_USER}+(?::{_USER}*)?@)?({_HOST}(?:,{_HOST})*)(/[^\s?@]*)?(\?[^\s@]*)?"
)


_SCHEMES: Final = frozenset(
    {"mongodb", "mongodb+srv", "sqlite", "postgres", "postgresql", "mysql", "redis", "amqp", "http", "https"}
)
"""What may be quoted of a store's address that is none: before :// stands a password where :// is in it."""


class Secret:
    """A text that is never shown: repr and str are a mask, only `reveal` gives it away."""

    __slots__ = ("_mask", "_text")

    def __init__(self, text: str, mask: str = "***") -> None:
        self._text = text
        self._mask = mask

    def reveal(self) -> str:
        """The text itself; never put it into a message, a fact or a stored document."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __str__(self) -> str:
        return self._mask

    def __repr__(self) -> str:
        return f"Secret({self._mask!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled; call reveal() where its text is needed")


class Missing(Unfit):
    """Nothing is there where a secret was said to be; it may be there later, and nothing else need change."""


@dataclass(frozen=True)
class Found:
    """The secrets behind one line of a value, and the file with its permission bits that held them."""

    texts: tuple[str, ...]
    referred: bool = True
    path: Path | None = None
    mode: int = 0o600


def resolve(text: str, folder: Path, environ: Mapping[str, str]) -> Found:
    """What stands behind ``env:NAME``, ``file:PATH`` or ``credential:NAME``; else *text* itself.

    Every line found there is a secret of its own, but for comments, which begin with ``#``. Blocks for
    one small file. Raises Unfit, which names the variable or file and never what is in it: Missing where no
    secret is there.
    """
    match = _REFERENCE.fullmatch(text)
    if not match:
        return Found(() if not text or text.startswith(COMMENT) else (text,), referred=False)
    scheme, name = match.groups()
    if _NEXT.search(name):
        remedy = "several stand one a line, each but the first on an indented line"
        raise Unfit(f"several behind '{scheme}:'", expected=WRITTEN, remedy=remedy)
    if not _NAME[scheme].fullmatch(name):
        raise Unfit(f"'{scheme}:…'", expected=WRITTEN, remedy="write for example env:GITHUB_WEBHOOK_SECRET")
    if scheme == "env":
        return Found(_from_environment(name, environ))
    if scheme == "credential":
        return Found(_from_file(_credential(name, environ))[0])
    texts, mode = _from_file(folder / name)
    return Found(texts, path=folder / name, mode=mode)


def _from_environment(name: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    expected = f"a secret in the environment variable {name}"
    remedy = "set it before the start, or write file:PATH"
    value = environ.get(name)
    if value is None:
        raise Missing("none: it is not set", expected=expected, remedy=remedy)
    return _lines(value.encode("utf-8", "surrogateescape"), expected, remedy)


def _credential(name: str, environ: Mapping[str, str]) -> Path:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory:
        return Path(directory, name)
    raise Missing(
        "none: $CREDENTIALS_DIRECTORY is not set",
        expected=f"the credential {name}",
        remedy=f"write LoadCredential={name}:PATH into the systemd unit, or file:PATH here",
    )


def _from_file(path: Path) -> tuple[tuple[str, ...], int]:
    expected = f"a secret in the file {path}"
    try:
        content, status = regular_file.read(path, LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        remedy = "create it with mode 0600, or correct the path"
        raise Missing(f"none: {reason}", expected=expected, remedy=remedy) from error
    if len(content) > LARGEST_FILE:
        raise Unfit("more than 64 KiB", expected=expected, remedy="name a file that holds only the secret")
    return _lines(content, expected, "write the secret into it, one a line"), status.st_mode & 0o777


def _lines(content: bytes, expected: str, remedy: str) -> tuple[str, ...]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        # not chained: the error holds the secret
        raise Unfit("bytes that are not UTF-8", expected=expected, remedy=remedy) from None
    written = [line.strip() for line in text.split("\n") if line.strip()]
    lines = tuple(line for line in written if not line.startswith(COMMENT))
    if not lines:
        got = "nothing but comments, which begin with #" if written else "nothing: it is empty"
        raise Missing(got, expected=expected, remedy=remedy)
    if not all(line.isprintable() for line in lines):
        raise Unfit("control characters", expected=expected, remedy=remedy)
    return lines


def _read_store(text: str) -> Secret:
    if "\n" in text:
        raise Unfit("several lines")
    if text == "sqlite":
        return Secret(text, text)
    match = _MONGODB.fullmatch(text)
    if match:
        scheme, user, hosts, database, _options = match.groups()
        return Secret(text, f"{scheme}{'***@' if user else ''}{hosts}{database or ''}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise Unfit(None if nearest(text, ("sqlite",)) else "'***'")
    remedy = "percent-encode : / ? # [ ] @ % in its user name and password" if "@" in rest else ""
    raise Unfit(f"'{scheme if scheme in _SCHEMES else '***'}://***'", remedy=remedy)


def _read_secrets(text: str) -> tuple[Secret, ...]:
    return tuple(Secret(line) for line in text.split("\n") if line)


def is_weak(secret: Secret) -> bool:
    """True for a secret that can be guessed by its length alone."""
    return len(secret.reveal().encode()) < SHORTEST


STORE: Final = ValueType(
    "sqlite or mongodb://HOST:PORT/DATABASE (mongodb+srv:// too)",
    "mongodb://127.0.0.1:27017/monqbus",
    _read_store,
    ("sqlite",),
    secret=True,
)
SECRET: Final = ValueType(
    "one or several secrets, one a line", "env:GITHUB_WEBHOOK_SECRET", _read_secrets, secret=True
)


def store_named(text: str, folder: Path, environ: Mapping[str, str]) -> Secret:
    """The store that *text* names in the way of the setting ``store``. Raises ConfigError."""
    try:
        return _read_store("\n".join(resolve(text, folder, environ).texts))
    except Unfit as unfit:
        raise ConfigError(f"store: {STORE.complaint('***', unfit)}") from None


def secrets_named(option: str, text: str, folder: Path, environ: Mapping[str, str]) -> tuple[Secret, ...]:
    """The secrets that *text* refers to, in a file below *folder* or the environment. Raises ConfigError.

    The text itself is never one: it would stand in the shell's history and in the list of processes.
    """
    try:
        found = resolve(text, folder, environ)
    except Unfit as unfit:
        raise ConfigError(f"{option}: {SECRET.complaint('***', unfit)}") from None
    if not found.referred:
        raise ConfigError(
            f"{option}: expected {WRITTEN}, got something else; write for example file:private.key"
        )
    return tuple(map(Secret, found.texts))
