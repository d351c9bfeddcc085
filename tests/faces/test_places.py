"""All connections are taken: who gives way, what he is told, and that the honest are answered."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import gevent
import pytest

from bus.http import Limits, Server, connection
from bus.http.eviction import GRACE_SECONDS, Connections, Stage

from .echo import Echo
from .stranger import Answer, Stranger, ask, get, post, serving, told

PATIENCE = 5.0
HALF = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is silent may be asked to leave at once."""
    monkeypatch.setattr(connection, "GRACE_SECONDS", dict.fromkeys(GRACE_SECONDS, -1.0))


@pytest.fixture
def much_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may be asked to leave."""
    monkeypatch.setattr(connection, "GRACE_SECONDS", {})


def until(is_so: Callable[[], object], what: str) -> None:
    with gevent.Timeout(PATIENCE, AssertionError(f"not within {PATIENCE} s: {what}")):
        while not is_so():
            gevent.idle()


@contextmanager
def strangers(server: Server, count: int, data: bytes) -> Iterator[list[Stranger]]:
    """*count* connections that have sent *data*, which the server has seen."""
    with ExitStack() as stack:
        found = []
        for number in range(count):
            found.append(stack.enter_context(Stranger(server.address)))
            found[-1].send(data)
            least = min(number + 1, server.limits.connections)
            until(lambda least=least: len(server.connections) >= least, "it is let in")
        until(lambda: sum(one.reader.received for one in server.connections), "it has been read")
        yield found


def test_a_newcomer_is_answered_while_all_places_are_half_sent(no_grace: None) -> None:
    """Never is the newcomer the one who gives way: it has not had the time to show anything."""
    with serving(Echo(), Limits(connections=8)) as server, strangers(server, 8, HALF):
        assert [200] * 20 == [ask(server.address, get("/")).status for _ in range(20)]
        assert 8 >= len(server.connections)


def test_who_gives_way_is_told_the_truth(no_grace: None) -> None:
    """503 with Retry-After and a word of its own; it is not the daemon that stops."""
    with serving(Echo(), Limits(connections=1)) as server, strangers(server, 1, HALF) as (half,):
        ask(server.address, get("/"))
        answer = half.answer()

    assert (503, "connections_full") == (answer.status, answer.json["code"])
    assert answer.is_last
    assert 1 <= int(answer.headers["retry-after"]) <= 6


def test_a_flood_of_connections_is_one_line_in_the_log(no_grace: None) -> None:
    """One a minute, however often places are taken and free again; a refusal of each would be as bad."""
    with told() as facts, serving(Echo(), Limits(connections=4)) as server:
        for _ in range(2):
            with strangers(server, 12, HALF):
                ask(server.address, get("/"))
            until(lambda: not server.connections, "all are gone")

    told_of_it = [fact for fact, _ in facts if fact.startswith("connections.")]
    assert ["connections.filled"] == told_of_it
    assert "connections_full" not in [fields.get("code") for _, fields in facts]


def test_where_nobody_may_be_asked_every_answer_is_its_connection_s_last(much_grace: None) -> None:
    """200 senders at 20 places, each answered: places go round instead of being taken from somebody."""
    with serving(Echo(), Limits(connections=20)) as server:
        senders = [gevent.spawn(_thrice, server) for _ in range(200)]
        gevent.joinall(senders, timeout=60)
        statuses = [status for sender in senders for status in sender.value or [0]]

    assert [200] * 600 == statuses


def _thrice(server: Server) -> list[int]:
    """What a sender reads who keeps its connection as long as it is allowed to."""
    statuses: list[int] = []
    while len(statuses) < 3:
        with Stranger(server.address) as stranger:
            answer: Answer | None = None
            while len(statuses) < 3 and not (answer and answer.is_last):
                stranger.send(post("/", b"a"))
                answer = stranger.answer()
                statuses.append(answer.status)
    return statuses


def test_beside_a_thousand_half_open_connections_every_honest_delivery_is_answered() -> None:
    """With the real grace, while they come: none is closed unanswered, none is told to come again."""
    statuses: list[int] = []
    with ExitStack() as stack:
        server = stack.enter_context(serving(Echo(), Limits(connections=128)))
        for number in range(1000):
            half = stack.enter_context(Stranger(server.address))
            half.send(HALF)
            if number % 20 == 19:
                statuses.append(ask(server.address, post("/", b"a")).status)
        held = len(server.connections)

    assert [200] * 50 == statuses
    assert 120 <= held <= 128


def test_a_connection_that_is_answered_never_gives_way(no_grace: None) -> None:
    """Its request has been taken; what waits, waits for it."""
    app = Echo()
    with serving(app, Limits(connections=1)) as server, Stranger(server.address) as busy:
        busy.send(get("/wait"))
        assert app.entered.wait(PATIENCE)
        with Stranger(server.address) as other:
            other.send(get("/other"))
            until(lambda: server.is_full, "the other one waits")
            app.gate.set()

            assert "/wait" == busy.answer().json["path"]
            assert "/other" == other.answer().json["path"]


class Standing:
    """A connection as `Places` sees it."""

    def __init__(self, stage: Stage, since: float, who: str = "") -> None:
        self.stage = stage
        self.since = since
        self.who = who

    def may_give_way(self, now: float) -> bool:
        return self.stage is not Stage.WORKING


def order(standing: list[Standing], connection_quota: dict[str, int] | None = None) -> list[int]:
    """The indexes of *standing* in the order in which they give way."""
    connections: Any = set(standing)
    found = Connections(connections, lambda who: (connection_quota or {}).get(who, 1))
    left = []
    while (weakest := found.weakest(100.0)) is not None:
        connections.discard(weakest)
        left.append(standing.index(weakest))  # type: ignore[arg-type]
    return left


def test_who_has_shown_least_gives_way_first_and_who_works_never() -> None:
    stages = [Stage.WORKING, Stage.SENDING, Stage.ARRIVING, Stage.IDLE, Stage.SILENT, Stage.LEAVING]

    assert [5, 4, 3, 2, 1] == order([Standing(stage, 1.0) for stage in stages])


def test_of_those_who_have_shown_the_same_who_did_so_longest_ago_gives_way_first() -> None:
    assert [2, 0, 1] == order([Standing(Stage.SILENT, since) for since in (2.0, 3.0, 1.0)])


def test_of_those_who_have_shown_the_same_the_largest_crowd_gives_way_first() -> None:
    """One address does not push the others out by waiting for longer than they."""
    standing = [
        Standing(Stage.SILENT, 1.0, "a"),
        Standing(Stage.SILENT, 2.0, "b"),
        Standing(Stage.IDLE, 0.0, "b"),
    ]

    assert [1, 0, 2] == order(standing, {"b": 60})


def test_one_look_serves_for_many_and_what_has_changed_since_is_passed_over() -> None:
    """Each newcomer of a flood would look at all connections otherwise."""
    standing = [Standing(Stage.SILENT, float(number)) for number in range(5)]
    looks = 0

    class Counted(set[Any]):
        def __iter__(self) -> Iterator[Any]:
            nonlocal looks
            looks += 1
            return super().__iter__()

    connections = Counted(standing)
    found = Connections(connections, lambda who: 1)
    first = found.weakest(100.0)
    connections.discard(first)
    standing[1].stage = Stage.WORKING
    second = found.weakest(100.0)

    assert [standing[0], standing[2]] == [first, second]
    assert 1 == looks


# file descriptors


@contextmanager
def no_files() -> Iterator[None]:
    """No file can be opened meanwhile."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_without_file_descriptors_idle_connections_are_closed_and_it_is_told_once(
    no_grace: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """EMFILE is a fact, neither a traceback on standard error nor a busy loop nor the end."""
    with told() as facts, serving(Echo()) as server, strangers(server, 3, get("/")) as idle:
        for one in idle:
            one.answer()
        with Stranger(server.address) as newcomer, no_files():
            newcomer.send(get("/"))

            assert [True] * 3 == [one.is_hung_up() for one in idle]
            until(lambda: facts, "it is told")
        assert 200 == ask(server.address, get("/")).status
    assert [("connections.refused", "Too many open files")] == [
        (fact, fields["error"]) for fact, fields in facts if "error" in fields
    ]
    assert "" == capfd.readouterr().err
