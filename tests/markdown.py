"""What the claims about the documents read out of a Markdown page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")
_OPERATORS = frozenset({"&&", "|", ";", ">", "&"})


class Block(NamedTuple):
    """A fenced block: its language, its text, and where it stands."""

    language: str
    text: str
    where: str


def pages() -> list[Path]:
    """Every page for people, the generated ones too."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def name_of(page: Path) -> str:
    """The page as a test's id names it."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The fenced blocks of *page* in one of *languages*."""
    text = page.read_text()
    for match in _FENCE.finditer(text):
        if match[1] in languages:
            line = text.count("\n", 0, match.start()) + 2
            yield Block(match[1], match[2], f"{name_of(page)}:{line}")


def prose(page: Path) -> str:
    """*page* without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def spans(page: Path) -> set[str]:
    """What stands between single backticks, on one line."""
    return {" ".join(span.split()) for span in _SPAN.findall(prose(page))}


def links(page: Path) -> list[str]:
    """The targets of links that lead to other files or other places of this one."""
    return [target for target in _LINK.findall(prose(page)) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of *page*."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {_NOT_IN_ANCHORS.sub("", title.lower()).replace(" ", "-") for title in headings}


def table(page: Path, title: str) -> list[list[str]]:
    """The rows of the first table below the heading *title*, without its head; cells without backticks."""
    below = page.read_text().partition(f"# {title}\n")[2]
    rows = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    lines = rows[0].splitlines()[2:] if rows else []
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")] for line in lines]


def calls(page: Path) -> Iterator[list[str]]:
    """The words behind `monqbus` of every command line shown on *page*."""
    lines = [line for block in blocks(page, "sh", "") for line in block.text.splitlines()]
    typed = [line for block in blocks(page, "console") for line in block.text.splitlines()]
    lines += [line.removeprefix("$ ") for line in typed if line.startswith("$ ")]
    for line in [*lines, *spans(page)]:
        words: list[str] = []
        for word in [*_words(line), ";"]:
            if word not in _OPERATORS:
                words.append(word)
                continue
            if words[:1] == ["monqbus"] and len(words) > 1:
                yield words[1:]
            words = []


def _words(line: str) -> list[str]:
    """*line* as a shell would cut it; a line about something else is none."""
    if "monqbus " not in line:
        return []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split = True
    return list(lexer)
