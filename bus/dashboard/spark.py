"""Small lines of what a number was like: drawn here, so that they need no script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 120
HEIGHT: Final = 28
POINTS: Final = 60


def spark_line(values: Sequence[float], label: str, kind: str = "plain") -> Markup:
    """An SVG of *values*, oldest first; *label* says to whoever cannot see it what it is."""
    points = [max(part) for part in _parts(values)]
    top = max(points, default=0.0)
    said = Markup("<title>{}</title>").format(label)
    if len(points) < 2 or top <= 0:
        shape = Markup('<path class="base" d="M0 {0}H{1}"/>').format(HEIGHT - 1, WIDTH)
    else:
        step = WIDTH / (len(points) - 1)
        places = [
            f"{place * step:.1f} {HEIGHT - 1 - value / top * (HEIGHT - 3):.1f}"
            for place, value in enumerate(points)
        ]
        line = "L".join(places)
        shape = Markup('<path class="area" d="M0 {1}L{0}L{2} {1}Z"/><path class="line" d="M{0}"/>').format(
            line, HEIGHT, WIDTH
        )
    return Markup(
        '<svg class="spark {}" viewBox="0 0 {} {}" role="img" preserveAspectRatio="none">{}{}</svg>'
    ).format(escape(kind), WIDTH, HEIGHT, said, shape)


def _parts(values: Sequence[float]) -> list[Sequence[float]]:
    size = max(1, -(-len(values) // POINTS))
    return [values[first : first + size] for first in range(0, len(values), size)]
