"""A disk that fails when told to: bad_disk.c, for processes that are started with it."""

from __future__ import annotations

from pathlib import Path

from tests import shims

SOURCE = Path(__file__).with_suffix(".c")


def compiled(folder: Path) -> Path:
    """The shim, built in *folder*."""
    return shims.compiled(SOURCE, folder)


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
