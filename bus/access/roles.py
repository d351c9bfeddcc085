"""Roles: what a visitor may do. Each includes those below it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Role(IntEnum):
    """The least comes first, so that roles can be compared."""

    METRICS = 0
    """Reads /metrics and nothing else; of tokens only."""
    VIEWER = 1
    """Sees tasks, events and settings, with what may be secret masked; changes nothing."""
    OPERATOR = 2
    """Retries, cancels, pauses, replays, posts."""
    ADMIN = 3
    """Forgets tasks, makes users and tokens, reads the audit."""

    @property
    def word(self) -> str:
        """As commands, the API and the store have it."""
        return self.name.lower()


OF_USERS: Final = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
OF_TOKENS: Final = tuple(Role)


def role_of(word: object) -> Role | None:
    """The role that is called *word*; None when there is none."""
    return next((role for role in Role if role.word == word), None)
