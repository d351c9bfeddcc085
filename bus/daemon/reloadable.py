"""Which settings a reload changes, and which need a restart."""

from __future__ import annotations

from typing import Final

from ..config import Config
from ..config.sections import KINDS

RELOADED: Final = frozenset(
    {"apps", "path", "greenlets", "keep_complete", "keep_failed", "max_attempts", "timeout", "drain"}
)
"""What HUP takes over beside the hooks; everything else is said to need a restart."""


def waiting_for_restart(old: Config, new: Config) -> list[str]:
    """The settings whose change a reload does not take over."""
    return [
        f"{kind.name}.{row.key}"
        for kind in KINDS
        if not kind.example_name
        for row in kind.rows
        if row.attribute not in RELOADED
        and getattr(getattr(old, kind.attribute), row.attribute)
        != getattr(getattr(new, kind.attribute), row.attribute)
    ]
