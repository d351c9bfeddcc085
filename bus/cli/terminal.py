"""Everything a command prints goes through here: a terminal shows all of it and obeys none of it."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, NamedTuple

from ..textual import harmless, harmless_json

_COLOURS = {"ready": "36", "busy": "33", "complete": "32", "error": "31", "skipped": "90"}
STATE_WIDTH = 8


class State(NamedTuple):
    """A task's state, to be printed in its colour; *width* columns wide."""

    name: str
    width: int = STATE_WIDTH


def line(*parts: str | State, at_once: bool = False) -> None:
    """Print *parts* as one line on standard output; *at_once* for whoever waits for it meanwhile."""
    print("".join(map(_printable, parts)), flush=at_once)


def text(value: str, indent: str = "") -> None:
    """Print the lines of *value*, each with *indent*."""
    for one in value.splitlines():
        print(f"{indent}{harmless(one)}")


def row(value: Any, *, at_once: bool = False) -> None:
    """Print *value* as one line of JSON; *at_once* as for `line`."""
    print(harmless_json(value), flush=at_once)


def note(message: str) -> None:
    """Print *message* on standard error, as one line that says whose it is."""
    print(f"monqbus: {harmless(message)}", file=sys.stderr)


def warning(message: str) -> None:
    """Print a *warning* on standard error."""
    print(f"warning: {harmless(message)}", file=sys.stderr)


def error(message: str) -> None:
    """Print the lines of *message* on standard error: a traceback that was asked for, or its error."""
    for one in message.splitlines():
        print(harmless(one), file=sys.stderr)


def traceback_now() -> None:
    """Print the traceback of the error that is being handled, for ``--debug``."""
    error(traceback.format_exc())


def shows_progress() -> bool:
    """Whether somebody looks at standard error."""
    return sys.stderr.isatty()


def progress(words: str) -> None:
    """Show *words* in place of the last ones, on a line that does not end."""
    print(f"\r{harmless(words)}", end="", file=sys.stderr, flush=True)


def clear_progress() -> None:
    """Take the last words of `progress` away."""
    print("\r\x1b[K", end="", file=sys.stderr)


def _printable(part: str | State) -> str:
    if isinstance(part, str):
        return harmless(part)
    name = f"{harmless(part.name):<{part.width}}"
    colour = _COLOURS.get(part.name)
    # https://no-color.org is kept
    if colour is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return name
    return f"\x1b[{colour}m{name}\x1b[0m"
