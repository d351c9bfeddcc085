"""Too much of everything: each limit says no at once, to the right one, and lets go again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gevent
import pytest
from gevent.event import Event as Signal

from bus.clock import FrozenClock
from bus.config import Hook
from bus.config.settings import Http
from bus.daemon.url_maps import public_urls
from bus.errors import Refused
from bus.http import Limits, Server, WsgiApp, body_budget, read_body
from bus.http.body_budget import BodyBudget
from bus.http.connection_quota import LOOPBACK, ConnectionQuota
from bus.http.deadline_reader import DeadlineReader
from bus.http.eviction import GRACE_SECONDS, Stage
from bus.model import Event, Receipt
from bus.webhook.admission import Admission

from .console import Command
from .echo import Echo
from .stranger import Answer, Stranger, ask, chunked, get, post, serving, told

PATIENCE = 5.0
COUNTED = Limits(connections_per_ip=2, uncounted=())


def until(is_so: Callable[[], object], what: str) -> None:
    """Wait for *what* the server does after the answer has gone out."""
    with gevent.Timeout(PATIENCE, AssertionError(f"not within {PATIENCE} s: {what}")):
        while not is_so():
            gevent.idle()


# connections of one address


def test_one_connection_too_many_is_answered_429_and_closed() -> None:
    """Without having sent a byte, with Retry-After; the others of that address go on."""
    with serving(Echo(), COUNTED) as server, Stranger(server.address) as one, Stranger(server.address):
        with Stranger(server.address) as third:
            answer = third.answer()

            assert (429, "too_many_connections") == (answer.status, answer.json["code"])
            assert 1 <= int(answer.headers["retry-after"]) <= 5
            assert answer.is_last
            assert third.is_hung_up()
        one.send(get("/"))
        assert 200 == one.answer().status


def test_the_answer_to_one_connection_too_many_survives_what_it_sends() -> None:
    """Closing over unread bytes would reset the 429 away."""
    with (
        serving(Echo(), COUNTED) as server,
        Stranger(server.address),
        Stranger(server.address),
        Stranger(server.address) as third,
    ):
        third.send(post("/", b"x" * 500))

        assert 429 == third.answer().status
        third.half_close()
        assert third.ends_in_order()


def test_other_addresses_do_not_feel_a_crowd() -> None:
    with (
        serving(Echo(), COUNTED) as server,
        Stranger(server.address),
        Stranger(server.address),
        Stranger(server.address, source="127.0.0.2") as other,
    ):
        other.send(get("/"))

        assert 200 == other.answer().status


def test_an_idle_connection_of_an_address_makes_room_for_its_next_one(monkeypatch) -> None:
    """The one that has been idle for longest; one that has sent nothing yet keeps its place."""
    monkeypatch.setitem(GRACE_SECONDS, Stage.IDLE, -1.0)
    with (
        serving(Echo(), replace(COUNTED, connections_per_ip=3)) as server,
        Stranger(server.address),
        Stranger(server.address) as first,
        Stranger(server.address) as second,
    ):
        for stranger in (first, second):
            stranger.send(get("/"))
            stranger.answer()
        until(lambda: [one.stage for one in server.connections].count(Stage.IDLE) == 2, "both are idle")
        with Stranger(server.address) as more:
            more.send(get("/"))

            assert 200 == more.answer().status
            assert first.is_hung_up()
            second.send(get("/"))
            assert 200 == second.answer().status


def test_a_closed_connection_makes_room_for_the_next() -> None:
    with serving(Echo(), COUNTED) as server, Stranger(server.address):
        with Stranger(server.address) as second:
            second.send(get("/"))
            second.answer()
        until(lambda: len(server.connections) == 1, "the second one is gone")

        assert 200 == ask(server.address, get("/")).status


def test_a_crowd_is_told_once_until_it_is_gone() -> None:
    """A flood of connections is not a flood of lines."""
    with told() as facts, serving(Echo(), COUNTED) as server:
        for _ in range(2):
            with Stranger(server.address), Stranger(server.address):
                for _ in range(3):
                    with Stranger(server.address) as more:
                        assert 429 == more.answer().status
            until(lambda: not server.connections, "all are gone")

    assert [("connections.limited", "127.0.0.1")] * 2 == [(fact, fields["address"]) for fact, fields in facts]


def test_this_machine_and_the_proxies_are_not_counted() -> None:
    """Behind a proxy everybody has its address."""
    with (
        serving(Echo(), Limits(connections_per_ip=1)) as server,
        Stranger(server.address) as one,
        Stranger(server.address) as two,
    ):
        for stranger in (one, two):
            stranger.send(get("/"))
            assert 200 == stranger.answer().status


@pytest.mark.parametrize(
    "most, address, who",
    [
        (1, ("203.0.113.7", 4000), "203.0.113.7"),
        (1, ("::ffff:203.0.113.7", 4000, 0, 0), "203.0.113.7"),
        (1, ("2001:db8:1:2:3:4:5:6", 4000, 0, 0), "2001:db8:1:2::/64"),
        (1, ("fe80::1%eth0", 4000, 0, 2), "fe80::/64"),
        (1, ("127.9.9.9", 4000), ""),
        (1, ("::1", 4000, 0, 0), ""),
        (1, "", ""),
        (0, ("203.0.113.7", 4000), ""),
    ],
)
def test_who_is_counted_as_whom(most: int, address: object, who: str) -> None:
    """An IPv6 customer has 2⁶⁴ addresses; a Unix socket has none."""
    assert who == ConnectionQuota(most, LOOPBACK).who(address)


# memory for bodies

ROOM = Limits(bodies=1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """The clock by which bodies are slow."""
    clock = FrozenClock()
    monkeypatch.setattr(body_budget, "_CLOCK", clock)
    return clock


def half_of(server: Server, path: str, size: int) -> Stranger:
    """Somebody who has announced *size* bytes and sent one."""
    stranger, used = Stranger(server.address), server.bodies.used
    stranger.send(post(path, b"x", {"Content-Length": str(size)}))
    until(lambda: server.bodies.used == used + size, "its room is set aside")
    return stranger


def test_a_body_without_room_is_refused_unread_and_smaller_ones_are_not(clock: FrozenClock) -> None:
    """503 with Retry-After; who was first is not disturbed; when it is done there is room again."""
    large = post("/", b"x" * 800)
    with serving(Echo(), ROOM) as server, half_of(server, "/first", 800) as first:
        clock.advance(0.5)  # nobody is slow yet
        refused = ask(server.address, post("/", b"", {"Content-Length": "800"}))

        assert (503, "bodies_full") == (refused.status, refused.json["code"])
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert 200 == ask(server.address, post("/", b"x" * 100)).status

        first.send(b"x" * 799)
        assert "/first" == first.answer().json["path"]
        assert 200 == ask(server.address, large).status
        assert 0 == server.bodies.used


def test_who_announces_much_and_sends_little_makes_room(clock: FrozenClock) -> None:
    """Only when memory is short: the slow one gets 503, the new one its answer."""
    with serving(Echo(), ROOM) as server, half_of(server, "/slow", 800) as slow:
        clock.advance(2.0)

        assert 200 == ask(server.address, post("/", b"x" * 900)).status
        answer = slow.answer()
        assert (503, "bodies_full") == (answer.status, answer.json["code"])
        assert "retry-after" in answer.headers
        until(lambda: server.bodies.used == 0, "everything is given back")


SHARED = Limits(bodies=1000, bodies_per_ip=500, uncounted=())


def test_one_address_does_not_take_all_the_room(clock: FrozenClock) -> None:
    """However fast it sends: a further body of it is refused, those of others are taken."""
    with serving(Echo(), SHARED) as server, half_of(server, "/", 400):
        refused = ask(server.address, post("/", b"", {"Content-Length": "200"}))
        with Stranger(server.address, source="127.0.0.2") as other:
            other.send(post("/", b"x" * 500))

            assert 200 == other.answer().status

    assert (503, "bodies_full") == (refused.status, refused.json["code"])
    assert "this address" in refused.json["detail"]
    assert 0 == server.bodies.used


def test_an_address_at_its_share_gives_up_its_own_slow_bodies_only(clock: FrozenClock) -> None:
    with (
        serving(Echo(), SHARED) as server,
        half_of(server, "/", 400) as slow,
        Stranger(server.address, source="127.0.0.2") as other,
    ):
        other.send(post("/", b"x", {"Content-Length": "400"}))
        until(lambda: server.bodies.used == 800, "its room is set aside")
        clock.advance(2.0)

        assert 200 == ask(server.address, post("/", b"x" * 200)).status
        assert "bodies_full" == slow.answer().json["code"]
        other.send(b"x" * 399)
        assert 200 == other.answer().status


def test_this_machine_and_the_proxies_share_nothing_with_themselves(clock: FrozenClock) -> None:
    """Everybody's bodies come from there."""
    with serving(Echo(), Limits(bodies=1000, bodies_per_ip=500)) as server, half_of(server, "/", 400):
        assert 200 == ask(server.address, post("/", b"x" * 500)).status


