"""Everything that commands print goes through here, escaped for a terminal."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from io import TextIOWrapper
from typing import Any, NamedTuple

from ..errors import MonqbusError
from ..safe_text import harmless, harmless_json

_COLOURS = {"ready": "36", "busy": "33", "complete": "32", "error": "31", "skipped": "90"}
STATE_WIDTH = 8


class State(NamedTuple):
    """A task's state, to be printed in its colour; *width* columns wide."""

    name: str
    width: int = STATE_WIDTH


def prepare_streams() -> None:
    """Let standard output and error take every text, where one was closed and in every encoding.

    A stream that was closed when Python started leads nowhere; `print` would take another one. What an
    encoding other than UTF-8 cannot say is escaped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - for as long as the process lives
        elif isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def flush() -> bool:
    """Whether all that was printed has reached its reader; one that has gone has seen enough."""
    try:
        sys.stdout.flush()
    except OSError as problem:
        _lead_nowhere()
        if not isinstance(problem, BrokenPipeError):
            note(_lost(problem))
            return False
    return True


def done(text: str) -> None:
    """Print *text* at once: it names what has been stored, and that stands whether it can be shown or not.

    What standard output does not take goes to standard error, and is no failure of the command: a script
    would do it again.
    """
    try:
        _print(harmless(text), at_once=True)
    except BrokenPipeError:
        raise
    except MonqbusError as problem:
        _lead_nowhere()
        note(f"{text}: stored, but {problem}")


def line(*parts: str | State, at_once: bool = False) -> None:
    """Print *parts* as one line on standard output; *at_once* for whoever waits for it meanwhile."""
    _print("".join(map(_printable, parts)), at_once=at_once)


def text(value: str, indent: str = "") -> None:
    """Print the lines of *value*, each with *indent*."""
    for one in value.splitlines():
        _print(f"{indent}{harmless(one)}")


def row(value: Any, *, at_once: bool = False) -> None:
    """Print *value* as one line of JSON; *at_once* as for `line`."""
    _print(harmless_json(value), at_once=at_once)


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


def screen(lines: Iterable[str]) -> None:
    """Show *lines* in place of the last ones; where nobody looks at a terminal they are only printed."""
    if sys.stdout.isatty():
        print("\x1b[H\x1b[J", end="")
    for one in lines:
        _print(harmless(one))
    flush()


def _print(one: str, *, at_once: bool = False) -> None:
    try:
        print(one, flush=at_once)
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise MonqbusError(_lost(problem)) from problem


def _lead_nowhere() -> None:
    """Forget what could not be written, or Python would complain of it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lost(problem: OSError) -> str:
    return f"standard output: {problem.strerror}; what it should have shown is lost"


def _printable(part: str | State) -> str:
    if isinstance(part, str):
        return harmless(part)
    name = f"{harmless(part.name):<{part.width}}"
    colour = _COLOURS.get(part.name)
    # https://no-color.org is kept
    if colour is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return name
    return f"\x1b[{colour}m{name}\x1b[0m"
