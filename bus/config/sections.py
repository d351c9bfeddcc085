"""The table of all kinds of sections, and how one section of the file becomes typed values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..spelling import nearest
from .admin import ADMIN
from .findings import Findings
from .handlers import HANDLER
from .hooks import HOOK
from .ini import Entry, Section
from .literal import literal, mended
from .schedules import SCHEDULE
from .secrets import SECRET, Found, Missing, resolve
from .section_kinds import SectionKind, Values
from .setting import Setting, key_of
from .settings import RENAMED, Http, Monqbus, Worker
from .value_types import Unfit, ValueType, quoted

_KEY_SHAPE = re.compile(r"[A-Za-z_-]{1,15}")  # shorter than any secret
_KEY_LINE = re.compile(
    r"([A-Za-z_-]+(?:\.[A-Za-z0-9_-]+)?)\s*=(?!=)"
)  # not a comparison of a rule that goes on

KINDS: Final = (
    SectionKind("monqbus", "monqbus", Monqbus, "What runs, where its data is, how long it is kept."),
    SectionKind("worker", "worker", Worker, "How tasks run."),
    SectionKind("http", "http", Http, "What the outside world reaches."),
    ADMIN,
    HOOK,
    HANDLER,
    SCHEDULE,
)
"""In the order of the pages; the file's reader, the sample, the reference and the messages walk them."""

_KNOWN_HEADER = re.compile(rf"\[(?:{'|'.join(kind.shape for kind in KINDS)})\]")


def kind_of(section: Section) -> SectionKind | None:
    """The kind that *section* is of."""
    return next((kind for kind in KINDS if kind.has(section.name)), None)


def unknown_section(name: str) -> str:
    """The sentence about a section that is of no kind."""
    head, *rest = re.split(r"[:\s]+", name.strip(), maxsplit=1)
    near = nearest(head, tuple(kind.name for kind in KINDS))
    meant = next((kind for kind in KINDS if kind.name == near), None)
    if meant and meant.example_name:
        near = f"{near}:{rest[0] if rest and rest[0] else 'NAME'}"
    known = ", ".join(f"[{kind.title}]" for kind in KINDS)
    remedy = f"did you mean [{near}]?" if near else f"known are {known}"
    return f"expected a known section, got {quoted(f'[{name}]')}; {remedy}"


@dataclass
class Reader:
    """Reads the sections of one file; notes mistakes instead of raising them."""

    findings: Findings
    file: Path
    environ: Mapping[str, str]
    mode: int

    def read(self, section: Section, kind: SectionKind) -> Any | None:
        """What *section* describes, or None when its mistakes leave nothing to use.

        Blocks for the secret files it names, and for what the kind's check looks at.
        """
        values = self._values(section, kind)
        problems = [*kind.name_problems(section), *kind.missing(section, values)]
        if not kind.missing(section, values):
            problems += kind.check(section, values, self.file.parent)
        for line, sentence in problems:
            self.findings.problem(line, sentence)
        if not kind.example_name:
            return kind.group(**values.read)
        if problems or not {row.attribute for row in kind.rows if row.default is None} <= values.read.keys():
            return None
        name, where = kind.name_of(section), self.findings.place(section.line)
        fault = {"fault": "; ".join(values.absent)} if values.absent else {}
        return kind.group(name=name, **values.read, where=where, **fault)

    def _values(self, section: Section, kind: SectionKind) -> Values:
        table = {row.key: row for row in kind.rows}
        read: dict[str, Any] = {}
        given = set(section.entries)
        absent: list[str] | None = [] if kind.is_closed_without else None
        for key, entry in section.entries.items():
            if (row := table.get(key_of(key))) is None:
                self.findings.problem(entry.line, _unknown(section, key, table))
            elif swallowed := _swallowed(entry, table):
                given.update(swallowed)
                sentence = f"expected {swallowed[0]} at the start of a line, got it indented; unindent it"
                self.findings.problem(entry.line, f"[{section.name}] {key}: {sentence}")
            elif row.is_named:
                self._read_named(section, key, row, read)
            else:
                self._read(f"[{section.name}] {key}", entry, row, read, absent)
        return Values(read, frozenset(given), tuple(absent or ()))

    def _read_named(self, section: Section, key: str, row: Setting, read: dict[str, Any]) -> None:
        """Add what one of the keys of *row*, each with a name of its own, says to what the others have."""
        entry, own = section.entries[key], {row.attribute: ()}
        named = replace(entry, text=f"{key.partition('.')[2]}: {entry.text}")
        self._read(f"[{section.name}] {key}", named, row, own)
        read[row.attribute] = (*read.get(row.attribute, ()), *own[row.attribute])

    def _read(
        self,
        subject: str,
        entry: Entry,
        row: Setting,
        read: dict[str, Any],
        absent: list[str] | None = None,
    ) -> None:
        """Add what *entry* says to what is *read*; what is said of a missing secret goes into *absent*."""
        with self._noting(subject, entry.line, row.kind, entry.text, absent):
            if not row.kind.secret:
                read[row.attribute] = row.kind.read(entry.text)
                self._warn_literal(subject, entry, row.kind)
                return
            lines = [line for line in entry.text.split("\n") if line]
            found = [self._found(subject, entry, row.kind, line, absent) for line in lines]
            texts = [text for one in found if one for text in one.texts]
            if not found or not (texts or None in found):
                raise Missing("nothing")
            if None not in found:
                read[row.attribute] = row.kind.read("\n".join(texts))
                self._warn_literal(subject, entry, row.kind)

    def _found(
        self, subject: str, entry: Entry, kind: ValueType[Any], line: str, absent: list[str] | None
    ) -> Found | None:
        """What stands behind one *line* of a secret; None when it cannot be had, which has been said."""
        with self._noting(subject, entry.line, kind, line, absent):
            found = resolve(line, self.file.parent, self.environ)
            if found.mode & 0o077:
                self._warn_open(subject, entry.line, found.path, found.mode)
            if not found.referred and self.mode & 0o004 and (kind is SECRET or "@" in line):
                self._warn_open(subject, entry.line, self.file, self.mode)
            return found
        return None

    def _warn_literal(self, subject: str, entry: Entry, kind: ValueType[Any]) -> None:
        for sentence in literal(kind, entry):
            self.findings.warning(entry.line, f"{subject}: {sentence}")

    def _warn_open(self, subject: str, line: int, path: Path | None, mode: int) -> None:
        sentence = f"expected a file for its owner only, got {path} with mode {mode:04o}"
        self.findings.warning(line, f"{subject}: {sentence}; run: chmod 600 {path}")

    @contextmanager
    def _noting(
        self,
        subject: str,
        line: int,
        kind: ValueType[Any],
        text: str,
        absent: list[str] | None = None,
    ) -> Iterator[None]:
        try:
            yield
        except Unfit as unfit:
            sentence = f"{subject}: {_complaint(kind, text, unfit)}"
            if absent is not None and isinstance(unfit, Missing):
                absent.append(self.findings.absence(line, sentence))
            else:
                self.findings.problem(line, sentence)


