"""Deliveries before, while and after the daemon is restarted, and sockets that a service manager keeps."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from tests.cpu.conftest import children

from .activation import descriptors, give, listening
from .conftest import CONFIG, New
from .daemons import Daemon, until

RESTARTS = 5
PAUSE_SECONDS = 1 / 200
EACH = 60
TEXT = CONFIG.replace("apps = accepted", "apps = restarted").replace("path = {apps}", "path = ./apps")
PATIENT = TEXT.replace("drain = 2s", "drain = 60s")
APP = """\
import os
from pathlib import Path

import gevent
from monqbus import event_handler, task

@event_handler("open.count")
def count(topic, event):
    gevent.sleep(0.2)
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(event.body.decode() + "\\n")

@task
def wait_for(path):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("waits\\n")
    while not Path(path).exists():
        gevent.sleep(0.01)

@task(cpu=True)
def compute():
    return os.getpid()
"""


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> None:
    """The app of these daemons."""
    path = tmp_path / "apps" / "restarted.py"
    path.parent.mkdir()
    path.write_text(APP)


@pytest.fixture
def kept() -> Iterator[socket.socket]:
    """The socket that a service manager keeps."""
    with listening() as made:
        yield made


def deliver(address: tuple[str, int], name: str) -> int:
    """One delivery on a connection of its own; the status."""
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request("POST", "/hooks/open", name.encode(), {"X-Kind": "count"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


class Senders:
    """Delivers 200 times a second, each on a connection of its own, until `stop`."""

    def __init__(self, address: Callable[[], tuple[str, int]]) -> None:
        self.answers: dict[str, int] = {}
        self.refused: list[str] = []
        self.unanswered: list[str] = []
        self._address = address
        self._sending = gevent.spawn(self._run)
        self._under_way: list[gevent.Greenlet] = []
        self._is_over = False

    def _run(self) -> None:
        count = 0
        while not self._is_over:
            count += 1
            self._under_way.append(gevent.spawn(self._send, f"d{count}"))
            gevent.sleep(PAUSE_SECONDS)

    def _send(self, name: str) -> None:
        try:
            self.answers[name] = deliver(self._address(), name)
        except ConnectionRefusedError:
            self.refused.append(name)
        except (OSError, http.client.HTTPException):
            self.unanswered.append(name)

    @property
    def acked(self) -> set[str]:
        return {name for name, status in self.answers.items() if status == 202}

    def wait_for_more(self, count: int) -> None:
        """Until *count* more deliveries are acknowledged."""
        before = len(self.acked)
        until(lambda: list(self.acked), before + count)

    def stop(self) -> None:
        self._is_over = True
        self._sending.join(20)
        gevent.joinall(self._under_way, timeout=30, raise_error=True)


def restart_under_load(daemon: Daemon, senders: Senders) -> list[int]:
    """Several restarts, each as soon as deliveries flow again; the exit codes."""
    codes = []
    for _ in range(RESTARTS):
        senders.wait_for_more(EACH)
        codes.append(daemon.stop())
        daemon.start()
    senders.wait_for_more(EACH)
    senders.stop()
    return codes


def test_no_delivery_is_refused_while_a_daemon_with_a_kept_socket_is_restarted(
    new_daemon: New, kept: socket.socket, ran: Callable[..., list[str]]
):
    """Who connects while no daemon runs waits in the queue of the socket, and the next one answers.

    It has room for all of them at once, as many as a slow machine lets gather.
    """
    roomy = TEXT.replace("[http]\n", "[http]\nmax_inflight = 4096\n")
    daemon = give(new_daemon(text=roomy), [kept]).start()
    senders = Senders(kept.getsockname)
    codes = restart_under_load(daemon, senders)
    until(lambda: list(senders.acked & set(ran())), len(senders.acked))

    assert [0] * RESTARTS == codes
    assert ([], []) == (senders.refused, senders.unanswered)
    assert {202} == set(senders.answers.values())


def test_without_one_deliveries_are_refused_but_none_is_lost(new_daemon: New, ran: Callable[..., list[str]]):
    """What was answered 202 runs, before the restart or after it."""
    with listening() as free:
        port = free.getsockname()[1]
    daemon = new_daemon(text=TEXT.replace("127.0.0.1:0", f"127.0.0.1:{port}")).start()
    senders = Senders(lambda: ("127.0.0.1", port))
    codes = restart_under_load(daemon, senders)
    until(lambda: list(senders.acked & set(ran())), len(senders.acked))

    assert [0] * RESTARTS == codes
    assert {202} == set(senders.answers.values())


def test_a_draining_daemon_takes_deliveries_for_the_next_one(
    new_daemon: New, tmp_path: Path, ran: Callable[..., list[str]]
):
    """202 until its running tasks have ended; /readyz already says 503, and answers are the last ones."""
    daemon = new_daemon(text=PATIENT).start()
    daemon.monqbus("post", "restarted.wait_for", "--args", '["over"]')
    ran(1)
    daemon.signal(signal.SIGTERM)
    daemon.wait_for("daemon.draining")
    connection = http.client.HTTPConnection(*daemon.address, timeout=20)
    connection.request("POST", "/hooks/open", b"late", {"X-Kind": "count"})
    answer = connection.getresponse()
    header = answer.headers["Connection"]
    answer.read()
    ready, document = daemon.request("GET", "/readyz")
    waiting = daemon.monqbus("count", "--state", "ready").stdout
    (tmp_path / "over").touch()
    code = daemon.wait()
    before = ran()
    daemon.start()

    assert (202, "close") == (answer.status, header)
    assert (503, "not_ready") == (ready, document["code"])
    assert ["ready", "1"] == waiting.split()[:2]
    assert (0, ["waits"]) == (code, before)
    assert ["waits", "late"] == ran(2)


def test_a_second_signal_ends_a_draining_daemon_that_still_takes_deliveries(
    new_daemon: New, kept: socket.socket, ran: Callable[..., list[str]]
):
    """Nobody waits for connections then either: one that has sent half of its body is cut."""
    daemon = give(new_daemon(text=PATIENT), [kept]).start()
    daemon.monqbus("post", "restarted.wait_for", "--args", '["never"]')
    ran(1)
    with socket.create_connection(kept.getsockname()) as slow:
        slow.sendall(
            b"POST /hooks/open HTTP/1.1\r\nHost: x\r\nX-Kind: count\r\nContent-Length: 9\r\n\r\nhalf"
        )
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("daemon.draining")
        with pytest.raises(Exception, match="timed out"):
            daemon.wait(1.2)
        daemon.signal(signal.SIGTERM)

        assert 0 == daemon.wait(5)
    assert "released=1" in daemon.wait_for("daemon.stopped")


def test_nobody_but_the_daemon_holds_the_passed_socket(new_daemon: New, kept: socket.socket):
    """Neither the zygote, nor an app process, nor a worker: else the port would stay open behind it."""
    daemon = give(new_daemon(text=TEXT), [kept]).start()
    daemon.monqbus("post", "restarted.compute", "--wait", "20")
    (name,) = {to for to in descriptors(daemon.pid).values() if to == socket_name(kept)}
    others = [pid for pid in descendants(daemon.pid) if name in descriptors(pid).values()]

    assert len(list(descendants(daemon.pid))) >= 2
    assert [] == others
    assert 0 == daemon.stop()


def socket_name(one: socket.socket) -> str:
    """What /proc calls it."""
    return str(Path(f"/proc/self/fd/{one.fileno()}").readlink())


def descendants(pid: int) -> Iterator[int]:
    """All processes below *pid*."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def test_all_addresses_of_listen_and_the_control_socket_can_be_passed(new_daemon: New, tmp_path: Path):
    """Both addresses of localhost, and the Unix socket: its file is there after the end, too."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    path = data / "control.sock"
    with listening() as first, listening(socket.AF_UNIX, str(path)) as control:
        path.chmod(0o600)
        daemon = give(new_daemon(text=TEXT), [first, control], {"LISTEN_FDNAMES": "http:control"}).start()
        status = deliver(first.getsockname(), "first")
        counted = json.loads(daemon.monqbus("list", "--json").stdout.splitlines()[0])
        code = daemon.stop()

        assert 202 == status
        assert "restarted.count" == counted["task_name"]
        assert 0 == code
        assert path.is_socket()
        assert "name=http" in daemon.wait_for("socket.passed", f"address=127.0.0.1:{first.getsockname()[1]}")


def test_a_passed_control_socket_that_others_can_open_is_refused(new_daemon: New, tmp_path: Path):
    """Whoever can open it posts and cancels; systemd's default would let everybody."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    path = data / "control.sock"
    with listening(socket.AF_UNIX, str(path)) as control:
        path.chmod(0o666)
        daemon = give(new_daemon(text=TEXT), [control])
        daemon.launch()
        code = daemon.wait()

    assert 78 == code
    assert "SocketMode=0600" in "\n".join(daemon.lines)


