"""Data in memory: a configuration from a descriptor, and a data_dir on a file system that forgets."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.daemons import Daemon
from tests.program import PROGRAM

HOOK = "[hook:a]\nverify = none\n[http]\nlisten = 127.0.0.1:0\n"


def _check(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`check` with *text* as its standard input, which is a file."""
    file = folder / "given.ini"
    file.write_text(text)
    with file.open() as stdin:
        words = [*PROGRAM, "check", "--config", "/dev/stdin"]
        return subprocess.run(words, stdin=stdin, cwd=folder, capture_output=True, text=True, check=False)


def test_a_config_from_a_descriptor_has_whole_paths(tmp_path: Path):
    """Relative ones would start in /dev: what was acknowledged would be gone at the next reboot."""
    relative = _check(f"[monqbus]\npath = apps\n{HOOK}", tmp_path)
    handler = "[handler:x]\ntopic = a\ncommand = ./x\n"
    command = _check(f"[monqbus]\ndata_dir = {tmp_path}/data\n{HOOK}{handler}", tmp_path)
    whole = _check(f"[monqbus]\ndata_dir = {tmp_path}/data\n{HOOK}", tmp_path)

    assert (78, 78, 0) == (relative.returncode, command.returncode, whole.returncode), whole.stderr
    assert "[monqbus] data_dir: expected an absolute path, got data: a relative one starts" in relative.stderr
    assert "[monqbus] path: expected an absolute path, got apps" in relative.stderr
    assert "but this one is read from /dev/stdin; write the whole path" in relative.stderr
    assert "[handler:x] working_dir: expected an absolute path" in command.stderr
    assert not Path("/dev/data").exists()


def test_a_config_from_a_pipe_is_refused_with_the_remedy(tmp_path: Path):
    """A reload would find nothing in it."""
    words = [*PROGRAM, "check", "--config", "/dev/stdin"]
    said = subprocess.run(words, input=HOOK, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 78 == said.returncode
    assert "expected a file, got a pipe; write it into a file, which a reload" in said.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_memory_is_named_by_check_run_and_doctor(tmp_path: Path):
    """Where a daemon starts all the same: tests and demonstrations want it so."""
    data, config = tmp_path / "data", tmp_path / "monqbus.ini"
    data.mkdir(0o700)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", data], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    config.write_text(f"[monqbus]\ndata_dir = {data}\n{HOOK}")
    config.chmod(0o600)
    daemon = Daemon(config)
    try:
        said = {name: daemon.monqbus(name) for name in ("check", "doctor")}
        daemon.start().stop()
    finally:
        daemon.kill()
        subprocess.run(["umount", data], check=True)

    sentence = f"data_dir: expected a folder on a disk, got {data}: tmpfs is memory, and gone at a reboot"
    assert sentence in said["check"].stderr
    assert sentence in daemon.log.read_text()
    assert "warning  disk        tmpfs; choose a folder on a disk" in said["doctor"].stdout
    assert (0, 0) == (said["check"].returncode, said["doctor"].returncode)