def _complaint(kind: ValueType[Any], text: str, unfit: Unfit) -> str:
    """What is wrong with *text*, of which further lines are not quoted: secrets that lost their key."""
    first, *further = text.split("\n")
    if not further or kind.secret or kind.is_language:
        if not (kind.secret or kind.is_language) and not unfit.remedy and (meant := mended(kind, text)):
            unfit.remedy = f"write {meant}; quotes and # are part of a value, a comment begins with ;"
        return kind.complaint(text, unfit)
    try:
        kind.read(first)
    except Unfit as own:
        return kind.complaint(first, own)
    where = "the line below it" if len(further) == 1 else f"one of the {len(further)} lines below it"
    return kind.complaint(text, Unfit(f"something else in {where}", expected=unfit.expected))


def _swallowed(entry: Entry, table: Mapping[str, Setting]) -> list[str]:
    """Keys and headers that stand indented, so that they became part of the value above them."""
    lines = entry.text.split("\n")[1:]
    starts = (_KEY_LINE.match(line) for line in lines)
    headers = (_KNOWN_HEADER.fullmatch(line) for line in lines)
    return [
        *(match[1] for match in starts if match and key_of(match[1]) in table),
        *(match[0] for match in headers if match),
    ]


def _home_of(key: str) -> str:
    """The only kind of sections that has *key*, or nothing."""
    homes = [kind.title for kind in KINDS if any(row.key == key for row in kind.rows)]
    return homes[0] if len(homes) == 1 else ""


def _unknown(section: Section, key: str, table: Mapping[str, Setting]) -> str:
    """The sentence about an unknown *key*, which is quoted only where it cannot be a piece of a secret."""
    if (now := RENAMED.get((section.name, key))) is not None:
        return f"[{section.name}] {key}: is called {now} now; rename it"
    if home := _home_of(key):
        return f"[{section.name}]: expected a known key, got {quoted(key)}; it belongs into [{home}]"
    near = nearest(key, tuple(table))
    is_safe = all(row.kind is not SECRET for row in table.values())
    quotable = is_safe and (near or _KEY_SHAPE.fullmatch(key))
    got = quoted(key) if quotable else "another one"
    remedy = f"did you mean {near}?" if near else f"known are {', '.join(table)}"
    return f"[{section.name}]: expected a known key, got {got}; {remedy}"
