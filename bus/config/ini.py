"""Reads the INI file: sections and keys, each with its line number.

`configparser` reads; this room adds what it does not tell: the line of each key, and every mistake
instead of the first. A line that is not understood is never quoted: it may be a secret that lost
its indentation.
"""

from __future__ import annotations

import codecs
import configparser
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ConfigError
from ..files import regular_file
from ..files.regular_file import Content
from .findings import Findings
from .trust import check_config

LARGEST_FILE: Final = 256 * 1024
MOST_PASSES: Final = 20
ALONE: Final = "expected [SECTION] alone on its line, got something else; write for example [monqbus]"

_HEADER = re.compile(r"\[(?P<header>[^\[\]]+)\]\s*$")
_HEADER_LINE = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:;.*)?$")
_COMMENTED_SECRET = re.compile(r"\s*[;#]+\s*(?P<key>secret|store)\s*=")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Entry:
    """One ``key = value``; a value of several lines is joined by newlines."""

    line: int
    text: str


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
    return Written(content.status, _sections(lines, findings))


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


class _Parser(configparser.RawConfigParser):
    """The standard parser, except that a section's header has its line for itself."""

    SECTCRE = _HEADER

    def __init__(self) -> None:
        super().__init__(
            delimiters=("=",),
            comment_prefixes=(";", "#"),
            inline_comment_prefixes=(";",),
            default_section="",
        )

    def optionxform(self, optionstr: str) -> str:
        """A key as it is written."""
        return optionstr


def _sections(lines: list[str], findings: Findings) -> tuple[Section, ...]:
    """Parse until nothing is wrong, each time without the lines that were wrong the time before."""
    for _ in range(MOST_PASSES):
        parser = _Parser()
        try:
            parser.read_file(lines)
        except configparser.DuplicateSectionError as error:
            again = error.lineno or 1
            first = _places(lines).get((error.section, ""), 0)
            findings.problem(again, f"expected [{error.section}] once, got it at line {first} too; join them")
            _blank_section(lines, again)
        except configparser.DuplicateOptionError as error:
            again = error.lineno or 1
            first = _places(lines).get((error.section, error.option), 0)
            sentence = f"[{error.section}]: expected a key once, got it at line {first} too; remove one"
            findings.problem(again, sentence)
            _blank_entry(lines, again)
        except configparser.MissingSectionHeaderError as error:
            findings.problem(error.lineno, _broken(lines, error.lineno, headless=True))
            _blank_section(lines, error.lineno)
        except configparser.ParsingError as error:
            for number, _source in error.errors:
                findings.problem(number, _broken(lines, number))
                _blank_entry(lines, number)
        else:
            _check_comments(lines, findings)
            return _placed(parser, lines)
    raise ConfigError(*findings.problems)


def _check_comments(lines: list[str], findings: Findings) -> None:
    """Refuse what is left of a secret that was commented out: it would go on with the value above it."""
    goes_on = {number for number, _, is_further in _meant(lines) if is_further}
    commented: re.Match[str] | None = None
    for number, line in enumerate(lines, 1):
        if commented and number in goes_on:
            sentence = f"expected a comment as well, because {commented['key']} above it is one, got a line"
            findings.problem(number, f"{sentence} that goes on with what is before; put ; in front of it")
        if line.strip():
            commented = _COMMENTED_SECRET.match(line) or (commented if line.strip()[0] in ";#" else None)


def _broken(lines: list[str], number: int, *, headless: bool = False) -> str:
    if lines[number - 1].lstrip().startswith("["):
        return ALONE
    if headless:
        return "expected a [section] first, got a line outside of any; write [monqbus] above it"
    return "expected KEY = VALUE, got something else; indent the line if it goes on with the value above"


def _blank_section(lines: list[str], number: int) -> None:
    """Empty the line *number* and all behind it up to the next header."""
    lines[number - 1] = "\n"
    for index in range(number, len(lines)):
        if _HEADER_LINE.match(lines[index]):
            return
        lines[index] = "\n"


def _blank_entry(lines: list[str], number: int) -> None:
    """Empty the line *number* and those behind it that are indented deeper."""
    depth = _depth(lines[number - 1])
    lines[number - 1] = "\n"
    for index in range(number, len(lines)):
        if lines[index].strip() and _depth(lines[index]) <= depth:
            return
        lines[index] = "\n"


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _meant(lines: list[str]) -> Iterator[tuple[int, str, bool]]:
    """The lines that mean something, with their numbers, and whether each goes on with the value above it.

    By the parser's own rule: one that is indented deeper than the key above it does, whatever it looks
    like, a header too.
    """
    key_depth = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.strip()[0] in ";#":
            continue
        if key_depth is not None and _depth(line) > key_depth:
            yield number, line, True
        else:
            key_depth = None if _HEADER_LINE.match(line) else _depth(line)
            yield number, line, False


def _places(lines: list[str]) -> dict[tuple[str, str], int]:
    """The first line of each section (its key is empty) and of each key."""
    places: dict[tuple[str, str], int] = {}
    section = ""
    for number, line, is_further in _meant(lines):
        if is_further:
            continue
        if header := _HEADER_LINE.match(line):
            section = header[1]
        places.setdefault((section, "" if header else line.partition("=")[0].strip()), number)
    return places


def _placed(parser: _Parser, lines: list[str]) -> tuple[Section, ...]:
    places = _places(lines)
    return tuple(
        Section(
            name,
            places.get((name, ""), 0),
            {key: Entry(places.get((name, key), 0), text) for key, text in parser.items(name)},
        )
        for name in parser.sections()
    )
