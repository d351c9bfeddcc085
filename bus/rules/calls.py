"""The functions of the language: a rule calls these and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import conditions
from .conditions import Test
from .paths import Getter
from .subject import Subject

_MANY: Final = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One function: how many arguments it takes, an *example*, and what it computes of their values."""

    of: Callable[..., Any]
    least: int
    most: int
    example: str
    makes_a_value: bool = False
    takes_a_path: bool = False
    of_networks: bool = False

    @property
    def arguments(self) -> str:
        """How many it takes, for a sentence."""
        if self.most > self.least:
            return f"{self.least} or more values"
        return f"{self.least} value{'' if self.least == 1 else 's'}"

    def value(self, get: Getter) -> Getter:
        """What reads its value."""
        of = self.of
        return lambda subject: of(get(subject))

    def test(self, *getters: Getter) -> Test:
        """The condition that it is."""
        of = self.of
        if len(getters) == 1:
            (only,) = getters
            return lambda subject: of(only(subject))

        def holds(subject: Subject) -> bool:
            return bool(of(*(get(subject) for get in getters)))

        return holds


FUNCTIONS: Final[Mapping[str, Call]] = {
    "exists": Call(lambda value: value is not None, 1, 1, "exists(body.action)", takes_a_path=True),
    "missing": Call(lambda value: value is None, 1, 1, "missing(body.action)", takes_a_path=True),
    "startswith": Call(conditions.starts, 2, 2, 'startswith(body.ref, "refs/tags/")'),
    "endswith": Call(conditions.ends, 2, 2, 'endswith(body.ref, "/main")'),
    "contains": Call(conditions.contains, 2, 2, 'contains(body.labels, "bug")'),
    "lower": Call(conditions.lower, 1, 1, "lower(header.X-Kind)", makes_a_value=True),
    "number": Call(conditions.number, 1, 1, "number(query.size)", makes_a_value=True),
    "length": Call(conditions.length, 1, 1, "length(body.commits)", makes_a_value=True),
    "in_network": Call(
        conditions.is_within, 2, _MANY, 'in_network(header.X-Client, "10.0.0.0/8")', of_networks=True
    ),
}
