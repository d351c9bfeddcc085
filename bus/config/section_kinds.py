"""What is declared once about a kind of section: its keys, what they demand of each other, and its pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .ini import Section
from .setting import Setting, rows
from .value_types import quoted

Live = Mapping[str, Mapping[str, str]]
"""Lines of a sample: section → key → value."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Values:
    """What one section says: the *read* values by attribute, and the keys that were *given* at all.

    A key that is given and not read was wrong, and that has been said. *absent* are sentences about secrets
    that are not there, where the kind says that they close nothing but what they belong to.
    """

    read: dict[str, Any]
    given: frozenset[str]
    absent: tuple[str, ...] = ()


Check = Callable[[Section, Values, Path], Iterable[tuple[int, str]]]
"""From a section, its values and the file's folder to its mistakes, each a line and a sentence."""


@dataclass(frozen=True)
class SectionKind:
    """One kind of section. *attribute* is where Config has what is read; *purpose* is one sentence.

    With an *example_name* there may be several, each ``[kind:NAME]``, and Config has them by name. *check* is
    asked when no required key is missing; it may look at the disk. *about* are paragraphs of
    the reference, *examples* stand commented out in the sample, and messages take their examples from them.
    One that *is_closed_without* a secret keeps the sentence about it in its field ``fault``; of others a
    missing secret is a mistake of the file.
    """

    name: str
    attribute: str
    group: type[Any]
    purpose: str
    example_name: str = ""
    check: Check = lambda *_: ()
    about: str = ""
    examples: Live = field(default_factory=dict)
    is_closed_without: bool = False

    @property
    def title(self) -> str:
        """Its header for people, without brackets."""
        return f"{self.name}:NAME" if self.example_name else self.name

    @property
    def shape(self) -> str:
        """The pattern of its header, without brackets."""
        return f"{self.name}:{_NAME.pattern}" if self.example_name else self.name

    @property
    def rows(self) -> tuple[Setting, ...]:
        """Its settings in the order of the file."""
        return tuple(rows(self.group))

    def has(self, section: str) -> bool:
        """Whether a section of this name is of this kind; its NAME may be wrong."""
        return section.startswith(f"{self.name}:") if self.example_name else section == self.name

    def name_of(self, section: Section) -> str:
        """The NAME of a section of this kind."""
        return section.name.removeprefix(f"{self.name}:")

    def name_problems(self, section: Section) -> list[tuple[int, str]]:
        """What is wrong with the NAME of *section*."""
        name = self.name_of(section)
        if not self.example_name or _NAME.fullmatch(name):
            return []
        expected = f"expected a name of 1 to 64 letters, digits, _ and - behind {self.name}:"
        remedy = f"write for example [{self.name}:{self.example_name}]"
        return [(section.line, f"[{self.title}]: {expected}, got {quoted(name)}; {remedy}")]

    def missing(self, section: Section, values: Values) -> list[tuple[int, str]]:
        """The required keys that *section* does not give."""
        return [
            (section.line, f"[{section.name}]: expected the key {row.key}, got none; {self._remedy(row.key)}")
            for row in self.rows
            if row.default is None and row.key not in values.given
        ]

    def _remedy(self, key: str) -> str:
        found = next(keys[key] for keys in self.examples.values() if key in keys)
        return f"write for example {key} = {found}"
