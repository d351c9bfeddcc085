"""How the executable starts and ends: two processes and a folder, and nothing of them is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.process.certificates import KNOWN
from bus.process.executable import TAKEN
from tests.acceptance.conftest import CONFIG, New
from tests.acceptance.daemons import Daemon, until

from .conftest import Ask

INSIDE = CONFIG.replace("apps = accepted", "apps = inside").replace(
    "path = {apps}", f"path = {Path(__file__).parent / 'apps'}"
)
NOBODY = 65534


def _folders(unpack_dir: Path) -> list[Path]:
    return sorted(unpack_dir.glob("_MEI*"))


def _result(daemon: Daemon, task: str, *args: object) -> object:
    done = daemon.monqbus("post", task, "--args", json.dumps(args), "--wait", "20")
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _descendants(pid: int) -> list[int]:
    """The processes below *pid*."""
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    return [*children, *(below for child in children for below in _descendants(child))]


def _await_end(pid: int) -> None:
    """Until no such process runs; one that nobody waits for may stay as a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    until(lambda: [] if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z" else [""], 1)


@pytest.fixture
def inside(new_daemon: New, unpack_dir: Path) -> Daemon:
    """A running daemon of the executable that unpacked itself into *unpack_dir*."""
    return new_daemon(text=INSIDE).start()


# ends


def test_a_daemon_that_ends_leaves_no_folder(inside: Daemon, unpack_dir: Path):
    """TERM, drain, exit 0: the bootloader removes what it unpacked."""
    before = len(_folders(unpack_dir))
    code = inside.stop()

    assert (1, 0, 0) == (before, code, len(_folders(unpack_dir)))


def test_killing_the_started_process_leaves_no_daemon_behind(inside: Daemon, unpack_dir: Path):
    """The pid that a supervisor knows is the bootloader's; all behind it die too; the next one sweeps."""
    assert inside.process is not None
    behind = _descendants(inside.process.pid)
    (left,) = _folders(unpack_dir)
    inside.kill()
    for pid in behind:
        _await_end(pid)

    inside.start()
    (fresh,) = _folders(unpack_dir)

    assert inside.pid not in behind
    assert len(behind) >= 2  # the daemon, and the process that its cpu workers come from
    assert left != fresh
    assert (200, {"status": "ready"}) == inside.request("GET", "/readyz")


def test_killing_the_daemon_itself_ends_the_started_process(inside: Daemon, unpack_dir: Path):
    """A supervisor sees the end, as a signal's; the folder is gone, and so are the workers."""
    behind = _descendants(inside.pid)
    os.kill(inside.pid, signal.SIGKILL)
    for pid in behind:
        _await_end(pid)

    assert inside.wait() in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert [] == _folders(unpack_dir)


def test_only_what_dead_ones_left_is_swept(inside: Daemon, new_daemon: New, unpack_dir: Path):
    """Not the folder of a running daemon, not one that is still being unpacked, no stranger's, no link."""
    (running,) = _folders(unpack_dir)
    unpacking, dead, link = (unpack_dir / f"_MEI{name}" for name in ("aaaaaa", "bbbbbb", "cccccc"))
    elsewhere = unpack_dir / "elsewhere"
    for folder in (unpacking, dead, elsewhere):
        folder.mkdir()
    for folder in (dead, elsewhere):
        (folder / TAKEN).touch()
    link.symlink_to(elsewhere)
    other = new_daemon(text=INSIDE.replace("./data", "./other"), name="other").start()

    left = set(_folders(unpack_dir))
    other.stop()

    assert {running, unpacking, link} <= left
    assert dead not in left
    assert (elsewhere / TAKEN).exists()
    assert (200, {"status": "ready"}) == inside.request("GET", "/readyz")


def test_what_was_killed_while_it_unpacked_is_swept_after_a_minute(new_daemon: New, unpack_dir: Path):
    """The folder's name says who unpacked it; the pid of somebody who lives is left alone."""
    for number in range(1, 6):
        words = ["timeout", "-s", "KILL", f"0.0{number}", *Daemon.program, "version"]
        subprocess.run(words, capture_output=True, check=False)
    left = set(_folders(unpack_dir))
    long_ago = time.time() - 3600
    mine = unpack_dir / f"_MEI{os.getpid():08x}abcdef"
    mine.mkdir()
    for folder in (*left, mine):
        os.utime(folder, (long_ago, long_ago))
    daemon = new_daemon(text=INSIDE).start()
    after = set(_folders(unpack_dir))
    daemon.stop()

    assert left
    assert not left & after
    assert mine in after


# while it runs


def test_programs_that_tasks_start_see_the_machine_as_it_is(inside: Daemon):
    """No path to our libraries, no word of the bootloader; the executable itself can be among them."""
    variables = _result(inside, "inside.child_variables")

    assert isinstance(variables, list)
    assert "PATH" in variables
    assert [] == [name for name in variables if name.startswith(("LD_LIBRARY_PATH", "_PYI", "_MEI"))]
    assert str(_result(inside, "inside.own_version")).startswith("monqbus ")


def test_a_library_path_that_was_set_is_given_on(new_daemon: New, unpack_dir: Path, monkeypatch):
    """Children get the operator's own LD_LIBRARY_PATH back."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/of/the/operator")
    daemon = new_daemon(text=INSIDE).start()

    variables = _result(daemon, "inside.child_variables")

    assert isinstance(variables, list)
    assert "LD_LIBRARY_PATH" in variables
    assert "LD_LIBRARY_PATH_ORIG" not in variables


def test_processes_of_multiprocessing_start(ask: Ask, tmp_path: Path, unpack_dir: Path):
    """An app may use the spawn method: the executable serves as its interpreter."""
    config = tmp_path / "monqbus.ini"
    config.write_text(f"[monqbus]\napps = spawning\npath = {Path(__file__).parent / 'apps'}\n")

    assert "task     spawning.result_42" in ask("check", "--config", str(config)).stdout


def test_a_cleaner_of_temporary_files_does_not_stop_it(inside: Daemon, unpack_dir: Path):
    """With its folder emptied it still takes deliveries, fails and reloads as before, and drains."""
    (folder,) = _folders(unpack_dir)
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    status, _ = inside.request("POST", "/hooks/open", b"x", {"X-Kind": "hello"})
    late = _result(inside, "inside.import_late", "colorsys")
    failed = inside.monqbus("post", "inside.import_late", "--args", '["nowhere"]').stdout.strip()
    inside.wait_for("task.retried", failed)
    inside.signal(signal.SIGHUP)
    inside.wait_for("config.reloaded")
    inside.signal(signal.SIGUSR1)
    inside.wait_for("slots.described")

    assert (202, 1) == (status, late)
    assert 0 == inside.stop()


def test_a_new_version_in_its_place_does_not_disturb_the_running_one(
    binary: Path, new_daemon: New, tmp_path: Path, unpack_dir: Path
):
    """An upgrade renames another file onto the path; what runs reads on in the old one."""
    program = tmp_path / "monqbus"
    shutil.copy2(binary, program)
    daemon = new_daemon(text=INSIDE)
    daemon.program = (str(program),)
    daemon.start()
    newer = tmp_path / "newer"
    newer.write_bytes(b"#!/bin/sh\n" + bytes(30_000_000))
    newer.rename(program)

    assert 1 == _result(daemon, "inside.import_late", "colorsys")
    assert 0 == daemon.stop()


# where it starts


@pytest.fixture
def as_root() -> None:
    """Leave out what only root can arrange."""
    if os.geteuid():
        pytest.skip("only root can change users and mount")


def test_another_user_runs_it_in_a_folder_that_is_read_only(as_root, binary: Path, unpack_dir: Path):
    """Nothing is written but in its folder and in data_dir."""
    home = unpack_dir / "home"
    (home / "data").mkdir(parents=True)
    config = home / "monqbus.ini"
    config.write_text("[monqbus]\ndata_dir = ./data\n[http]\nlisten = 127.0.0.1:0\n")
    os.chown(home / "data", NOBODY, NOBODY)
    (home / "data").chmod(0o700)
    unpack_dir.chmod(0o777)
    program = shutil.copy(binary, unpack_dir)
    words = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", program]
    before = sorted(home.iterdir())
    checked = subprocess.run(
        [*words, "check", "--config", str(config)], cwd=home, capture_output=True, text=True, check=False
    )
    running = Daemon(config)
    running.log = unpack_dir / "log"
    running.printed = unpack_dir / "printed"
    running.program = words
    running.start()
    code = running.stop()

    assert (0, 0) == (checked.returncode, code)
    assert before == sorted(home.iterdir())


def test_it_finds_certificates_and_time_zones_on_another_distribution(
    as_root, new_daemon: New, unpack_dir: Path
):
    """One that has neither where Debian has them, and no package tzdata."""
    bundle = next((one for one in KNOWN if one.is_file()), None)
    if bundle is None:
        pytest.skip("no certificates are installed here")
    hide = "mount -t tmpfs none /usr/share/zoneinfo && mount -t tmpfs none /usr/lib/ssl"
    daemon = new_daemon(text=INSIDE.replace("apps = inside", "apps = abroad"))
    daemon.program = ("unshare", "-m", "sh", "-c", f'{hide} && exec "$@"', "sh", *daemon.program)
    daemon.start()
    words = [*daemon.program, "doctor", "--config", str(daemon.config)]
    doctor = subprocess.run(words, capture_output=True, text=True, check=False)

    assert "Europe/Berlin" == _result(daemon, "abroad.zone")
    assert _result(daemon, "abroad.roots") > 10  # type: ignore[operator]
    assert f"certificates {bundle}" in doctor.stdout
    assert "time zones  those of the package tzdata" in doctor.stdout


@pytest.fixture
def noexec(as_root, unpack_dir: Path) -> Iterator[Path]:
    """A folder from which nothing can be run."""
    folder = unpack_dir / "noexec"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_tmpdir_is_the_way_around_a_tmp_without_exec(ask: Ask, noexec: Path, unpack_dir: Path):
    """It says what the system said, and starts with TMPDIR elsewhere."""
    refused = ask("version", environ={**os.environ, "TMPDIR": str(noexec)})
    started = ask("version", environ={**os.environ, "TMPDIR": str(unpack_dir)})

    assert refused.returncode != 0
    assert "failed to map segment" in refused.stderr
    assert 0 == started.returncode
