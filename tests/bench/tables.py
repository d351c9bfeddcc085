"""Prints what was measured as tables that the docs can take over."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print one table."""
    print(f"\n## {title}\n")
    text = [head, *[[_shown(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in text) for i in range(len(head))]
    for number, row in enumerate(text):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    sys.stdout.flush()


def _shown(cell: object) -> str:
    if isinstance(cell, float) and math.isnan(cell):
        return "–"
    return (
        f"{cell:,.0f}"
        if isinstance(cell, float) and cell >= 100
        else f"{cell:.2f}"
        if isinstance(cell, float)
        else str(cell)
    )
