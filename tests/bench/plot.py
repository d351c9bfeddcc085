"""Draws columns of a table over time as small line charts, one SVG file without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, GAP, ACROSS = 250, 90, 14, 34, 22, 3
COLOURS = ("#1f6feb", "#c2410c", "#15803d")
STYLE = "font: 11px sans-serif; fill: #444"


def draw(rows: Mapping[str, Sequence[Sequence[float]]], head: Sequence[str]) -> str:
    """A chart for each column behind the first, which is the time; a line for each of *rows*, from zero."""
    charts = [_chart(rows, column, head[column]) for column in range(1, len(head))]
    lines = -(-len(charts) // ACROSS)
    cell_width, cell_height = WIDTH + GAP, HEIGHT + TOP + GAP
    width, height = LEFT + ACROSS * cell_width, 30 + lines * cell_height
    legend = "".join(
        f'<text x="{LEFT + 120 * place}" y="18" style="{STYLE}; fill: {colour}">{escape(name)}</text>'
        for place, (name, colour) in enumerate(zip(rows, COLOURS, strict=False))
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        legend,
    ]
    for place, chart in enumerate(charts):
        x, y = LEFT + place % ACROSS * cell_width, 30 + place // ACROSS * cell_height
        parts.append(f'<g transform="translate({x} {y})">{chart}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _chart(rows: Mapping[str, Sequence[Sequence[float]]], column: int, title: str) -> str:
    most = max((row[column] for lines in rows.values() for row in lines), default=0) or 1
    last = max((row[0] for lines in rows.values() for row in lines), default=0) or 1
    floor = TOP - 10 + HEIGHT
    parts = [
        f'<text x="0" y="14" style="{STYLE}">{escape(title)}, up to {most:,.4g}</text>',
        f'<path d="M0 {TOP - 10} V{floor} H{WIDTH}" fill="none" stroke="#bbb"/>',
    ]
    for colour, lines in zip(COLOURS, rows.values(), strict=False):
        points = " ".join(
            f"{row[0] / last * WIDTH:.1f},{TOP - 10 + HEIGHT - row[column] / most * HEIGHT:.1f}"
            for row in lines
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "".join(parts)
