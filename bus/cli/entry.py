"""Entry point: parses the command line, runs the command, turns errors into a line and an exit code."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Final

from ..errors import (
    ConfigError,
    MonqbusError,
    StoreHeld,
    StoreUnavailable,
    StoreUnusable,
    UnusableForNow,
    UsageError,
)
from . import terminal
from .parser import build_parser

EX_OK: Final = 0
EX_FAILED: Final = 1  # the asked-for thing failed or was not found
EX_USAGE: Final = 64
EX_UNAVAILABLE: Final = 69  # the store cannot be reached
EX_HELD: Final = 73  # another daemon holds the embedded store
EX_TEMPFAIL: Final = 75  # the machine refuses a folder, a file or an address for now
EX_CONFIG: Final = 78
EX_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it

_CODES: Final[tuple[tuple[type[MonqbusError], int], ...]] = (
    (UnusableForNow, EX_TEMPFAIL),  # in front of ConfigError, of which it is one
    (ConfigError, EX_CONFIG),
    (UsageError, EX_USAGE),
    (StoreHeld, EX_HELD),
    (StoreUnavailable, EX_UNAVAILABLE),
    (StoreUnusable, EX_UNAVAILABLE),
    (MonqbusError, EX_FAILED),
)


def main(words: Sequence[str]) -> int:
    """Run one command; its exit code. Errors are one line each on stderr, never a traceback."""
    terminal.prepare_streams()
    parser = build_parser()
    options = parser.parse_args(words)
    if not hasattr(options, "module"):
        parser.print_help()
        return EX_USAGE
    try:
        # each command's module is imported only when it runs: starting fast is a feature
        command = getattr(importlib.import_module(f"{__package__}.{options.module}"), options.function)
        code: int = command(options)
    except MonqbusError as error:
        code = _failed(error, options)
    except KeyboardInterrupt:
        code = EX_INTERRUPTED
    except BrokenPipeError:
        code = EX_OK  # whoever read our output has seen enough
    except Exception as error:  # noqa: BLE001 - the last resort before the user would see a traceback
        if options.debug:
            terminal.traceback_now()
        terminal.note(f"{type(error).__name__}: {error}; --debug shows where")
        code = EX_FAILED
    return code if terminal.flush() else code or EX_FAILED


def _failed(error: MonqbusError, options: argparse.Namespace) -> int:
    if options.debug:
        terminal.traceback_now()
    for line in error.problems if isinstance(error, ConfigError) else (str(error),):
        first, *further = line.split("\n")
        terminal.note(first)
        terminal.error("\n".join(further))  # the line of a rule, with a caret below it
    return next(code for kind, code in _CODES if isinstance(error, kind))
