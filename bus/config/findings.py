"""Collects errors and warnings about a configuration file, each with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from ..errors import ConfigError


@dataclass
class Findings:
    """The mistakes and warnings of one file, each a finished sentence with its place."""

    file: str
    _problems: list[tuple[int, str]] = field(default_factory=list)
    _warnings: list[tuple[int, str]] = field(default_factory=list)
    _absences: list[tuple[int, str]] = field(default_factory=list)

    def place(self, line: int) -> str:
        """*line* of the file as an editor understands it; line 0 is the file as a whole."""
        return f"{self.file}:{line}" if line else self.file

    def problem(self, line: int, sentence: str) -> None:
        """Note a mistake: the configuration cannot be used."""
        self._problems.append((line, f"{self.place(line)}: {sentence}"))

    def fatal(self, line: int, sentence: str) -> NoReturn:
        """Raise ConfigError with this mistake, behind which no other can be found."""
        self.problem(line, sentence)
        raise ConfigError(*self.problems)

    def absence(self, line: int, sentence: str) -> str:
        """Note a secret that is not there, which is no mistake of the file; the sentence with its place."""
        placed = f"{self.place(line)}: {sentence}"
        self._absences.append((line, placed))
        return placed

    def warning(self, line: int, sentence: str) -> None:
        """Note something that works and is probably not meant."""
        self._warnings.append((line, f"{self.place(line)}: {sentence}"))

    @property
    def problems(self) -> tuple[str, ...]:
        """The mistakes in the order of the file."""
        return tuple(sentence for _, sentence in sorted(self._problems, key=_by_line))

    @property
    def problems_and_absences(self) -> tuple[str, ...]:
        """All that `check` refuses, in the order of the file."""
        return tuple(sentence for _, sentence in sorted(self._problems + self._absences, key=_by_line))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings in the order of the file."""
        return tuple(sentence for _, sentence in sorted(self._warnings, key=_by_line))


def _by_line(finding: tuple[int, str]) -> int:
    return finding[0]
