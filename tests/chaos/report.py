"""The figures of all runs as a table for people: in a terminal, and in docs/guarantees.md."""

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
    "misrecorded": "misrec",
    "stuck": "stuck",
    "cut": "cut",
    "kills": "kills",
    "ready_again_max_seconds": "back s",
    "works_again_max_seconds": "works s",
    "longest_without_2xx_seconds": "silent s",
    "seconds": "seconds",
}


def table(lines: Sequence[Line]) -> str:
    """One row for each of the JSON *lines*: the figures, and in words whether they are right."""
    rows = [["", *COLUMNS.values(), "verdict"], *(_row(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) + 1)]
    return "\n".join(_padded(row, widths) for row in rows)


def _row(line: Line) -> list[str]:
    name = (
        f"  {'null' if 'null' in line else 'without'}: {line['control']}"
        if "control" in line
        else f"{line['store']}: {line['scenario']}"
    )
    figures = (line.get(key) for key in COLUMNS)
    return [name, *("-" if figure is None else str(figure) for figure in figures), _verdict(line)]


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures, verdict = row
    cells = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *cells, verdict])


def _verdict(line: Line) -> str:
    if reason := line.get("skipped") or line.get("broken"):
        return str(reason).splitlines()[0]
    if "null" in line:
        return "shows nothing" if line["passed"] else f"SHOWS {line['shows']} with nothing switched off"
    if "control" in line:
        return f"shows {line['shows']}" if line["passed"] else f"SHOWS NO {line['shows']}: proves nothing"
    return "right" if line["passed"] else f"WRONG: {', '.join(line['missed'])}"


# docs/guarantees.md

STORES = {"embedded": "embedded", "mongodb": "MongoDB"}
SHOWN = {
    "lost": "lost",
    "overlaps": "overlaps",
    "stale_accepted": "stale ends",
    "stuck": "never run",
    "misrecorded": "stored twice",
}


def markdown(lines: Sequence[Line]) -> str:
    """The rows of the table in docs/guarantees.md: one for each scenario, its controls in the last cell."""
    return "".join(f"| {' | '.join(_cells(line, lines))} |\n" for line in lines if "control" not in line)


def _cells(line: Line, lines: Sequence[Line]) -> list[str]:
    name = f"{STORES[line['store']]}, {line['scenario']}"
    if "acked" not in line:
        return [name, *["–"] * 5, _verdict(line)]
    controls = [
        _control(one)
        for one in lines
        if "control" in one and (one["store"], one["scenario"]) == (line["store"], line["scenario"])
    ]
    verdict = [] if line["passed"] else [f"**{_verdict(line)}**"]
    return [
        f"{name}, {line['kills']} kills" if line["kills"] else name,
        f"{line['acked']:,}".replace(",", " "),
        f"{line['duplicates']} of {line['in_flight_at_kills']}",
        _seconds(line["ready_again_max_seconds"]),
        _seconds(line["works_again_max_seconds"]),
        _seconds(line["longest_without_2xx_seconds"]),
        "; ".join([*verdict, *controls]),
    ]


def _control(line: Line) -> str:
    figure = f"{line[line['shows']]} {SHOWN[line['shows']]}" if line["shows"] in line else _verdict(line)
    return f"{figure}: {line['control']}"


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s"
