"""Names are looked up although handlers keep every native thread that there is."""

from __future__ import annotations

import socket
from _queue import SimpleQueue
from collections.abc import Iterator

import gevent
import pytest

from bus.store import name_resolution
from bus.store.name_resolution import OTHER_THREADS, Resolver


@pytest.fixture
def hub() -> Iterator[gevent.hub.Hub]:
    """The hub, with its own resolver again afterwards."""
    hub = gevent.get_hub()
    before = hub.resolver
    yield hub
    hub.resolver = before


@pytest.fixture
def gate() -> Iterator[SimpleQueue[None]]:
    """What native threads wait at; they all go on after the test."""
    queue: SimpleQueue[None] = SimpleQueue()
    yield queue
    for _ in range(100):
        queue.put(None)


def look_up(name: str) -> str:
    """An address of *name*."""
    with gevent.Timeout(10, AssertionError(f"{name} was not looked up")):
        return socket.getaddrinfo(name, 80)[0][4][0]


def test_names_are_found_although_all_threads_of_the_hub_are_busy(hub, gate):
    """127.0.0.1 is a name like any other to gevent."""
    name_resolution.install(hub, lambda: ())
    for _ in range(hub.threadpool.maxsize):
        hub.threadpool.spawn(gate.get)

    assert "127.0.0.1" == look_up("127.0.0.1")


def test_the_stores_names_are_found_although_other_look_ups_never_end(hub, gate):
    """A name server that does not answer keeps a thread for half a minute."""
    name_resolution.install(hub, lambda: {"127.0.0.2"})
    for _ in range(OTHER_THREADS):
        hub.resolver.pool.spawn(gate.get)

    assert "127.0.0.2" == look_up("127.0.0.2")


def test_a_resolver_that_an_operator_has_chosen_stays(hub):
    """GEVENT_RESOLVER names another one, which needs no threads."""

    class Chosen(Resolver):
        pass

    hub.resolver = chosen = Chosen(hub, tuple)
    name_resolution.install(hub, tuple)

    assert chosen is hub.resolver
