"""What a type checker says of an application's right and wrong calls."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.program import ROOT

CALLS = ROOT / "tests" / "typing" / "calls.py"
_EXPECTED = re.compile(r"  # type: ignore\[([\w-]+)(?:, ([\w-]+))?\]$")
_SAID = re.compile(r"^calls\.py:(\d+): error: .+  \[([\w-]+)\]$", re.MULTILINE)


def test_mypy_finds_every_wrong_call_of_an_application_and_no_right_one(tmp_path: Path) -> None:
    """By the stubs that are installed with the module: each error where it is expected, of its kind."""
    expected = set()
    lines = CALLS.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if found := _EXPECTED.search(line):
            expected |= {(number, code) for code in found.groups() if code}
            lines[number - 1] = line[: found.start()]
    (tmp_path / "calls.py").write_text("\n".join(lines) + "\n")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "monqbus").symlink_to(ROOT / "stubs")
    (tmp_path / "path" / "bus").symlink_to(ROOT / "bus")
    said = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--config-file=", "calls.py"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "MYPYPATH": str(tmp_path / "path")},
    ).stdout  # fmt: skip

    assert len(expected) > 40
    assert expected == {(int(line), code) for line, code in _SAID.findall(said)}, said
