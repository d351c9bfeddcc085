"""`init`, `config` and `version`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .. import __version__
from ..errors import UsageError
from ..files.held_folder import HeldFolder
from ..process.executable import is_frozen
from . import terminal


def init(options: argparse.Namespace) -> int:
    """Write a config, an example app, systemd units, and make the data folder; overwrite nothing."""
    from ..config import hello, sample
    from ..config.settings import Http
    from ..store import as_owner_of
    from .example_app import HELLO
    from .systemd_unit import socket_unit, unit

    directory = Path(options.directory).resolve()
    files = {
        "monqbus.ini": sample(hello("./apps")),
        "apps/hello.py": HELLO,
        "monqbus.service": unit(_program(), directory, directory / "data"),
        "monqbus.socket": socket_unit(directory, Http().listen),
    }
    with as_owner_of(directory):  # what root makes in a user's folder, that user must be able to read
        _write(directory, files)
    terminal.line(f"as a service: the first lines of {directory}/monqbus.service tell how")
    terminal.line(f"start it with: monqbus run --config {directory}/monqbus.ini")
    return 0


def _write(directory: Path, files: Mapping[str, str]) -> None:
    """Make *directory* with *files* in it. Raises UsageError where one of them is there."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    if taken := [str(directory / name) for name in files if os.path.lexists(directory / name)]:
        raise UsageError(f"init: {', '.join(taken)}: exists already; choose another DIR or move it away")
    with HeldFolder.at(directory) as home, _folder(home, "apps", 0o755) as apps:
        _folder(home, "data", 0o700).close()
        for name, text in files.items():
            place = apps if name.startswith("apps/") else home
            mode = 0o600 if name == "monqbus.ini" else 0o644  # secrets may be written into it
            with os.fdopen(place.create(Path(name).name, mode), "w") as file:
                file.write(text)
            terminal.line(f"wrote {directory / name}")


def _folder(home: HeldFolder, name: str, mode: int) -> HeldFolder:
    """The folder *name* in *home*, made if it is missing; a link to one is nobody's mistake, and is refused."""
    with suppress(FileExistsError):
        home.make(name, mode).close()
    try:
        return home.inside(name)
    except OSError as error:
        raise UsageError(f"init: {name}: expected a folder, got: {error.strerror}; move it away") from error


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
