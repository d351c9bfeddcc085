"""The program under test: this checkout, or the executable that MONQBUS_BINARY names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BINARY = ROOT / os.environ["MONQBUS_BINARY"] if os.environ.get("MONQBUS_BINARY") else None
PROGRAM = (str(BINARY),) if BINARY else (sys.executable, str(ROOT / "monqbus.py"))
"""The first words of every command line of monqbus."""

if BINARY is not None and not BINARY.is_file():
    raise FileNotFoundError(f"MONQBUS_BINARY: no file {BINARY}; build it with `make binary`")
