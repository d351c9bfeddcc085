"""The server's doors: who gets in when it is full, what a stop leaves undone, where it listens."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from bus.errors import ConfigError
from bus.http import Limits, Server, listen_tcp, listen_unix
from bus.http.deadline_reader import DeadlineReader

from .echo import Echo
from .stranger import Stranger, ask, get, post, serving


def test_a_full_house_makes_room_by_closing_who_is_idle() -> None:
    """An idle connection gives way, one that is being answered never does."""
    app = Echo()
    with serving(app, Limits(connections=2)) as server, Stranger(server.address) as busy:
        busy.send(get("/wait"))
        assert app.entered.wait(5)
        with Stranger(server.address) as idle:
            idle.send(get("/"))

            assert 200 == idle.answer().status
            assert 200 == ask(server.address, get("/")).status
            assert idle.is_hung_up()

        app.gate.set()

        assert 200 == busy.answer().status


@pytest.mark.parametrize(("idle", "said"), [(75.0, "timeout=75"), (1.9, "timeout=1"), (0.5, None)])
def test_a_client_is_told_how_long_it_may_keep_its_connection(idle: float, said: str | None) -> None:
    """In whole seconds, with every answer but the last; RFC 9112 section 9.3 leaves the number to us."""
    with serving(Echo(), Limits(idle_seconds=idle)) as server, Stranger(server.address) as kept:
        kept.send(get("/"))
        first = kept.answer()
        kept.send(get("/", "Connection: close"))
        last = kept.answer()

        assert (said, said and "keep-alive") == tuple(map(first.headers.get, ("keep-alive", "connection")))
        assert (None, "close") == tuple(map(last.headers.get, ("keep-alive", "connection")))


def test_a_connection_is_kept_for_longer_than_its_client_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a client that keeps it for exactly so long would send into its end; strangers get less."""
    allowed = []
    allow = DeadlineReader.allow

    def note(reader: DeadlineReader, seconds: float, what: str) -> None:
        allowed.append((what, seconds))
        allow(reader, seconds, what)

    monkeypatch.setattr(DeadlineReader, "allow", note)
    with serving(Echo()) as server, Stranger(server.address) as kept:
        for _ in range(2):
            kept.send(get("/"))
            kept.answer()

    assert [15.0, 76.0] == [seconds for what, seconds in allowed if what == "request"][:2]


def test_over_the_cap_a_connection_waits_for_its_turn() -> None:
    """Nobody is refused and no memory is spent: the kernel keeps the queue."""
    app = Echo()
    with serving(app, Limits(connections=1)) as server, Stranger(server.address) as first:
        first.send(get("/wait"))
        assert app.entered.wait(5)
        with Stranger(server.address) as second:
            second.send(get("/second"))
            assert 1 == len(server.connections)

            app.gate.set()
            first.answer()

            assert "/second" == second.answer().json["path"]


def test_a_stop_closes_the_door_and_lets_the_request_in_flight_finish() -> None:
    """New connections are refused at once, idle ones closed at once, the last answer says close."""
    app = Echo()
    with serving(app) as server, Stranger(server.address) as busy, Stranger(server.address) as idle:
        idle.send(get("/"))
        idle.answer()
        busy.send(get("/wait"))
        assert app.entered.wait(5)

        address, stopping = server.address, gevent.spawn(server.stop, 5.0)

        assert idle.is_hung_up()
        with pytest.raises(ConnectionRefusedError):
            Stranger(address)
        app.gate.set()
        answer = busy.answer()
        assert 200 == answer.status
        assert answer.is_last
        assert busy.is_hung_up()
        stopping.get(timeout=5)


def test_a_request_that_came_before_the_stop_is_answered_after_it() -> None:
    """What was on its way on a kept-alive connection is not lost; the next one is refused a place."""
    app = Echo()
    with serving(app) as server, Stranger(server.address) as kept:
        kept.send(get("/"))
        kept.answer()
        kept.send(get("/late"))

        server.stop(5.0)

        answer = kept.answer()
        assert "/late" == answer.json["path"]
        assert answer.is_last


