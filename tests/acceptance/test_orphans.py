"""What commands leave behind: processes in sessions of their own, orphans, files of a killed daemon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cpu.conftest import children, is_alive
from tests.program import BINARY, PROGRAM

from .conftest import New
from .daemons import Daemon, until
from .test_commands import CONFIG, handler

IMPORTS_FOR_EVER = """\
import os, time
from pathlib import Path
Path(os.environ["PLACE"], "imports").write_text("begun\\n")
time.sleep(600)
"""
SLEEPER = '''sh -c "echo \\$\\$ > {place}; exec sleep 600"'''


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def is_state(pid: int, state: str) -> bool:
    try:
        return state == Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_no_child_of_a_timed_out_command_is_left(new_daemon: New, tmp_path: Path):
    """An orphan without environment in a session of its own, and one whose command has ended at TERM."""
    first, second = tmp_path / "first", tmp_path / "second"
    script = (
        f"env -i setsid -f {SLEEPER.format(place=first)}; setsid {SLEEPER.format(place=second)} & "
        "echo begun; exec sleep 600"
    )
    daemon = new_daemon(text=CONFIG + handler("stay", script, "timeout = 1s")).start()
    daemon.request("POST", "/hooks/site", b'{"name": "x"}')
    daemon.wait_for("task.retried", "TimedOut")
    pids = [int(until(lambda path=path: lines_of(path), 1)[0]) for path in (first, second)]

    until(lambda: [str(pid) for pid in pids if not is_alive(pid)], 2)
    assert 0 == daemon.stop()


def test_what_a_killed_daemon_leaves_is_gone_after_the_next_start(new_daemon: New, tmp_path: Path):
    """The event's folder: payloads are nobody's business for longer than the run."""
    place = tmp_path / "tmp"
    place.mkdir()
    daemon = new_daemon(text=CONFIG + handler("stay", "echo $MONQBUS_EVENT_FILE; exec sleep 600"))
    daemon.environ["TMPDIR"] = str(place)
    daemon.start()
    daemon.request("POST", "/hooks/site", b'{"name": "x"}')
    left = Path(daemon.wait_for("task.printed", "event.json").split("| ")[-1]).parent
    daemon.kill()
    was_there = left.exists()
    daemon.start()

    assert was_there
    assert not left.exists()
    daemon.kill()


@pytest.fixture(params=["a process", "process 1"])
def place_in_the_world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A daemon as any other process, and as the first one of a container."""
    if request.param == "process 1":
        words = [shutil.which("unshare") or "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
            pytest.skip("this user may make no pid namespace")
        monkeypatch.setattr(Daemon, "program", [*words, *PROGRAM])
    return str(request.param)


def test_orphans_are_buried(new_daemon: New, tmp_path: Path, place_in_the_world: str):
    """Nobody else would: each would keep its number until there are none left."""
    script = f'for n in 1 2 3 4 5; do setsid -f sh -c "echo \\$\\$ >> {tmp_path}/pids; sleep 0.3"; done'
    daemon = new_daemon(text=CONFIG + handler("leave", script)).start()
    assert daemon.process is not None
    pid = daemon.process.pid
    if place_in_the_world == "process 1":
        (pid,) = children(pid)
    daemon.request("POST", "/hooks/site", b'{"name": "x"}')
    daemon.wait_for("task.finished")
    until(lambda: lines_of(tmp_path / "pids"), 5)

    until(lambda: ["none"] if not any(is_state(child, "Z") for child in children(pid)) else [], 1)
    until(lambda: ["none"] if not any(b"sleep 0.3" in command(child) for child in children(pid)) else [], 1)
    assert not any(is_state(child, "Z") for child in children(pid))
    os.kill(pid, signal.SIGTERM)
    assert 0 == daemon.wait()


def test_a_term_during_the_start_ends_process_1_too(new_daemon: New, tmp_path: Path, place_in_the_world: str):
    """The kernel gives process 1 no signal that it does not handle, and `docker stop` would wait to kill."""
    apps = tmp_path / "apps"
    apps.mkdir()
    apps.joinpath("slow.py").write_text(IMPORTS_FOR_EVER)
    daemon = new_daemon(text="[monqbus]\ndata_dir = ./data\napps = slow\npath = ./apps\n")
    daemon.launch()
    until(lambda: lines_of(tmp_path / "imports"), 1)
    assert daemon.process is not None
    pid = daemon.process.pid
    if place_in_the_world == "process 1":
        (pid,) = children(pid)
    os.kill(pid, signal.SIGTERM)

    # as process 1 the executable cannot end by the signal that its second process died of
    assert daemon.wait(5) in {-signal.SIGTERM, 128 + signal.SIGTERM, *([1] if BINARY else [])}


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""
