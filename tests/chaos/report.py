"""The figures of all runs as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Line = dict[str, Any]
COLUMNS = {
    "acked": "acked",
    "refused": "refused",
    "unknown": "unknown",
    "lost": "lost",
    "ghosts": "ghosts",
    "duplicates": "dup",
    "in_flight_at_kills": "in flight",
    "overlaps": "overlaps",
    "stale_accepted": "stale",
    "stuck": "stuck",
    "kills": "kills",
    "ready_again_max_seconds": "back s",
    "longest_without_2xx_seconds": "silent s",
    "seconds": "seconds",
}


def table(lines: Sequence[Line]) -> str:
    """One row for each of the JSON *lines*: the figures, and in words whether they are right."""
    rows = [["", *COLUMNS.values(), "verdict"], *(_row(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) + 1)]
    return "\n".join(_padded(row, widths) for row in rows)


def _row(line: Line) -> list[str]:
    name = f"  without: {line['control']}" if "control" in line else f"{line['store']}: {line['scenario']}"
    figures = (line.get(key) for key in COLUMNS)
    return [name, *("-" if figure is None else str(figure) for figure in figures), _verdict(line)]


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures, verdict = row
    cells = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *cells, verdict])


def _verdict(line: Line) -> str:
    if reason := line.get("skipped") or line.get("broken"):
        return str(reason).splitlines()[0]
    if "control" in line:
        return f"shows {line['shows']}" if line["passed"] else f"SHOWS NO {line['shows']}: proves nothing"
    return "right" if line["passed"] else f"WRONG: {', '.join(line['missed'])}"
