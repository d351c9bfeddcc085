"""What a service manager hears of a daemon: ready, reloading, stopping, and that it is alive."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from .conftest import CONFIG, New, Ran
from .daemons import PATIENCE, Daemon

LONGEST_BEAT = 0.2


class Manager:
    """The socket that systemd would listen on; *name* as NOTIFY_SOCKET has it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(name.replace("@", "\0"))

    def environ(self, watchdog_seconds: float = 0.0) -> dict[str, str]:
        """The variables of a service."""
        period = {"WATCHDOG_USEC": f"{watchdog_seconds * 1e6:.0f}"} if watchdog_seconds else {}
        return {"NOTIFY_SOCKET": self.name, **period}

    def hear(self, word: str = "") -> str:
        """The next message that has *word*."""
        while word not in (message := self._socket.recv(4096).decode()):
            pass
        return message

    def waiting(self) -> list[str]:
        """What has arrived and was not heard yet."""
        found = []
        self._socket.settimeout(0)
        try:
            while True:
                found.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return found
        finally:
            self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A listening one."""
    name = str(tmp_path / "notify") if request.param == "a path" else f"@monqbus-test-{uuid4().hex}"
    manager = Manager(name)
    yield manager
    manager.close()


def _daemon(new_daemon: New, manager: Manager, watchdog_seconds: float = 0.0) -> Daemon:
    daemon = new_daemon()
    daemon.environ |= manager.environ(watchdog_seconds)
    return daemon


def test_a_service_manager_hears_of_every_change(new_daemon: New, manager: Manager):
    """Ready when it listens, with the process to watch; reloading until it has; stopping, and how long."""
    daemon = _daemon(new_daemon, manager)
    daemon.launch()
    ready = manager.hear()
    assert daemon.process is not None
    pid = daemon.process.pid
    host, port = daemon.address
    daemon.signal(signal.SIGHUP)
    reloading, reloaded = manager.hear(), manager.hear()
    daemon.config.write_text("[nothing]\n")
    daemon.signal(signal.SIGHUP)
    again, refused = manager.hear(), manager.hear()
    code = -1
    daemon.signal(signal.SIGTERM)
    stopping = manager.hear()
    code = daemon.wait()

    assert re.fullmatch(
        rf"READY=1\nSTATUS=listening on http://{host}:{port}: \d+ tasks, 2 hooks\nMAINPID={pid}", ready
    )
    for message in (reloading, again):
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", message)
    assert reloaded.startswith("READY=1\nSTATUS=reloaded: ")
    assert refused.startswith("READY=1\nSTATUS=the new configuration was refused")
    assert re.fullmatch(r"STOPPING=1\nSTATUS=draining: 0 tasks run.*\nEXTEND_TIMEOUT_USEC=12000000", stopping)
    assert (0, []) == (code, manager.waiting())


def test_a_watched_daemon_beats_until_its_hub_is_blocked(new_daemon: New, manager: Manager, ran: Ran):
    """Silence lets the manager start it anew; afterwards, and while it drains, it beats again."""
    daemon = _daemon(new_daemon, manager, 2 * LONGEST_BEAT).start()
    beats = [manager.hear("WATCHDOG=1") for _ in range(3)]
    daemon.monqbus("post", "accepted.burn", "--args", "[3]", "--delay", "300ms")
    daemon.wait_for("hub.blocked")
    manager.waiting()
    daemon.wait_for("hub.unblocked")
    while_blocked = manager.waiting()
    manager.hear("WATCHDOG=1")
    daemon.monqbus("post", "accepted.linger", "--args", "[60]")
    ran(3)
    daemon.signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    while_draining = manager.hear()

    assert ["WATCHDOG=1"] * 3 == beats
    assert len(while_blocked) <= 1
    assert "WATCHDOG=1" == while_draining
    assert 0 == daemon.wait()


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all"])
def test_a_manager_that_is_not_there_is_no_trouble(new_daemon: New, name: str):
    """It starts, reloads and stops as without one."""
    daemon = new_daemon(text=CONFIG)
    daemon.environ |= {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"}
    daemon.start()

    assert 0 == daemon.stop()
