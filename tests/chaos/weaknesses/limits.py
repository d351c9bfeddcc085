"""Weaknesses of limits: what keeps tasks in a line is taken away."""

from __future__ import annotations

from bus import posting
from bus.apps.options import Options


def no_keys() -> None:
    """No task of an event has a serial key."""
    posting.serial_key = lambda *_, **__: None


def no_limits() -> None:
    """No name has a limit."""
    Options.limit = property(lambda _: None)  # type: ignore[assignment]
