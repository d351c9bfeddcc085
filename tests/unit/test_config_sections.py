"""One declaration makes a kind of section: it is read, checked, explained and named in messages."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus.config import reference, sample
from bus.config.findings import Findings
from bus.config.ini import Section, parse
from bus.config.section_kinds import SectionKind, Values
from bus.config.sections import KINDS, Reader, kind_of, unknown_section
from bus.config.setting import setting
from bus.config.value_types import choice, whole_number


@dataclass(frozen=True)
class Lamp:
    """A kind that only this test knows."""

    name: str
    colour: str = setting(None, choice("red", "green"), "What it shines in.")
    watts: int = setting("5", whole_number(1, 60), "How bright it is.")
    where: str = ""


def _too_bright(section: Section, values: Values, folder: Path) -> list[tuple[int, str]]:
    is_fine = values.read.get("watts", 5) < 40
    return (
        [] if is_fine else [(section.entries["watts"].line, f"[{section.name}] watts: melts {folder.name}")]
    )


LAMP = SectionKind(
    "lamp",
    "lamps",
    Lamp,
    "What shines.",
    "desk",
    _too_bright,
    "\nEach lamp is a section of its own.\n",
    {"lamp:door": {"colour": "green"}},
)


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    """The table with one more kind in it, for all who read the table."""
    for module in ("sections", "sample"):
        monkeypatch.setattr(sys.modules[f"bus.config.{module}"], "KINDS", (*KINDS, LAMP))


def read(text: str) -> tuple[object, list[str]]:
    """What the first section of *text* describes, and the mistakes in it."""
    findings = Findings("f")
    (section,) = parse(text.splitlines(keepends=True), findings)
    kind = kind_of(section)
    assert kind is LAMP
    return Reader(findings, Path("/etc/f"), {}, 0o600).read(section, kind), list(findings.problems)


def test_a_section_of_the_kind_is_read():
    assert (Lamp("a", "red", 5, "f:1"), []) == read("[lamp:a]\ncolour = red\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[lamp:a]\n", "f:1: [lamp:a]: expected the key colour, got none; write for example colour = green"),
        (
            "[lamp:a b]\ncolour = red\n",
            "f:1: [lamp:NAME]: expected a name of 1 to 64 letters, digits, _ and - behind lamp:, got 'a b'; "
            "write for example [lamp:desk]",
        ),
        ("[lamp:a]\ncolour = red\nwatts = 50\n", "f:3: [lamp:a] watts: melts etc"),
        (
            "[lamp:a]\ncolour = red\nwats = 5\n",
            "f:3: [lamp:a]: expected a known key, got 'wats'; did you mean watts?",
        ),
    ],
)
def test_its_mistakes_are_said_in_the_words_of_all_kinds(text, said):
    assert [said] == read(text)[1]


def test_the_pages_and_the_messages_have_it():
    """Sample, reference, and what is said of a section that nobody knows."""
    page = reference().partition("\n## [lamp:NAME]\n\nWhat shines.\n\nEach lamp is a section of its own.\n")[
        2
    ]

    assert "| `watts` | `5` | a whole number from 1 to 60 | How bright it is. |\n" in page
    assert "\n; [lamp:NAME]: What shines.\n; colour: What it shines in." in sample({})
    assert "\n;[lamp:door]\n;colour = green\n" in sample({})
    assert "\n[lamp:door]\ncolour = red\n" in sample({"lamp:door": {"colour": "red"}})
    assert unknown_section("lamps:door").endswith("did you mean [lamp:door]?")
    assert "[schedule:NAME], [lamp:NAME]" in unknown_section("xyz")
