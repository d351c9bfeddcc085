"""Lines of JSON in a file or a pipe, each one call; never more of them in memory than one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from ..errors import UsageError
from ..files.regular_file import require
from ..safe_text import shown
from ..strict_json import BadJson, parse

LONGEST_LINE: Final = 16 * 1024**2
"""Bytes: no task of more can be stored."""
PIPE: Final = "-"
_EXPECTED: Final = '[1, "two"] or {"args": [1], "kwargs": {"name": 2}}'


class Line(NamedTuple):
    """One line as it was read; *number* is how an editor calls it."""

    number: int
    text: bytes


class Call(NamedTuple):
    """What a line asks for; *options* are those of this call alone."""

    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]


class Lines:
    """The lines of *name*, a path or ``-`` for standard input. Raises UsageError where it cannot be read."""

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == PIPE else name
        self.path: Path | None = None
        self.size = 0
        self.place = 0
        self.number = 0
        self._digest = sha256()
        try:
            self._file: BinaryIO = sys.stdin.buffer if name == PIPE else Path(name).open("rb")  # noqa: SIM115
            status = os.fstat(self._file.fileno())
        except (OSError, ValueError, AttributeError) as error:
            reason = getattr(error, "strerror", None) or "it is closed"
            raise UsageError(
                f"--from: expected a file of JSON lines, got {shown(name, 200)}: {reason}; "
                "name one, or - for standard input"
            ) from error
        if name != PIPE:
            try:
                require(status)
                self.path, self.size = Path(name), status.st_size
            except OSError:
                pass  # a pipe by name: read as standard input is

    @property
    def digest(self) -> str:
        """The SHA-256 of all lines so far, without what ends them."""
        return self._digest.hexdigest()

    def skip(self, lines: int) -> None:
        """Read so many lines, or as many as there are."""
        while self.number < lines and self._next() is not None:
            pass

    def close(self) -> None:
        """Let the file go; standard input is not ours."""
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def rewind(self) -> bool:
        """Go back to the first line; False for a pipe."""
        if self.path is None:
            return False
        self._file.seek(0)
        self.number = self.place = 0
        self._digest = sha256()
        return True

    def __iter__(self) -> Iterator[Line]:
        while (text := self._next()) is not None:
            if text.strip():
                yield Line(self.number, text)

    def _next(self) -> bytes | None:
        try:
            read = self._file.readline(LONGEST_LINE + 1)
        except OSError as error:
            raise UsageError(
                f"{self.name} line {self.number + 1}: {error.strerror}; see to the disk"
            ) from error
        if not read:
            return None
        if len(read) > LONGEST_LINE:
            raise UsageError(
                f"{self.name} line {self.number + 1}: expected at most {LONGEST_LINE} bytes, got more; "
                "store the data elsewhere and pass its address"
            )
        self.number += 1
        self.place += len(read)
        text = read.rstrip(b"\r\n")
        self._digest.update(text + b"\n")
        return text


def call_of(text: bytes, known: tuple[str, ...]) -> Call:
    """What one line says; an object may have the options that are *known*. Raises UsageError."""
    try:
        value = parse(text)
    except BadJson as error:
        said = str(error).removeprefix("body: ")
        raise UsageError(f"{said}; expected {_EXPECTED}, got {_part(text)}") from error
    if isinstance(value, list):
        return Call(value, {}, {})
    if not isinstance(value, dict):
        raise UsageError(f"expected {_EXPECTED}, got {_part(text)}")
    words = ("args", "kwargs", *known)
    if unknown := sorted(value.keys() - set(words)):
        raise UsageError(
            f"expected {', '.join(words)}, got {shown(unknown[0], 80)}; "
            "a handler's own arguments belong in args or kwargs"
        )
    for name, kind, shape in (("args", list, "an array"), ("kwargs", dict, "an object")):
        if not isinstance(value.get(name, kind()), kind):
            raise UsageError(f"{name}: expected {shape}, got {shown(value[name], 80)}")
    options = {name: value[name] for name in known if name in value}
    return Call(value.get("args", []), value.get("kwargs", {}), options)


def _part(text: bytes) -> str:
    return shown(text[:80].decode("utf-8", "backslashreplace"))