def test_large_bodies_leave_the_last_of_the_room_to_small_ones() -> None:
    """Fast enough to keep their places, they would shut out deliveries of a few hundred bytes otherwise."""
    most, wire = 800_000, DeadlineReader(None)
    room = BodyBudget(most, 100_000)
    for _ in range(7):
        room.share(wire).take(100_000)

    with pytest.raises(Refused, match="no memory is free"):
        room.share(wire).take(65_537)
    room.share(wire).take(65_536)
    room.share(wire).take(34_464)
    with pytest.raises(Refused, match="no memory is free"):
        room.share(wire).take(1)


def test_a_room_for_one_body_holds_the_largest() -> None:
    """max_body_memory may be as small as max_body."""
    limits = Limits.of(Http(max_body=1_000_000, max_body_memory=1_000_000))

    BodyBudget(limits.bodies, limits.bodies_per_ip).share(DeadlineReader(None)).take(1_000_000)


def test_a_body_is_slow_by_what_has_arrived_of_it(clock: FrozenClock) -> None:
    """Not by what has been handed on: that comes in pieces of 64 KiB, of which a slow line takes a while."""
    with serving(take([]), Limits(bodies=100_000)) as server, Stranger(server.address) as steady:
        steady.send(post("/", b"x" * 60_000, {"Content-Length": "60001"}))
        until(lambda: any(one.reader.received > 60_000 for one in server.connections), "most of it is there")
        clock.advance(1.5)

        assert 503 == ask(server.address, post("/", b"", {"Content-Length": "60000"})).status
        steady.send(b"x")
        assert 200 == steady.answer().status


