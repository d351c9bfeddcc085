"""The program's entry knows the daemon before it has parsed anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

import monqbus
from tests.program import ROOT


@pytest.mark.parametrize(
    "line",
    ["run", "run --config a.ini", "--config a.ini run", "--config=a.ini run", "--debug run --only post"],
)
def test_the_daemon_is_recognised_wherever_its_options_stand(line):
    """Only then are the zygote forked and the process patched."""
    assert monqbus._asks_to_run(line.split())


def test_the_daemon_does_not_run_in_a_process_that_was_not_patched(tmp_path):
    """However it got there: a wait of one handler would stop everything."""
    words = f"from bus.cli import main; raise SystemExit(main(['run', '--config', '{tmp_path}/m.ini']))"
    (tmp_path / "m.ini").write_text("[http]\nlisten = 127.0.0.1:0\n")
    said = subprocess.run(
        [sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )

    assert 64 == said.returncode
    assert "expected a process that gevent has patched; start it as `monqbus run`" in said.stderr


@pytest.mark.parametrize(
    "line", ["", "--help", "post run", "--config run check", "check --config run", "--config", "--conf a run"]
)
def test_other_commands_are_not_taken_for_it(line):
    assert not monqbus._asks_to_run(line.split())
