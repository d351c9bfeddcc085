"""How values stand on a page: always as text, whatever is in them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from markupsafe import Markup, escape

from ..presentation import plain
from ..safe_text import harmless, harmless_json, shortened

LONGEST_CELL: Final = 200
LONGEST_TEXT: Final = 256 * 1024


def said(value: Any) -> Any:
    """What Jinja writes in place of *value*: text without what disguises a line, None as nothing."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    return harmless(value) if isinstance(value, str) else value


def lines(text: object) -> Markup:
    """*text* of several lines for a block that keeps them, without what disguises them."""
    whole = shortened(str(text), LONGEST_TEXT).replace("\r\n", "\n")
    return Markup("\n").join(escape(harmless(line.expandtabs(4))) for line in whole.split("\n"))


def as_json(value: Any) -> Markup:
    """*value* as indented JSON."""
    return Markup(escape(shortened(harmless_json(plain(value), indent=2), LONGEST_TEXT)))  # noqa: S704 - escaped


def cell(value: Any) -> str:
    """*value* in one short line."""
    text = value if isinstance(value, str) else harmless_json(plain(value))
    return harmless(shortened(" ".join(text.split()), LONGEST_CELL))


def last_line(text: object) -> str:
    """The last line of an error: of a traceback the one that says what it is."""
    found = [line for line in str(text or "").splitlines() if line.strip()]
    return shortened(found[-1].strip(), LONGEST_CELL) if found else ""


def moment(value: object) -> str:
    """A moment to the second."""
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else ""


def duration(seconds: float | None) -> str:
    """The two largest units: 1d 3h, 2h 5m, 4m 10s, 7.0 s, 12 ms."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    parts: list[str] = []
    left = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number or parts:
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2])


def age(seconds: float) -> str:
    """How long ago, as people say it: no parts of a second."""
    return f"{int(seconds)} s" if seconds < 60 else duration(seconds)


def between(first: object, second: object) -> float | None:
    """The seconds from one moment to another; None where one of them is none."""
    if isinstance(first, datetime) and isinstance(second, datetime):
        return max(0.0, (second - first) / timedelta(seconds=1))
    return None


def number(value: float) -> str:
    """A number with commas between thousands, and a tenth where it is small."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"
