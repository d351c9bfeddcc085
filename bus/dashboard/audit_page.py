"""The page of the audit: who has done what, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..http.problem import Answer
from .desk import Desk, link, query_of

ROWS: Final = 100


def show(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """One page of the audit, newest first. Blocks on the store."""
    query = query_of(environ)
    found = desk.audit.entries(ROWS + 1, query.get("cursor", ""))
    return desk.page(
        environ,
        "audit.html",
        entries=found[:ROWS],
        more=link("/audit", cursor=found[ROWS - 1][0]) if len(found) > ROWS else "",
        first="/audit" if "cursor" in query else "",
    )