def test_without_need_nobody_is_hurried(clock: FrozenClock) -> None:
    with serving(Echo(), ROOM) as server, half_of(server, "/slow", 400) as slow:
        clock.advance(20.0)
        assert 200 == ask(server.address, post("/", b"x" * 400)).status

        slow.send(b"x" * 399)

        assert 200 == slow.answer().status


def test_chunks_take_their_room_as_they_come(clock: FrozenClock) -> None:
    with serving(Echo(), Limits(bodies=1500)) as server, half_of(server, "/first", 800) as first:
        assert 503 == ask(server.address, chunked("/", b"x" * 900, b"x" * 90)).status

        first.send(b"x" * 799)
        first.answer()
        assert 200 == ask(server.address, chunked("/", b"x" * 900, b"x" * 90)).status
        assert 0 == server.bodies.used


LARGE = 64 * 1024


def take(order: list[str]) -> WsgiApp:
    """An application that takes large bodies and notes the *order* in which it had them."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        data = read_body(environ, LARGE)
        order.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"%d" % len(data)]

    return app


def in_chunks(path: str, size: int, total: int = LARGE) -> bytes:
    return chunked(path, *[b"x" * size] * (total // size))


def test_a_body_in_tiny_chunks_is_refused_before_it_costs_much() -> None:
    """One byte a chunk is six on the wire and a hundred times the work; senders make them of hundreds."""
    with serving(take([])) as server:
        refused = ask(server.address, in_chunks("/", 1))
        taken = ask(server.address, in_chunks("/", 16))

    assert (400, "bad_body") == (refused.status, refused.json["code"])
    assert "16 bytes" in refused.json["detail"]
    assert 200 == taken.status


def test_who_leaves_in_the_middle_of_a_body_gives_its_room_back() -> None:
    with serving(Echo(), ROOM) as server:
        with half_of(server, "/", 800):
            pass

        until(lambda: server.bodies.used == 0, "its room is free")


def test_the_worst_case_is_a_number() -> None:
    """What `monqbus check` prints: all bodies twice, and the headers of all connections."""
    limits = Limits(connections=10, header_bytes=1000, bodies=5000)

    assert 10_000 + 10 * (1000 + 64 * 1024) == limits.most_bytes


def test_check_prints_the_worst_case(alone: Command) -> None:
    assert "memory   at most about 192 MiB for requests on their way in\n" in alone("check").out


# deliveries that wait for the store


class Office:
    """Stores nothing before `gate` opens."""

    def __init__(self) -> None:
        self.gate = Signal()
        self.waiting = 0
        self.is_full = False

    def publish(self, event: Event) -> Receipt:
        self.waiting += 1
        self.gate.wait(PATIENCE)
        return Receipt([], event.id)


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def server(office: Office) -> Iterator[Server]:
    app = public_urls(
        hooks=lambda: {"open": Hook(name="open", verify="none")},
        publish=office.publish,
        ready=lambda: None,
        clock=FrozenClock(),
        max_body=1000,
        admission=Admission(2, lambda: office.is_full),
    )
    with serving(app) as server:
        yield server


def deliver(server: Server) -> Answer:
    return ask(server.address, post("/hooks/open", b"{}"))


def test_a_delivery_too_many_is_turned_away_at_once(server: Server, office: Office) -> None:
    """503 with Retry-After while two wait; those two are stored, and then the next."""
    waiting = [gevent.spawn(deliver, server) for _ in range(2)]
    until(lambda: office.waiting == 2, "two wait for the store")

    answer = deliver(server)

    assert (503, "too_many_waiting", "3") == (
        answer.status,
        answer.json["code"],
        answer.headers["retry-after"],
    )
    assert 200 == ask(server.address, get("/healthz")).status
    office.gate.set()
    assert [202, 202] == [one.get(timeout=PATIENCE).status for one in waiting]
    assert 202 == deliver(server).status
    assert 3 == office.waiting


def test_who_came_in_while_there_was_room_may_still_be_turned_away(server: Server, office: Office) -> None:
    """Its body took longer than the others' to arrive: it is looked again before the store is asked."""
    with Stranger(server.address) as slow:
        slow.send(post("/hooks/open", b"{", {"Content-Length": "2"}))
        until(lambda: server.bodies.used == 2, "its body is being read")
        waiting = [gevent.spawn(deliver, server) for _ in range(2)]
        until(lambda: office.waiting == 2, "two wait for the store")

        slow.send(b"}")

        assert "too_many_waiting" == slow.answer().json["code"]
        office.gate.set()
        gevent.joinall(waiting, timeout=PATIENCE)


def test_who_is_turned_away_need_not_send_its_body(server: Server, office: Office) -> None:
    """Turning away costs a header: the answer comes before the body does."""
    office.is_full = True

    answer = ask(server.address, post("/hooks/open", b"", {"Content-Length": "900"}))

    assert (503, "queue_full") == (answer.status, answer.json["code"])
    assert answer.is_last


def test_a_full_queue_takes_no_delivery_and_then_does_again(server: Server, office: Office) -> None:
    office.gate.set()
    office.is_full = True

    with told() as facts:
        answer = deliver(server)

    assert (503, "queue_full", "3") == (answer.status, answer.json["code"], answer.headers["retry-after"])
    assert [("event.refused", "open", "queue_full")] == [
        (fact, fields["hook"], fields["code"]) for fact, fields in facts
    ]
    office.is_full = False
    assert 202 == deliver(server).status
