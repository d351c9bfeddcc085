"""The control socket stays where people look for it, and a stop resets nobody who has connected."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent.monkey import get_original

from bus import telemetry
from bus.http import ControlSocket
from bus.http.listen import listen_unix

from .echo import Echo
from .stranger import get, serving


@pytest.fixture
def door(tmp_path: Path) -> Iterator[ControlSocket]:
    """A control socket that serves."""
    control = ControlSocket(tmp_path / "control.sock")
    control.serve(Echo())
    yield control
    control.stop()


def answers(path: Path) -> bool:
    """Whether somebody answers there."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(get("/"))
        return client.recv(12) == b"HTTP/1.1 200"


def test_the_socket_has_its_mode_before_it_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A mode that is set by name is set wherever the name leads by then."""

    def refuse(*_, **__):
        raise AssertionError("by name")

    monkeypatch.setattr(os, "chmod", refuse)
    mask = os.umask(0)
    try:
        listener = listen_unix(tmp_path / "control.sock")
    finally:
        os.umask(mask)

    assert 0o600 == stat.S_IMODE((tmp_path / "control.sock").stat().st_mode)
    listener.close()


def test_a_deleted_file_comes_back(door: ControlSocket, tmp_path: Path):
    """The next look makes it anew, for its owner only."""
    path = tmp_path / "control.sock"
    before = path.lstat().st_ino
    door.look()
    assert before == path.lstat().st_ino

    path.unlink()
    door.look()

    assert answers(path)
    assert 0o600 == path.stat().st_mode & 0o777


def test_a_place_that_is_taken_is_told_once_and_left_alone(
    door: ControlSocket, tmp_path: Path, request: pytest.FixtureRequest
):
    """A file that is not ours stays, also at the end; when it has gone, the socket is back."""
    told: list[str] = []
    request.addfinalizer(telemetry.listen(lambda fact, _: told.append(fact)))
    path = tmp_path / "control.sock"
    path.unlink()
    path.write_text("mine")
    door.look()
    door.look()

    assert (["socket.lost"], "mine") == (told, path.read_text())
    path.unlink()
    door.look()
    assert ["socket.lost", "socket.restored"] == told
    assert answers(path)


def test_a_stop_answers_who_has_connected_and_was_not_accepted_yet():
    """What waits in the kernel's queue would be reset by closing the door."""
    with serving(Echo()) as server, get_original("socket", "socket")() as stranger:
        stranger.connect(server.address)  # not gevent's socket: the server has had no turn to accept
        stranger.sendall(get("/"))
        server.stop(5)

        assert stranger.recv(12) == b"HTTP/1.1 200"


def test_a_stop_leaves_alone_a_file_that_has_taken_its_place(door: ControlSocket, tmp_path: Path):
    """Another daemon's socket must not be deleted."""
    path = tmp_path / "control.sock"
    path.unlink()
    other = ControlSocket(path)
    other.serve(Echo())
    door.stop()

    assert answers(path)
    other.stop()
    assert not path.exists()
