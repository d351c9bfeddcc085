"""Virtual environments in ``[monqbus] path``: their packages are used, when they fit this Python.

Compiled packages work only in the minor version of Python that they were installed for. The
program's own libraries come first: folders of `path` are searched behind them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from ..files import regular_file

OURS: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES: Final = "site-packages"
LARGEST_FILE: Final = 64 * 1024

# venv writes `version = 3.11.7`, virtualenv and uv write `version_info = 3.11.7`
_VERSION = re.compile(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", re.MULTILINE)


def packages_of(folder: Path) -> Path:
    """The site-packages of the virtual environment *folder*; *folder* itself when it is none."""
    if not (folder / "pyvenv.cfg").is_file():
        return folder
    ours = folder / "lib" / f"python{OURS}" / PACKAGES
    others = sorted(folder.glob(f"lib/python*/{PACKAGES}"))
    return ours if ours.is_dir() or not others else others[0]


def misfit(folder: Path) -> str | None:
    """The version of Python whose packages are in *folder*, when it is another one than ours."""
    if folder.name != PACKAGES:
        return None
    version = _configured(folder.parents[2] / "pyvenv.cfg") or folder.parent.name.removeprefix("python")
    return version if re.fullmatch(r"\d+\.\d+", version) and version != OURS else None


def _configured(file: Path) -> str:
    try:
        text = regular_file.read(file, LARGEST_FILE).data.decode(errors="replace")
    except OSError:
        return ""
    match = _VERSION.search(text)
    return match[1] if match else ""
