"""Which task names a daemon claims."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Names:
    """Which of the registered tasks this daemon claims: ``--only`` and ``--except``."""

    only: tuple[str, ...] = ("*",)
    but: tuple[str, ...] = ()

    def of(self, known: Mapping[str, Any]) -> frozenset[str]:
        """Those names of *known* that this daemon claims."""
        return frozenset(
            name
            for name in known
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.only)
            and not any(fnmatch.fnmatchcase(name, pattern) for pattern in self.but)
        )