def test_who_has_just_connected_at_the_stop_is_answered() -> None:
    """Connecting and sending are two packets: between them nobody can know that the door closes."""
    with serving(Echo()) as server, Stranger(server.address) as late, Stranger(server.address) as silent:
        late.send(get("/"))
        late.answer()
        with Stranger(server.address) as new:
            stopping = gevent.spawn(server.stop, 5.0)
            gevent.idle()
            new.send(get("/"))

            answer = new.answer()

            assert 200 == answer.status
            assert answer.is_last
            assert late.is_hung_up()
            assert silent.is_hung_up()
        stopping.get(timeout=5)


def test_half_a_body_at_the_stop_is_sent_back_to_be_sent_again() -> None:
    """A sender must not take our stop for its own mistake: 503, not 400."""
    with serving(Echo()) as server, Stranger(server.address) as half:
        half.send(get("/"))
        half.answer()
        half.send(post("/", b"a", {"Content-Length": "2"}))

        server.stop(5.0)

        answer = half.answer()
        assert 503 == answer.status
        assert "retry-after" in answer.headers


def test_a_stop_that_is_hurried_cuts_the_rest_at_once() -> None:
    """A second TERM means now, whatever is still on its way in."""
    hurry = Event()
    with serving(Echo()) as server, Stranger(server.address) as half:
        half.send(post("/", b"a", {"Content-Length": "2"})[:-1])
        gevent.idle()
        stopping = gevent.spawn(server.stop, 600.0, hurry)
        gevent.idle()
        hurry.set()

        stopping.get(timeout=5)


def test_at_the_end_of_the_stop_the_rest_is_cut() -> None:
    """A request that does not finish in time does not keep the daemon."""
    app = Echo()
    with serving(app) as server, Stranger(server.address) as stuck:
        stuck.send(get("/wait"))
        assert app.entered.wait(5)

        server.stop(0.05)

        assert stuck.is_hung_up()
        assert set() == server.connections


def test_a_unix_socket_serves_its_owner_alone(tmp_path: Path) -> None:
    """The control socket: mode 0600, gone after the stop."""
    path = tmp_path / "control.sock"
    server = Server([listen_unix(path)], Echo(), removes=[str(path)])
    server.start()

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert "/a" == ask(str(path), get("/a")).json["path"]

    server.stop(1.0)

    assert not path.exists()


def test_a_socket_file_left_behind_is_replaced(tmp_path: Path) -> None:
    """A daemon that was killed does not keep the next one from starting."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))

    listen_unix(path).close()


def test_a_socket_that_answers_is_left_alone(tmp_path: Path) -> None:
    """Two daemons never share a control socket."""
    path = tmp_path / "control.sock"
    with listen_unix(path), pytest.raises(ConfigError, match="another daemon answers there"):
        listen_unix(path)


def test_a_file_in_the_socket_s_place_is_left_alone(tmp_path: Path) -> None:
    """Only a socket is ever removed."""
    path = tmp_path / "control.sock"
    path.write_text("precious")

    with pytest.raises(ConfigError, match="not a socket"):
        listen_unix(path)

    assert "precious" == path.read_text()


def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    """The kernel's limit is 107 bytes."""
    with pytest.raises(ConfigError, match="cannot listen"):
        listen_unix(tmp_path / ("a" * 120))


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    """Subject, value, remedy."""
    with listen_tcp("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError) as raised:
            listen_tcp("127.0.0.1", port)

    assert (
        f"[http] listen: cannot listen on 127.0.0.1:{port}: the port is in use; "
        f"stop who has it (ss -ltnp 'sport = :{port}') or choose another one"
    ) == str(raised.value)


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """TCP_NODELAY on the listening socket is inherited: 44 ms a request without it."""
    with listen_tcp("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
