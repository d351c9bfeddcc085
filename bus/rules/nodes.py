"""The parts of a rule while it is compiled: what they read, and what may stand beside what. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from . import conditions
from .conditions import Test
from .paths import ADDRESSES, TREES, Getter
from .tokens import Token

NOT_CONSTANT: Final = object()


@dataclass(frozen=True, slots=True)
class Node:
    """A part that begins with the word *token*: a value that `get` reads, or a condition with its `test`.

    *constant* is the value where it stands in the rule itself. *root* is the name that a path begins with.
    """

    token: Token
    get: Getter | None = None
    test: Test | None = None
    constant: Any = NOT_CONSTANT
    root: str = ""

    @property
    def is_constant(self) -> bool:
        """Whether its value stands in the rule."""
        return self.constant is not NOT_CONSTANT

    @property
    def is_address(self) -> bool:
        """Whether it is the address of the sender."""
        return self.root in ADDRESSES

    @property
    def holds_text(self) -> bool:
        """Whether it is a name whose value is always text."""
        return bool(self.root) and self.root not in TREES

    @property
    def as_test(self) -> Test | None:
        """The condition that it is; that of a value is that it is true. None for what never is."""
        if self.get is None or not (self.root in TREES or isinstance(self.constant, bool)):
            return self.test
        return conditions.is_true(self.get)


def constant(token: Token, value: Any) -> Node:
    """The part for a *value* that stands in the rule."""
    return Node(token, get=lambda _: value, constant=value)
