"""`init`, `config` and `version`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from .. import __version__
from ..errors import UsageError
from ..frozen import is_frozen
from . import terminal


def init(options: argparse.Namespace) -> int:
    """Write a config, an example app, a systemd unit, and make the data folder; overwrite nothing."""
    from ..config import hello, sample
    from .starter import HELLO
    from .unit import unit

    directory = Path(options.directory).resolve()
    files = {
        directory / "monqbus.ini": sample(hello("./apps")),
        directory / "apps" / "hello.py": HELLO,
        directory / "monqbus.service": unit(_program(), directory, directory / "data"),
    }
    if taken := [str(path) for path in files if path.exists()]:
        raise UsageError(f"init: {', '.join(taken)}: exists already; choose another DIR or move it away")
    (directory / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600 if path.suffix == ".ini" else 0o644)  # secrets may be written into it
        path.write_text(text)
        terminal.line(f"wrote {path}")
    terminal.line(f"as a service: the first lines of {directory}/monqbus.service tell how")
    terminal.line(f"start it with: monqbus run --config {directory}/monqbus.ini")
    return 0


def _program() -> Path:
    """The file that is run when somebody types what was typed now."""
    if is_frozen():
        return Path(sys.executable)
    return Path(shutil.which(sys.argv[0]) or sys.argv[0]).resolve()


def config(options: argparse.Namespace) -> int:
    """Print the sample config."""
    from ..config import hello, sample

    terminal.text(sample(hello("./apps")))
    return 0


def version(options: argparse.Namespace) -> int:
    """Print the version."""
    terminal.line(f"monqbus {__version__}")
    return 0
