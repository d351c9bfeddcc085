"""Placeholders in texts of the configuration: ``{event}``, ``{header:X}``, ``{body:a.b|none}``. Pure.

``{KIND}`` or ``{KIND:WHERE}``, and behind ``|`` a default for events that have no value there. A `Grammar`
says which kinds one place takes; it compiles a text once to a `Template`, which is filled for each event.
Literal braces cannot be written: a text that has some is a mistake, not a text that is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

_BRACED = re.compile(r"\{([^{}]*)\}")
_INDEX = re.compile(r"\[(?:'([^'\[\]]*)'|\"([^\"\[\]]*)\"|([^\[\]]*))\]")
_STEPS = re.compile(r"[^{}\[\].|\s]+(?:\.[^{}\[\].|\s]+)*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`~-]{1,64}")
_PARAMETER = re.compile(r"[^{}|\s]{1,64}")


class BadPlaceholder(ValueError):
    """A text does not fit its grammar: what was *got*, what was *expected* there, and the *remedy*."""

    def __init__(self, got: str, expected: str, remedy: str) -> None:
        super().__init__(f"expected {expected}, got {got!r}; {remedy}")
        self.got = got
        self.expected = expected
        self.remedy = remedy


class NoValue(LookupError):
    """What a template is filled from has no value for a placeholder that has no default."""


class Where(NamedTuple):
    """What stands behind a kind's colon: an *example*, its *expected* shape in words, and its *pattern*."""

    example: str
    expected: str
    pattern: re.Pattern[str] | None


ALONE: Final = Where("", "nothing behind the name", None)
HEADER: Final = Where("X", "the name of a header", _HEADER_NAME)
PATH: Final = Where("dotted.path", "names and numbers with dots between them", _STEPS)
ITEM: Final = PATH._replace(example="0")
MEMBER: Final = PATH._replace(example="name")
ATTRIBUTE: Final = Where("x", "the name of a CloudEvents attribute", re.compile(r"[a-z0-9]{1,64}"))
PARAMETER: Final = Where("x", "the name of a query parameter", _PARAMETER)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder: its *name* is the kind and where, as written; *default* None means there is none."""

    name: str
    kind: str
    where: str = ""
    default: str | None = None

    def __str__(self) -> str:
        return f"{{{self.name}}}"


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text: fixed pieces and placeholders in their order."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """Those it has, in their order."""
        return tuple(part for part in self.parts if not isinstance(part, str))

    @property
    def fixed(self) -> str:
        """What stands outside of its placeholders."""
        return "".join(part for part in self.parts if isinstance(part, str))

    def fill(self, resolve: Callable[[Placeholder], str | None]) -> str:
        """The text with what *resolve* gives for each placeholder, or its default where that is None.

        Raises NoValue, which says the placeholder, where there is neither.
        """
        return "".join([part if isinstance(part, str) else _value(part, resolve) for part in self.parts])


def _value(placeholder: Placeholder, resolve: Callable[[Placeholder], str | None]) -> str:
    value = resolve(placeholder)
    if value is None:
        value = placeholder.default
    if value is None:
        raise NoValue(str(placeholder))
    return value


class Grammar:
    """The placeholders that one place takes: its *kinds* by name, and which *defaults* fit there."""

    def __init__(
        self, kinds: Mapping[str, Where], defaults: re.Pattern[str] = re.compile(r"[^{}|]*")
    ) -> None:
        self._kinds = dict(kinds)
        self._defaults = defaults
        self.compile: Final = lru_cache(maxsize=1024)(self._compiled)
        """`_compiled`, which remembers: a text is taken apart once, however often it is filled."""

    @property
    def known(self) -> str:
        """Its placeholders for people: ``{event}, {name} and {header:X}``."""
        *most, last = [_written(kind, where) for kind, where in self._kinds.items()]
        return f"{', '.join(most)} and {last}" if most else last

    def _compiled(self, text: str) -> Template:
        """The template that *text* is. Raises BadPlaceholder for the first mistake in it."""
        pieces = _BRACED.split(text)
        parts = [
            self._read(piece, is_variable=pieces[odd - 1].endswith("$")) if odd % 2 else piece
            for odd, piece in enumerate(pieces)
        ]
        template = Template(tuple(part for part in parts if part))
        if "{" in template.fixed or "}" in template.fixed:
            raise BadPlaceholder(
                text, "a closing brace for every opening one", f"placeholders are {self.known}"
            )
        return template

    def _read(self, inside: str, *, is_variable: bool) -> Placeholder:
        name, bar, default = inside.partition("|")
        kind, colon, place = name.partition(":")
        where = self._kinds.get(kind)
        if where is None and is_variable:
            raise BadPlaceholder(
                f"${{{inside}}}",
                "a known placeholder",
                "a variable is not filled in here: write out what it stands for; "
                f"placeholders are {self.known}",
            )
        if where is None:
            from difflib import get_close_matches  # only a mistake needs it, see bus/spelling

            near = get_close_matches(kind.lower(), self._kinds, n=1)
            remedy = f"did you mean {_written(near[0], self._kinds[near[0]], place)}?" if near else ""
            raise BadPlaceholder(f"{{{inside}}}", "a known placeholder", remedy or f"known are {self.known}")
        if bool(colon) != (where.pattern is not None) or (
            where.pattern and not where.pattern.fullmatch(place)
        ):
            raise BadPlaceholder(
                f"{{{inside}}}",
                f"{where.expected} in {_written(kind, where)}",
                f"write for example {_written(kind, where, _mended(place, where))}",
            )
        if bar and not self._defaults.fullmatch(default):
            raise BadPlaceholder(
                f"{{{inside}}}",
                f"another default behind | in {{{name}}}",
                f"write for example {{{name}|none}}",
            )
        return Placeholder(name, kind, place, default if bar else None)


def _written(kind: str, where: Where, place: str = "") -> str:
    return f"{{{kind}:{place or where.example}}}" if where.pattern else f"{{{kind}}}"


def _mended(place: str, where: Where) -> str:
    """*place* as it was probably meant: ``commits[0].id`` is ``commits.0.id``; "" where nobody knows."""
    if where.pattern is not _STEPS:
        return ""
    path = _INDEX.sub(lambda match: f".{match[1] or match[2] or match[3] or 0}", place)
    path = path.strip(". ")
    return path if _STEPS.fullmatch(path) else ""
