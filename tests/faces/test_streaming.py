"""An answer that goes on: pieces as they come, its connection's last, and over when either side leaves."""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator

import gevent
import pytest
from gevent.event import Event

from bus.http import Server
from bus.http.problem import Answer
from bus.http.url_map import UrlMap


class Stream:
    """Sends what is put, and knows when it was closed."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = Event()

    def answer(self, _: object) -> Answer:
        return Answer("200 OK", [("Content-Type", "text/event-stream")], b"first\n", self._rest())

    def _rest(self) -> Generator[bytes, None, None]:
        try:
            while True:
                yield self.pieces.pop(0) if self.pieces else b""
                gevent.sleep(0.001)
        finally:
            self.closed.set()


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def server(stream: Stream) -> Iterator[Server]:
    listener = gevent.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    made = Server([listener], UrlMap({"/live": stream.answer}))
    made.start()
    yield made
    made.stop(0.0)


def connected(server: Server) -> socket.socket:
    client = socket.create_connection(server.address, timeout=10)
    client.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


def read_until(client: socket.socket, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        piece = client.recv(4096)
        assert piece, got
        got += piece
    return got


def test_pieces_arrive_one_by_one_and_the_answer_says_that_it_is_the_last(stream, server):
    with connected(server) as client:
        head = read_until(client, b"first\n")
        stream.pieces.append(b"second\n")
        piece = read_until(client, b"second\n")

    assert b"Connection: close" in head
    assert b"Content-Length" not in head
    assert b"second\n" == piece


def test_a_client_that_leaves_ends_it_though_nothing_is_sent(stream, server):
    """Else each page that was ever open would be listening still."""
    client = connected(server)
    read_until(client, b"first\n")
    client.close()

    assert stream.closed.wait(10)


def test_a_server_that_stops_ends_it(stream, server):
    with connected(server) as client:
        read_until(client, b"first\n")
        server.stop(10.0)

    assert stream.closed.is_set()
