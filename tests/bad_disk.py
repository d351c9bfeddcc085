"""A disk that fails when told to: bad_disk.c, compiled, for processes that are started with it.

Without a C compiler the tests that ask for it are skipped with the reason at home and fail under CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")


def compiled(folder: Path) -> Path:
    """The shim, built in *folder*."""
    compiler = shutil.which("cc")
    if compiler is None:
        reason = "no cc: a C compiler makes the disk that fails; install gcc"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    path = folder / "bad_disk.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", path, SOURCE, "-ldl"], check=True)
    return path


class BadDisk:
    """The disk of processes that are started with `environ`; *ondisk* is what a power cut would leave."""

    def __init__(self, shim: Path, folder: Path) -> None:
        self.ondisk = folder / "ondisk"
        self.ondisk.mkdir()
        self._bad = folder / "bad"
        self.environ = {"LD_PRELOAD": str(shim), "ONDISK": str(self.ondisk), "BAD": str(self._bad)}

    def fail(self, ending: str = "") -> None:
        """Let no file with this *ending* be synced any more."""
        self._bad.write_text(ending)

    def mend(self) -> None:
        """As before."""
        self._bad.unlink(missing_ok=True)
