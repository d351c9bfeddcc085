"""security.md promises nothing that no test shows: its tables are whole and counted, their tests exist."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from typing import Final, NamedTuple

import pytest

from tests import markdown
from tests.markdown import DOCS, ROOT

PAGE: Final = DOCS / "security.md"
STATUSES: Final = ("met", "not applicable", "not met")
CHAPTERS: Final = [row[0] for row in markdown.table(PAGE, "OWASP ASVS 5.0, line by line")][:-1]
NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE.read_text())))
LEVEL_1: Final = {
    "V1": 8, "V2": 4, "V3": 8, "V4": 2, "V5": 4, "V6": 13, "V7": 6, "V8": 4, "V9": 4, "V10": 5, "V11": 3,
    "V12": 3, "V13": 1, "V14": 2, "V15": 3,
}  # fmt: skip
"""How many requirements of level 1 ASVS 5.0.0 has; V16 has none."""
LEVEL_2: Final = {
    "V1": 19, "V2": 7, "V3": 11, "V4": 8, "V5": 5, "V6": 22, "V7": 12, "V8": 3, "V13": 12, "V14": 7,
    "V15": 10, "V16": 16,
}  # fmt: skip


class Line(NamedTuple):
    """One requirement, as the page has it."""

    id: str
    level: str
    asks: str
    status: str
    shown: str


def number_of(chapter: str) -> str:
    """``V3 Web frontend`` → ``V3``."""
    return chapter.partition(" ")[0]


@cache
def lines_of(chapter: str) -> list[Line]:
    """The rows of the table of *chapter*."""
    return [Line(*row) for row in markdown.table(PAGE, chapter)]


@cache
def names_in(path: str) -> set[str]:
    """The names of the tests in the file *path*."""
    file = ROOT / path
    if not file.is_file():
        return set()
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("named", NAMED, ids=str)
def test_every_test_that_the_page_names_exists(named: str) -> None:
    """A claim whose test was renamed or deleted is a claim without one."""
    path, _, name = named.partition("::")

    assert name in names_in(path)


def test_nothing_that_looks_like_a_test_escapes_the_search() -> None:
    """A name that is written otherwise would be looked for by nobody."""
    spans = [span for span in markdown.spans(PAGE) if "test_" in span]

    assert NAMED == sorted(spans)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_requirement_has_a_status_and_its_test_or_reason(chapter: str) -> None:
    """What is met by no test is met by a page that is named; what is not met says why."""
    lines = lines_of(chapter)

    assert {number_of(chapter)} == {line.id.partition(".")[0] for line in lines}
    assert {line.status.strip("*") for line in lines} <= set(STATUSES)
    assert [] == [line.id for line in lines if not line.asks or not line.shown]
    unshown = [line.id for line in lines if line.status == "**met**" and not re.search("::|]\\(", line.shown)]
    assert [] == unshown


def test_every_requirement_stands_there_once() -> None:
    """Level 1 of each chapter, level 2 of twelve of them, none twice."""
    lines = [line for chapter in CHAPTERS for line in lines_of(chapter)]
    counted = Counter((line.id.partition(".")[0], line.level) for line in lines)
    expected = {
        (chapter, level): n for level, of in (("1", LEVEL_1), ("2", LEVEL_2)) for chapter, n in of.items()
    }

    assert [] == [one for one, n in Counter(line.id for line in lines).items() if n > 1]
    assert expected == counted


def test_the_counts_at_the_top_are_those_of_the_tables() -> None:
    """And the last row is their sum."""
    counted = []
    for chapter in CHAPTERS:
        statuses = Counter(line.status.strip("*") for line in lines_of(chapter))
        counted.append([chapter, *map(str, (statuses.total(), *(statuses[one] for one in STATUSES)))])
    columns = list(zip(*(map(int, row[1:]) for row in counted), strict=True))

    assert [*counted, ["all", *(str(sum(column)) for column in columns)]] == markdown.table(
        PAGE, "OWASP ASVS 5.0, line by line"
    )