def test_two_sockets_at_addresses_of_one_name_are_both_served(new_daemon: New):
    """[http] listen = localhost means 127.0.0.1 and ::1 where the machine says so."""
    if len({one[4][0] for one in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}) < 2:
        pytest.skip("localhost has one address here")
    try:
        sixth = listening(socket.AF_INET6, ("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with sixth, listening() as fourth:
        daemon = give(new_daemon(text=TEXT.replace("127.0.0.1:0", "localhost:0")), [fourth, sixth]).start()
        statuses = [deliver(one.getsockname()[:2], "x") for one in (fourth, sixth)]

        assert [202, 202] == statuses
        assert 0 == daemon.stop()


def unbound() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


@pytest.mark.parametrize(
    ("make", "environ", "words"),
    [
        (listening, {"LISTEN_FDS": "none"}, ["LISTEN_FDS", "expected a number from 1 to 64", "'none'"]),
        (listening, {"LISTEN_FDS": "40"}, ["LISTEN_FDS", "expected an open descriptor"]),
        (listening, {"LISTEN_FDNAMES": "a:b"}, ["LISTEN_FDNAMES", "expected 1 names", "'a:b'"]),
        (unbound, {}, ["descriptor 3 (unknown)", "does not listen"]),
        (
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            {"LISTEN_FDNAMES": "log"},
            ["descriptor 3 (log)", "expected a listening TCP or Unix socket", "SOCK_DGRAM"],
        ),
        (
            lambda: listening(address=("127.0.0.2", 0)),
            {},
            ["descriptor 3", "[http] listen = 127.0.0.1:0", "got one at 127.0.0.2:", "ListenStream="],
        ),
        (
            lambda: listening(socket.AF_UNIX, ""),
            {},
            ["descriptor 3", "control.sock", "got the Unix socket", "ListenStream="],
        ),
    ],
    ids=["no number", "too many", "other names", "not listening", "UDP", "another address", "another path"],
)
def test_a_wrong_socket_is_an_error_of_the_configuration(new_daemon: New, make, environ, words):
    """Exit code 78 and a line with the descriptor, what was expected, what came, and where to change it."""
    with make() as wrong:
        daemon = give(new_daemon(text=TEXT), [wrong], environ)
        daemon.launch()
        code = daemon.wait()
    said = "\n".join(daemon.lines)

    assert 78 == code
    assert all(word in said for word in words), said


def test_sockets_for_another_process_are_left_alone(new_daemon: New, kept: socket.socket):
    """LISTEN_PID names who they are for; a daemon that inherits the variables binds its own address."""
    daemon = give(new_daemon(text=TEXT), [kept], pid="1").start()

    assert daemon.address != kept.getsockname()
    assert 0 == daemon.stop()
