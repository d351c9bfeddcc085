"""The file as it is written: sections and keys, each with the line where it stands.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ConfigError
from .findings import Findings

LARGEST_FILE: Final = 256 * 1024
MOST_PASSES: Final = 20
ALONE: Final = "expected [SECTION] alone on its line, got something else; write for example [monqbus]"

_HEADER = re.compile(r"\[(?P<header>[^\[\]]+)\]\s*$")
_HEADER_LINE = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:;.*)?$")
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
    """A file that was read: its permission bits and its sections."""

    mode: int = 0o600
    sections: tuple[Section, ...] = ()


def read(path: Path, findings: Findings) -> Written:
    """Read and parse *path*; blocks for the file. Raises ConfigError when it has no text to parse."""
    content, mode = _content(path, findings)
    lines = list(io.StringIO(_text(content, findings), newline=None))
    return Written(mode, _sections(lines, findings))


def _content(path: Path, findings: Findings) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
            mode = os.fstat(file.fileno()).st_mode
    except FileNotFoundError:
        findings.fatal(0, "expected a configuration file, got nothing; write one with: monqbus init")
    except IsADirectoryError:
        findings.fatal(0, "expected a configuration file, got a folder; name the file in it")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        findings.fatal(0, f"expected a readable file, got: {reason}; correct its path or its permissions")
    if len(content) > LARGEST_FILE:
        findings.fatal(0, "expected at most 256 KiB, got more; name a configuration file")
    return content, mode & 0o777


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
            first = _places(parser, lines)[error.section, ""]
            findings.problem(again, f"expected [{error.section}] once, got it at line {first} too; join them")
            _blank_section(lines, again)
        except configparser.DuplicateOptionError as error:
            again = error.lineno or 1
            first = _places(parser, lines)[error.section, error.option]
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
            return _placed(parser, lines)
    raise ConfigError(*findings.problems)


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


def _places(parser: _Parser, lines: list[str]) -> dict[tuple[str, str], int]:
    """The first line of each section (its key is empty) and of each key that *parser* knows."""
    places: dict[tuple[str, str], int] = {}
    sections = set(parser.sections())
    section = ""
    for number, line in enumerate(lines, 1):
        header = _HEADER_LINE.match(line)
        if header and header[1] in sections:
            section = header[1]
            places.setdefault((section, ""), number)
        elif section:
            places.setdefault((section, line.partition("=")[0].strip()), number)
    return places


def _placed(parser: _Parser, lines: list[str]) -> tuple[Section, ...]:
    places = _places(parser, lines)
    return tuple(
        Section(
            name,
            places[name, ""],
            {key: Entry(places[name, key], text) for key, text in parser.items(name)},
        )
        for name in parser.sections()
    )
