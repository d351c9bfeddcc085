"""Which task names a daemon claims."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import nearest_name


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

    def unmatched(self, known: Mapping[str, Any]) -> str:
        """What of ``--only`` and ``--except`` is none of *known*, as one sentence; "" when all are.

        Such a daemon claims nothing, or what it was not to claim, and nothing else would say so.
        """
        idle = [pattern for pattern in self.only if not fnmatch.filter(known, pattern)]
        void = [pattern for pattern in self.but if not fnmatch.filter(known, pattern)]
        told = [f"--only {pattern}" for pattern in idle if pattern != "*"]
        told += [f"--except {pattern}" for pattern in void]
        near = nearest_name((idle + void)[0].rstrip("*."), known) if told else ""
        remedy = f"did you mean {near}?" if near else "`monqbus check` lists the names"
        return f"{', '.join(told)}: no task of the apps has such a name; {remedy}" if told else ""
