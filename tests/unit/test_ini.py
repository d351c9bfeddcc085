"""The INI file is read in one pass, by the rules of configparser; that one is asked what a file means."""

from __future__ import annotations

import configparser
import io
import re

from hypothesis import given
from hypothesis import strategies as st

from bus.config.findings import Findings
from bus.config.ini import KEY_VALUE, Entry, Section, parse

PIECES = [
    "[a]",
    "[b]",
    "k",
    "j",
    " = ",
    "=",
    "v",
    "w x",
    ";",
    " ;",
    "#",
    " # ",
    "\n",
    "\n",
    "\n",
    "  ",
    "    ",
    "\t",
]


class Standard(configparser.RawConfigParser):
    """The standard parser, except that keys are as they are written and a header stands alone."""

    SECTCRE = re.compile(r"\[(?P<header>[^\[\]]+)\]\s*$")

    def __init__(self) -> None:
        super().__init__(
            delimiters=("=",),
            comment_prefixes=(";", "#"),
            inline_comment_prefixes=(";",),
            default_section="",
        )

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_a_file_without_mistakes_means_what_configparser_says(text):
    """And what that refuses is refused here too."""
    standard, findings = Standard(), Findings("f")
    sections = parse(io.StringIO(text), findings)
    try:
        standard.read_string(text)
    except configparser.Error:
        assert findings.problems
        return

    if any(key.startswith("[") for name in standard.sections() for key, _ in standard.items(name)):
        assert findings.problems  # a header with something behind it
        return

    assert () == findings.problems
    assert {name: dict(standard.items(name)) for name in standard.sections()} == {
        section.name: {key: entry.text for key, entry in section.entries.items()} for section in sections
    }


def test_a_mistake_takes_only_its_own_lines_with_it():
    """What is indented below it belongs to it; what follows is read, and its mistakes are found as well."""
    findings = Findings("f")
    sections = parse(
        ["[a]\n", "no pair\n", "   of it\n", "k = 1\n", "[a]\n", "j = 2\n", "[b]\n", "k = 3 ; cut\n", "x\n"],
        findings,
    )

    assert (
        Section("a", 1, {"k": Entry(4, "1")}),
        Section("b", 7, {"k": Entry(8, "3", is_cut=True)}),
    ) == sections
    assert (
        f"f:2: {KEY_VALUE}",
        "f:5: expected [a] once, got it at line 1 too; join them",
        f"f:9: {KEY_VALUE}",
    ) == findings.problems
