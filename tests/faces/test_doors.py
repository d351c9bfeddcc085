"""A listening socket that a handler has taken away is noticed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bus.daemon.doors import Door
from bus.http import Server

from .echo import Echo
from .stranger import serving


def take(server: Server) -> None:
    """As a library that closes all descriptors, after which the next file gets the number."""
    with Path(os.devnull).open() as other:
        os.dup2(other.fileno(), server.socket.fileno())


def replace(server: Server) -> None:
    """The next file is a socket, too."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        os.dup2(other.fileno(), server.socket.fileno())


def shut(server: Server) -> None:
    """By somebody who has found the socket itself."""
    server.socket.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (take, "its descriptor is no socket any more: Socket operation on non-socket"),
        (replace, "its descriptor is somebody else's now"),
        (shut, "its descriptor is somebody else's now"),
        (Server.close, "its socket was closed"),
    ],
)
def test_a_socket_that_is_gone_is_a_death(harm, reason):
    """Nobody can connect any more, and nobody would say so."""
    with serving(Echo()) as server:
        door = Door("public listener", lambda: server)
        before = door.health.death
        harm(server)

        assert before is None
        assert str(door.health.death).startswith(reason)


def test_a_door_that_is_closed_on_purpose_is_well():
    """And one that nobody has opened yet."""
    with serving(Echo()) as server:
        door = Door("public listener", lambda: server)
        server.stop(0.0)

        assert door.health.death is None
    assert Door("public listener", lambda: None).health.death is None
