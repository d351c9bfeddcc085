"""Small C libraries that stand between a program and its system, for processes started with LD_PRELOAD.

Without a C compiler the tests that ask for one are skipped with the reason at home and fail under CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def compiled(source: Path, folder: Path) -> Path:
    """The library made of *source*, in *folder*."""
    compiler = shutil.which("cc")
    if compiler is None:
        reason = f"no cc: a C compiler makes {source.stem}; install gcc"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    path = folder / f"{source.stem}.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", path, source, "-ldl"], check=True)
    return path
