"""Which settings a reload changes, and which need a restart."""

from __future__ import annotations

from typing import Final

from ..config import Config
from ..config.sections import KINDS

TLS: Final = frozenset({"tls_cert", "tls_key"})
RELOADED: Final = frozenset(
    {"apps", "path", "greenlets", "keep_complete", "keep_failed", "max_attempts", "timeout", "drain"} | TLS
)
"""What HUP takes over beside the hooks; everything else is said to need a restart."""


def waiting_for_restart(old: Config, new: Config) -> list[str]:
    """The settings whose change a reload does not take over."""
    return [
        f"{kind.name}.{row.key}"
        for kind in KINDS
        if not kind.example_name
        for row in kind.rows
        if (row.attribute not in RELOADED or _begins_or_ends(row.attribute, old, new))
        and getattr(getattr(old, kind.attribute), row.attribute)
        != getattr(getattr(new, kind.attribute), row.attribute)
    ]


def _begins_or_ends(attribute: str, old: Config, new: Config) -> bool:
    """Whether TLS comes or goes: another certificate is taken over, another protocol is not."""
    return attribute in TLS and (old.http.tls_cert is None) != (new.http.tls_cert is None)
