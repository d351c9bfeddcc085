"""`init`, `config` and `version`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import __version__
from ..config import hello, sample
from ..errors import UsageError
from .starter import HELLO, UNIT


def init(options: argparse.Namespace) -> int:
    """Write a config, an example app and a systemd unit; nothing that exists is overwritten."""
    directory = Path(options.directory).resolve()
    files = {
        directory / "monqbus.ini": sample(hello("./apps")),
        directory / "apps" / "hello.py": HELLO,
        directory / "monqbus.service": UNIT.format(program=_program(), directory=directory),
    }
    if taken := [str(path) for path in files if path.exists()]:
        raise UsageError(f"init: {', '.join(taken)}: exists already; choose another DIR or move it away")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path}")
    print(f"start it with: monqbus run --config {directory}/monqbus.ini")
    return 0


def _program() -> str:
    return str(Path(sys.argv[0]).resolve())


def config(options: argparse.Namespace) -> int:
    """Print the sample config."""
    print(sample(hello("./apps")), end="")
    return 0


def version(options: argparse.Namespace) -> int:
    """Print the version."""
    print(f"monqbus {__version__}")
    return 0
