"""The options of `top`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Command = Callable[..., argparse.ArgumentParser]


def watching(command: Command) -> None:
    """Add them."""
    top = command(
        "top",
        "top",
        "show what the running daemon does now: rates, slots, what runs for how long, what waits",
        "monqbus top --interval 1s",
    )
    top.add_argument("--interval", metavar="S", default="2s", help="how often (default: 2s)")
    top.add_argument("--once", action="store_true", help="print it once and end")
