"""Reads the INI file: sections and keys, each with its line number, and every mistake instead of the first.

One pass over the lines, by the rules of `configparser`: a line that is indented deeper than the key above it
goes on with that key's value, a header too. A line that is not understood is never quoted: it may be a secret
that lost its indentation.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..files import regular_file
from ..files.regular_file import Content
from .findings import Findings
from .trust import check_config

LARGEST_FILE: Final = 256 * 1024
ALONE: Final = "expected [SECTION] alone on its line, got something else; write for example [monqbus]"

KEY_VALUE: Final = (
    "expected KEY = VALUE, got something else; indent the line if it goes on with the value above"
)
HEADLESS: Final = "expected a [section] first, got a line outside of any; write [monqbus] above it"

_HEADER = re.compile(r"\[([^\[\]]+)\]")
_BEHIND = re.compile(r"\s;")
_COMMENTED_SECRET = re.compile(r"\s*[;#]+\s*(?P<key>secret|store)\s*=")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Entry:
    """One ``key = value``; a value of several lines is joined by newlines.

    *is_cut*: behind one of its lines stood a comment, which may have been meant as a part of it.
    """

    line: int
    text: str
    is_cut: bool = False


@dataclass(frozen=True)
class Section:
    """One ``[name]`` with its entries in the order of the file."""

    name: str
    line: int
    entries: dict[str, Entry]


@dataclass(frozen=True)
class Written:
    """A file that was read: its status while it was open, and its sections."""

    status: os.stat_result
    sections: tuple[Section, ...] = ()

    @property
    def mode(self) -> int:
        """Its permission bits."""
        return self.status.st_mode & 0o777


def read(path: Path, findings: Findings) -> Written:
    """Read and parse *path*; blocks for the file. Raises ConfigError when it has no text to parse."""
    content = _content(path, findings)
    lines = list(io.StringIO(_text(content.data, findings), newline=None))
    return Written(content.status, parse(lines, findings))


def parse(lines: Iterable[str], findings: Findings) -> tuple[Section, ...]:
    """The sections of *lines* in their order, without what is wrong in them, which *findings* says."""
    parser = _Parser(findings)
    for number, line in enumerate(lines, 1):
        parser.read(number, line)
    return parser.sections()


def _content(path: Path, findings: Findings) -> Content:
    try:
        content = regular_file.read(path, LARGEST_FILE + 1)
    except FileNotFoundError:
        findings.fatal(0, "expected a configuration file, got nothing; write one with: monqbus init")
    except IsADirectoryError:
        findings.fatal(0, "expected a configuration file, got a folder; name the file in it")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        if "pipe" in reason:
            remedy = "write it into a file, which a reload and other commands read again"
            findings.fatal(0, f"expected a file, got a pipe; {remedy}")
        findings.fatal(0, f"expected a readable file, got: {reason}; correct its path or its permissions")
    if len(content.data) > LARGEST_FILE:
        findings.fatal(0, "expected at most 256 KiB, got more; name a configuration file")
    check_config(path, content.status, findings)
    return content


def _text(content: bytes, findings: Findings) -> str:
    if content.startswith(codecs.BOM_UTF8):
        findings.problem(1, "expected UTF-8 without a byte order mark, got one; save the file without it")
        content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{content[error.start]:02x}"
        line = content.count(b"\n", 0, error.start) + 1
        findings.fatal(line, f"expected UTF-8, got {wrong}; save the file as UTF-8")
    if match := _CONTROL.search(text):
        wrong = f"control character U+{ord(match[0]):04X}"
        line = text.count("\n", 0, match.start()) + 1
        findings.fatal(line, f"expected text, got {wrong}; remove it")
    return text


@dataclass
class _Value:
    """A value while its lines are read; one that is not *kept* belongs to a mistake."""

    line: int
    texts: list[str]
    kept: bool = True
    is_cut: bool = False

    def entry(self) -> Entry:
        return Entry(self.line, "\n".join(self.texts).rstrip(), self.is_cut)


class _Parser:
    """What is known in front of the next line."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._sections: dict[str, tuple[int, dict[str, _Value]]] = {}
        self._name = ""  # of the present section; none in front of the first
        self._values: dict[str, _Value] | None = {}  # its values; None while lines are dropped up to a header
        self._value: _Value | None = None  # what an indented line goes on with
        self._depth = 0  # of its key
        self._commented = ""  # the key of a secret that is commented out just above

    def sections(self) -> tuple[Section, ...]:
        """What was read."""
        return tuple(
            Section(name, number, {key: value.entry() for key, value in values.items()})
            for name, (number, values) in self._sections.items()
        )

    def read(self, number: int, line: str) -> None:
        """Read the next *line*; a mistake is noted."""
        text = line.strip()
        if not text:
            if self._value:
                self._value.texts.append("")
            return
        if text[0] in ";#":
            commented = _COMMENTED_SECRET.match(line)
            self._commented = commented["key"] if commented else self._commented
            return
        comment = _BEHIND.search(line.rstrip(), len(line) - len(line.lstrip()))
        if comment:
            text = line[: comment.start()].strip()
        self._take(number, text, len(line) - len(line.lstrip()))
        if comment and self._value:
            self._value.is_cut = True
        self._commented = ""

    def _take(self, number: int, text: str, depth: int) -> None:
        if self._value and depth > self._depth:
            self._go_on(number, text, self._value)
            return
        self._value, self._depth = None, depth
        if header := _HEADER.fullmatch(text):
            self._begin_section(number, header[1])
        elif self._values is not None:
            self._value = self._begin_value(number, text, self._values)

    def _go_on(self, number: int, text: str, value: _Value) -> None:
        """Refuse what is left of a secret that was commented out: it would go on with the value above it."""
        value.texts.append(text)
        if self._commented and value.kept:
            sentence = f"expected a comment as well, because {self._commented} above it is one, got a line"
            self._problem(number, f"{sentence} that goes on with what is before; put ; in front of it")

    def _begin_section(self, number: int, name: str) -> None:
        if name in self._sections:
            first, _ = self._sections[name]
            self._problem(number, f"expected [{name}] once, got it at line {first} too; join them")
            self._values = None
            return
        self._name, self._values = name, {}
        self._sections[name] = number, self._values

    def _begin_value(self, number: int, text: str, values: dict[str, _Value]) -> _Value:
        """The value that begins at line *number*, kept in the present section unless it is a mistake."""
        key, equals, rest = text.partition("=")
        key = key.strip()
        value = _Value(number, [rest.strip()], kept=False)
        if text.startswith("["):
            self._problem(number, ALONE)
        elif not self._name:
            self._problem(number, HEADLESS)
        elif not equals or not key:
            self._problem(number, KEY_VALUE)
        elif key in values:
            first = values[key].line
            sentence = f"expected a key once, got it at line {first} too; remove one"
            self._problem(number, f"[{self._name}]: {sentence}")
        else:
            value.kept = True
            values[key] = value
        if not self._name:
            self._values = None
        return value

    def _problem(self, number: int, sentence: str) -> None:
        self._findings.problem(number, sentence)
