"""The section [admin], and what it refuses as long as nobody has to sign in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .ini import Section
from .section_kinds import SectionKind, Values
from .settings import AdminListener
from .value_types import is_loopback, listen_text


def _reached_by_others(section: Section, values: Values, _: Path) -> Iterator[tuple[int, str]]:
    for one in values.read.get("listen", ()):
        if not is_loopback(one):
            expected = "expected an address that this machine alone reaches"
            remedy = (
                "nobody has to sign in there; write 127.0.0.1 or unix:/PATH, and for other machines put a "
                "proxy in front that asks who they are"
            )
            line = section.entries["listen"].line
            yield line, f"[admin] listen: {expected}, got {listen_text(one)}; {remedy}"


ADMIN: Final = SectionKind(
    "admin", "admin", AdminListener, "What operators reach: metrics.", check=_reached_by_others
)
