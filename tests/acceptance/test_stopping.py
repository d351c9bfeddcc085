"""A service that cannot be stopped keeps no other from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.daemon.service_list import SERVICES
from bus.store.sqlite.file_lock import FileLock
from tests.mongod import Deployment

from .conftest import CONFIG, New

APP = """\
import fcntl
import os
from pathlib import Path

from bus.daemon import startup

PLACE = Path(os.environ["PLACE"])
BROKEN = (PLACE / "broken").read_text()
stop_one = startup.stop_one

def note(name):
    with (PLACE / "stopped").open("a") as file:
        file.write(name + "\\n")

def is_held(path):
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

def stop(name, step):
    note(name)
    if name == BROKEN:
        raise OSError(5, "it cannot be stopped")
    stop_one(name, step)
    if name == "store" and (PLACE / "data" / "monqbus.lock").exists():
        note("store is held" if is_held(PLACE / "data" / "monqbus.lock") else "store is free")

startup.stop_one = stop
"""
TEXT = CONFIG.replace("apps = accepted", "apps = broken").replace("path = {apps}", "path = ./apps")
TEXT += "[admin]\nlisten = 127.0.0.1:0\n"
SHARED = ("spool", "heartbeat", "spooler", "spool monitor", "listener")
"""Those that a daemon on an embedded store does not have."""
NAMES = [entry.name for entry in SERVICES if entry.name != "certificate"]
"""All but the one of a daemon that speaks TLS."""


@pytest.fixture
def breaks(tmp_path: Path) -> Path:
    """Names the service that cannot be stopped, for the app that sees to it."""
    path = tmp_path / "apps" / "broken.py"
    path.parent.mkdir()
    path.write_text(APP)
    return tmp_path / "broken"


def told(lines: list[str]) -> list[str]:
    """The lines about a service that was not stopped."""
    return [line for line in lines if "it cannot be stopped" in line]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SHARED])
def test_all_others_are_stopped_when_one_service_cannot_be(
    new_daemon: New, tmp_path: Path, breaks: Path, name: str
):
    """Each in its turn, the last one first; the log names the one, and the exit code is 1."""
    breaks.write_text(name)
    daemon = new_daemon(text=TEXT).start()
    code = daemon.stop()
    stopped = (tmp_path / "stopped").read_text().splitlines()
    (line,) = told(daemon.lines)
    lock = FileLock(tmp_path / "data" / "monqbus.lock")

    assert 1 == code
    assert name in line
    if name != "store":
        assert "store is free" == stopped.pop(stopped.index("store") + 1)
    assert [one for one in reversed(NAMES) if one not in SHARED] == stopped
    lock.take(tmp_path)
    lock.release()


@pytest.mark.parametrize("name", SHARED)
def test_a_daemon_on_mongodb_stops_all_others_too(
    new_daemon: New, tmp_path: Path, breaks: Path, standalone: Deployment, name: str
):
    """The services that only a shared store has are no exception."""
    breaks.write_text(name)
    text = TEXT.replace("[http]", "[http]\nspool = 64MiB")
    daemon = new_daemon(standalone.address(f"stopping_{SHARED.index(name)}"), text=text).start()
    code = daemon.stop()
    (line,) = told(daemon.lines)

    assert 1 == code
    assert name in line
    assert NAMES[::-1] == (tmp_path / "stopped").read_text().splitlines()


def test_a_daemon_whose_services_all_stop_ends_with_0(new_daemon: New, tmp_path: Path, breaks: Path):
    """The list is walked back whole."""
    breaks.write_text("none of them")
    daemon = new_daemon(text=TEXT).start()

    assert 0 == daemon.stop()
    assert [] == told(daemon.lines)
    assert "store is free" in (tmp_path / "stopped").read_text().splitlines()
