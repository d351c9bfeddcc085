"""`run`: starts the daemon. `monqbus.py` has patched the process before this is imported."""

from __future__ import annotations

import argparse

from ..apps import command_files
from ..clock import Clock
from ..daemon import Daemon, Names
from ..errors import UsageError
from ..http import require_files
from ..process import executable
from . import terminal
from .host_checks import losses
from .session import read_config


def run(options: argparse.Namespace) -> int:
    """Run the daemon in the foreground until TERM or INT."""
    names = Names(_names("--only", options.only), _names("--except", options.but) if options.but else ())
    config = read_config(options)
    for warning in (*config.warnings, *losses(config)):
        terminal.note(f"warning: {warning}")
    require_files(config.http.connections)
    executable.sweep()
    command_files.sweep()
    return Daemon(config, Clock(), names).run()


def _names(option: str, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UsageError(f"{option}: expected a comma list of task names, got {text!r}")
    return names
