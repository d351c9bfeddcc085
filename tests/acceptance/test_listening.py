"""A daemon listens at several addresses, TCP and Unix, and leaves no socket file behind."""

from __future__ import annotations

import http.client
import socket
import stat
from pathlib import Path

import pytest

from .activation import give, listening
from .conftest import CONFIG, New


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket file *path*."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def deliver(connection: http.client.HTTPConnection) -> int:
    """The status of one delivery."""
    connection.request("POST", "/hooks/open", b"{}", {"X-Kind": "x"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def text(listen: str) -> str:
    return CONFIG.replace("listen = 127.0.0.1:0", f"listen = {listen}")


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a socket is made: a short path."""
    return tmp_path_factory.mktemp("s") / "http.sock"


def test_deliveries_are_taken_at_each_address(new_daemon: New, path: Path) -> None:
    daemon = new_daemon(text=text(f"127.0.0.1:0, unix:{path}, 127.0.0.1:0")).start()
    places = daemon.wait_for("daemon.started").split("listen=")[1].split()[0].split(",")
    ports = [int(place.rpartition(":")[2]) for place in places if place.startswith("http")]

    assert f"unix:{path}" == places[1]
    assert 2 == len(set(ports))
    assert [202, 202] == [deliver(http.client.HTTPConnection("127.0.0.1", port)) for port in ports]
    assert 202 == deliver(UnixConnection(path))


def test_the_file_is_for_its_owner_and_group_and_goes_with_the_daemon(new_daemon: New, path: Path) -> None:
    """Whatever the umask of the unit is."""
    daemon = new_daemon(text=text(f"unix:{path}"))
    daemon.program = ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh", *daemon.program]
    daemon.start()
    mode = stat.S_IMODE(path.stat().st_mode)

    assert 0o660 == mode
    assert 202 == deliver(UnixConnection(path))
    assert 0 == daemon.stop()
    assert not path.exists()


def test_what_a_killed_daemon_leaves_is_taken_over_and_what_answers_is_not(
    new_daemon: New, path: Path
) -> None:
    first = new_daemon(text=text(f"unix:{path}")).start()
    first.kill()
    assert path.exists()
    first.start()
    other = new_daemon(name="other", text=text(f"unix:{path}").replace("./data", "./other"))
    other.launch()

    assert 75 == other.wait()
    assert "another daemon answers there" in "\n".join(other.lines)
    assert 202 == deliver(UnixConnection(path))


def test_a_daemon_whose_socket_file_is_deleted_ends_and_says_why(new_daemon: New, path: Path) -> None:
    """Nobody could reach it there any more; its service manager starts it anew."""
    daemon = new_daemon(text=text(f"127.0.0.1:0, unix:{path}")).start()
    path.unlink()

    assert 1 == daemon.wait()
    assert any("the file of its socket" in line and "service.died" in line for line in daemon.lines)


def test_when_one_address_cannot_be_had_none_is_kept(new_daemon: New, path: Path) -> None:
    with listening() as taken:
        daemon = new_daemon(text=text(f"unix:{path}, 127.0.0.1:{taken.getsockname()[1]}"))
        daemon.launch()

        assert 75 == daemon.wait()
    assert not path.exists()


def test_a_unix_socket_of_the_service_manager_is_served_and_left(new_daemon: New, path: Path) -> None:
    with listening(socket.AF_UNIX, str(path)) as kept:
        daemon = give(new_daemon(text=text(f"unix:{path}")), [kept]).start()

        assert 202 == deliver(UnixConnection(path))
        assert 0 == daemon.stop()
        assert path.exists()


def test_a_control_socket_that_is_deleted_is_made_again_and_ends_nothing(
    new_daemon: New, tmp_path: Path
) -> None:
    """Clean-up jobs delete socket files; the doorkeeper looks every few seconds."""
    daemon = new_daemon().start()
    (tmp_path / "data" / "control.sock").unlink()
    daemon.wait_for("socket.restored")

    assert 0 == daemon.monqbus("count").returncode
    assert not any("service.died" in line for line in daemon.lines)
    assert 0 == daemon.stop()
