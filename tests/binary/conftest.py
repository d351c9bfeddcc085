"""These claims need the executable: `make test-binary` builds it and names it in MONQBUS_BINARY."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.acceptance.conftest import new_daemon, ran
from tests.program import BINARY

__all__ = ["new_daemon", "ran"]

PATIENCE = 60.0

Ask = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Leave them out of an ordinary run: building takes half a minute."""
    if BINARY is None:
        here = Path(__file__).parent
        for item in items:
            if item.path.is_relative_to(here):
                item.add_marker(pytest.mark.skip(reason="no executable to test: run `make test-binary`"))


@pytest.fixture
def binary() -> Path:
    """The executable."""
    assert BINARY is not None
    return BINARY


@pytest.fixture
def ask(binary: Path, tmp_path: Path) -> Ask:
    """Runs one command of the executable in the folder of this test."""

    def run(*words: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(binary), *words], env=environ, cwd=tmp_path, timeout=PATIENCE,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def unpack_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in which everything that this test starts unpacks itself."""
    with tempfile.TemporaryDirectory(prefix="monqbus-unpacked-") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)
