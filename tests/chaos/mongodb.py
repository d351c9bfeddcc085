"""Scenarios on MongoDB: servers that die, freeze and change roles, daemons that share what is left.

Every scenario also sees to it that no daemon ends by itself and that whoever waits for an answer
has one within ANSWER_SECONDS, whatever the servers do.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from tests import mongod
from tests.mongod import Deployment, Mongod

from . import stores
from .arena import Arena
from .network import Network
from .scenario import Control, scenario
from .sender import Pace
from .victim import Victim

ANSWER_SECONDS = 6.5  # six, and what a machine that is busy with killing servers adds
DATABASE = "chaos"
FEED = "monq_task.feed"
SERVER_SECONDS = 30.0
POLL_SECONDS = 5.0
LEASE_SECONDS = 10
# more than the slots can run, so that acknowledged work waits in the store when the fault comes
CROWDED = Pace(per_second=100, kinds={"quick": 8, "slow": 2, "guarded": 1}, resend=True)
FEW_GREENLETS = 4
STEADY = Pace(per_second=60, resend=True)
UNSTORED = Control("acknowledged though not stored", shows="lost", weakness="intake.ack_what_was_not_stored")
IN_DOUBT = Control(
    "patience, and doubt is acknowledged", shows="lost", weakness="intake.ack_what_was_not_stored"
)
HASTY = "retryWrites=false&timeoutMS=500"
LONG = Pace(per_second=12, kinds={"slow": 2, "guarded": 2, "long": 3}, patience=3.0, resend=True)


class Broken(Exception):
    """A promise that no figure tells of: a daemon has ended by itself, or an answer came late."""


# one server


@scenario(
    "server killed",
    store="mongodb",
    controls=[Control("w=1, j=false", shows="lost")],
    aims={"ready_again_max_seconds": 2.0},
)
def server_killed(arena: Arena) -> None:
    """SIGKILL of a mongod under load, again and again; it comes back a second later."""
    deployment = _on(arena, mongod.standalone(), "w=1&journal=false" if arena.is_weak else "")
    (server,) = deployment.members
    victim = arena.daemon(greenlets=FEW_GREENLETS).start()
    with arena.load(CROWDED):
        # a server writes what it may keep back within some 50 ms: one kill alone may find nothing to lose
        for _ in range(6 if arena.control else arena.pick(short=2, long=5)):
            arena.pause(1.5)
            with _outage(arena, deployment, "server killed"):
                server.kill()
                arena.pause(0.7)
                server.start()
        arena.pause(1.0)
    _finish(arena, victim)


@scenario(
    "server away",
    store="mongodb",
    controls=[UNSTORED],
    aims={"ready_again_max_seconds": 2.0},
    in_short=False,
)
def server_away(arena: Arena) -> None:
    """Dead for longer than any call waits: 503 with Retry-After in time, and then work again."""
    deployment = _on(arena, mongod.standalone())
    (server,) = deployment.members
    victim = arena.daemon().start()
    with arena.load(STEADY):
        arena.pause(1.0)
        with _outage(arena, deployment, "server away"):
            server.kill()
            _refused_in_time(arena, victim)
            arena.pause(8.0)
            _refused_in_time(arena, victim)
            server.start()
        arena.pause(1.0)
    _finish(arena, victim)


@scenario(
    "server slow",
    store="mongodb",
    controls=[UNSTORED],
    aims={"ready_again_max_seconds": 2.0},
    in_short=False,
)
def server_slow(arena: Arena) -> None:
    """Each answer is late by a third of a second, then by more than any call waits: 503 in time."""
    victim, network = _behind_a_network(arena)
    with arena.load(STEADY):
        arena.pause(1.0)
        network.delay = 0.15
        arena.pause(4.0)
        arena.expect(not arena.ledger.of("refused") or arena.is_weak, "slow is not refused")
        with arena.trouble("server too slow", in_flight=_busy(arena)):
            network.delay = 4.0
            arena.pause(1.0)
            _refused_in_time(arena, victim)
            network.delay = 0.0
        arena.pause(4.0)  # until the last late answer is there
    _finish(arena, victim)


@scenario(
    "network black hole",
    store="mongodb",
    controls=[UNSTORED],
    aims={"ready_again_max_seconds": 2.0},
    in_short=False,
)
def network_black_hole(arena: Arena) -> None:
    """Connections stay open and nothing comes through, new ones either: 503 in time, and then work again.

    What was sent into the hole arrives late: writes that were given up long ago happen after all.
    """
    victim, network = _behind_a_network(arena)
    with arena.load(STEADY):
        arena.pause(1.0)
        with arena.trouble("network black hole", in_flight=_busy(arena)):
            network.block()
            _refused_in_time(arena, victim)
            arena.pause(6.0)
            _refused_in_time(arena, victim)
            network.free()
        arena.pause(1.0)
    _finish(arena, victim)


# three servers


@scenario(
    "stepdown",
    store="mongodb",
    controls=[IN_DOUBT],
    aims={"longest_without_2xx_seconds": 6.0, "ready_again_max_seconds": 3.0},
    in_short=False,
)
def stepdown(arena: Arena) -> None:
    """Another member becomes primary while two daemons work."""
    deployment = _on(arena, mongod.replica_set(), HASTY if arena.is_weak else "")
    one, other = (_daemon(arena, name).start() for name in ("one", "other"))
    with arena.load(STEADY):
        for _ in range(arena.pick(short=2, long=3)):
            arena.pause(2.0)
            with _outage(arena, deployment, "stepdown"):
                deployment.step_down()
        arena.pause(3.0)
    _finish(arena, one, other)


@scenario(
    "primary killed",
    store="mongodb",
    controls=[IN_DOUBT],
    aims={"longest_without_2xx_seconds": 6.0, "ready_again_max_seconds": 3.0},
    in_short=False,
)
def primary_killed(arena: Arena) -> None:
    """The others elect a new one; the dead one comes back as a secondary."""
    deployment = _on(arena, mongod.replica_set(), HASTY if arena.is_weak else "")
    one, other = (_daemon(arena, name).start() for name in ("one", "other"))
    with arena.load(STEADY):
        for _ in range(arena.pick(short=1, long=2)):
            arena.pause(2.0)
            primary = _primary(deployment)
            with _outage(arena, deployment, "primary killed"):
                primary.kill()
            arena.pause(2.0)
            primary.start()
            _until(lambda: _secondaries(deployment) == 2)
    _finish(arena, one, other)


@scenario(
    "majority lost",
    store="mongodb",
    controls=[Control("w=1", shows="lost")],
    aims={"ready_again_max_seconds": 2.0},
    in_short=False,
)
def majority_lost(arena: Arena) -> None:
    """Both secondaries die, then the primary; they come back first and elect one without its last writes."""
    deployment = _on(arena, mongod.replica_set(), "w=1" if arena.is_weak else "")
    victim = arena.daemon(greenlets=FEW_GREENLETS).start()
    primary = _primary(deployment)
    others = [member for member in deployment.members if member is not primary]
    with arena.load(CROWDED):
        arena.pause(2.0)
        with _outage(arena, deployment, "majority lost"):
            for member in others:
                member.kill()
            arena.pause(1.5)  # less than the primary needs to notice and to step down
            primary.kill()
            _refused_in_time(arena, victim)
            for member in others:
                member.start()
        primary.start()
        arena.pause(2.0)
    _finish(arena, victim, seconds=60)


@scenario(
    "primary frozen",
    store="mongodb",
    controls=[UNSTORED],
    aims={"longest_without_2xx_seconds": 20.0},
    in_short=False,
)
def primary_frozen(arena: Arena) -> None:
    """SIGSTOP of the primary for longer than the lease: it holds its connections and answers nothing.

    The others elect at once, but the one that is left to make a majority reads from the frozen one until
    its own deadlines (measured: 14 s with MongoDB 6.0); 503 in time is the right answer until then.
    """
    deployment = _on(arena, mongod.replica_set())
    one, other = (_daemon(arena, name).start() for name in ("one", "other"))
    with arena.load(Pace(per_second=60, kinds={"quick": 4, "slow": 2, "long": 1}, resend=True)):
        arena.pause(2.0)
        primary = _primary(deployment)
        with arena.trouble("primary frozen", _busy(arena), may_repeat=True):
            primary.freeze()
            arena.pause(LEASE_SECONDS + 10.0)
            primary.thaw()
        arena.pause(2.0)
    _finish(arena, one, other)


# daemons


@scenario(
    "daemon killed",
    store="mongodb",
    controls=[Control("acknowledged before stored", shows="lost", weakness="intake.ack_before_store")],
    aims={"ready_again_max_seconds": 3.0},
)
def daemon_killed(arena: Arena) -> None:
    """SIGKILL under load; started again it takes its own tasks back at once, not after the lease of 60 s."""
    _on(arena, mongod.standalone())
    victim = arena.daemon(lease="60s").start()
    with arena.load(STEADY):
        for _ in range(arena.pick(short=2, long=6)):
            arena.pause(1.5)
            arena.kill(victim)
            victim.start()
        arena.pause(1.0)
    _finish(arena, victim, seconds=20)


@scenario(
    "daemon frozen",
    store="mongodb",
    controls=[
        Control("fences", shows="stale_accepted", weakness="mongodb.short_leases_without_fence"),
        Control("renewals", shows="overlaps", weakness="leases.short_and_never_renewed"),
    ],
)
def daemon_frozen(arena: Arena) -> None:
    """SIGSTOP beyond the lease: another one takes over; what the first one says later counts for nothing."""
    _on(arena, mongod.standalone())
    frozen, other = (_daemon(arena, name) for name in ("frozen", "other"))
    for victim in (frozen, other):
        victim.weakness = victim.weakness or arena.pick(short="leases.short", long="")
        victim.start()
    with arena.load(LONG):
        arena.pause(2.0)
        with arena.freezing(frozen):
            arena.pause(arena.pick(short=8.0, long=LEASE_SECONDS + 10.0))
        arena.pause(1.0)
    _finish(arena, frozen, other, are_prompt=False)


@scenario(
    "three daemons racing",
    store="mongodb",
    controls=[Control("guarded claims", shows="overlaps", weakness="mongodb.claim_what_is_claimed")],
    in_short=False,
)
def three_daemons_racing(arena: Arena) -> None:
    """All claim from one queue, which one of them fills faster than it can empty it."""
    _on(arena, mongod.replica_set(members=1))
    victims = [_daemon(arena, name, greenlets=8).start() for name in ("one", "two", "three")]
    with arena.load(Pace(per_second=120, kinds={"quick": 2, "slow": 2}, resend=True), to=victims[:1]):
        arena.pause(arena.pick(short=5.0, long=15.0))
    _finish(arena, *victims)


def dropped(feed: Collection[Any]) -> None:
    """It is gone."""
    feed.drop()


def replaced(feed: Collection[Any]) -> None:
    """A plain collection stands in its place."""
    feed.drop()
    feed.insert_one({})


def emptied(feed: Collection[Any]) -> None:
    """It holds not one hint."""
    feed.delete_many({})


def overrun(feed: Collection[Any]) -> None:
    """More hints than it holds come at once."""
    feed.insert_many([{"n": n, "x": "x" * 900} for n in range(200)])


HARMS = (dropped, replaced, emptied, overrun)


@scenario(
    "feed harmed", store="mongodb", controls=[Control("the poll", shows="stuck", weakness="mongodb.no_poll")]
)
def feed_harmed(arena: Arena) -> None:
    """One daemon only takes in, the other only runs: the feed between them is harmed in every way."""
    deployment = _on(arena, mongod.standalone())
    taking, running = (_daemon(arena, name) for name in ("taking", "running"))
    taking.words = ("--except", "*")
    for victim in (taking, running):
        victim.start()
    feed = deployment.client[DATABASE][FEED]
    with arena.load(STEADY, to=[taking]):
        for harm in HARMS * arena.pick(short=1, long=3):
            arena.pause(0.7)
            with arena.trouble(f"feed {harm.__name__}"):
                harm(feed)
        arena.pause(3.0)  # until the tail is whole again: one that is lost makes full passes by itself
        # last, because one hint that gets through makes up for all that did not
        arena.enter(deployment.failing("insert", times=1_000_000, errorCode=1, namespace=feed.full_name))
        arena.pause(1.0)
    if arena.control:
        arena.pause(POLL_SECONDS + 1.0)  # nobody shall say that it was not given the time
    _finish(arena, taking, running)


# hands


def _on(arena: Arena, deployment: Deployment, options: str = "") -> Deployment:
    """Let *arena* use a database of *deployment*, with *options* in its URI, and remove it afterwards."""
    arena.enter(_removed(deployment))
    address = deployment.address(DATABASE)
    arena.address = f"{address}{'&' if '?' in address else '?'}{options}" if options else address
    return deployment


def _behind_a_network(arena: Arena) -> tuple[Victim, Network]:
    """A daemon that reaches its server over a network which can be harmed; the arena looks past it."""
    deployment = _on(arena, mongod.standalone())
    (server,) = deployment.members
    network = arena.enter(Network(server.port))
    direct = arena.address
    arena.address = direct.replace(server.host, network.host)
    victim = arena.daemon().start()
    arena.address = direct
    return victim, network


@contextmanager
def _removed(deployment: Deployment) -> Iterator[None]:
    try:
        yield
    finally:
        deployment.remove()


def _daemon(arena: Arena, name: str, greenlets: int = 100) -> Victim:
    """One of several daemons, with a folder of its own."""
    return arena.daemon(name, greenlets=greenlets, lease=f"{LEASE_SECONDS}s", data=arena.place / name)


@contextmanager
def _outage(arena: Arena, deployment: Deployment, what: str) -> Iterator[None]:
    """A fault of the servers, which is over when there is a primary again."""
    with arena.trouble(what, in_flight=_busy(arena)):
        yield
        _until(lambda: deployment.client.admin.command("hello")["isWritablePrimary"])


def _busy(arena: Arena) -> int:
    return len(stores.tasks(arena.address, arena.data, "busy"))


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except PyMongoError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"mongod: not as expected within {SERVER_SECONDS:g} s")


def _primary(deployment: Deployment) -> Mongod:
    port = (deployment.client.address or ("", 0))[1]
    return next(member for member in deployment.members if member.port == port)


def _secondaries(deployment: Deployment) -> int:
    members = deployment.client.admin.command("replSetGetStatus")["members"]
    return sum(member["stateStr"] == "SECONDARY" for member in members)


def _refused_in_time(arena: Arena, victim: Victim) -> None:
    """One delivery while the store is away gets 503 and Retry-After in time, and /readyz says no.

    Under a control that promises something all the same, the time is given and nothing is asked.
    """
    if arena.control is not None:
        arena.pause(1.0)
        return
    delivery = arena.ledger.new("quick")
    sent = time.monotonic()
    connection = http.client.HTTPConnection(*victim.address, timeout=30)
    headers = {"Idempotency-Key": delivery.id, "X-Kind": delivery.kind}
    connection.request("POST", "/hooks/chaos", b"{}", headers)
    answer = connection.getresponse()
    seconds = time.monotonic() - sent
    arena.ledger.note(delivery, sent, "refused", answer.status)
    found = (answer.status, answer.getheader("Retry-After") is not None, victim.readyz(ANSWER_SECONDS))
    connection.close()
    if found != (503, True, 503) or seconds > ANSWER_SECONDS:
        raise Broken(
            f"store away: expected 503, Retry-After and 503 of /readyz, got {found} in {seconds:.1f} s"
        )


def _finish(arena: Arena, *victims: Victim, seconds: float = 30.0, are_prompt: bool = True) -> None:
    """Settle; raise Broken when one of *victims* has ended, or was slow to answer unless it may be."""
    ended = [victim.config.stem for victim in victims if not victim.is_alive]
    arena.settle(seconds)
    if ended:
        raise Broken(f"ended by itself: {', '.join(ended)}")
    tries = [one for delivery in arena.ledger.deliveries() for one in delivery.tries]
    slowest = max(one.answered - one.sent for one in tries)
    if are_prompt and slowest > ANSWER_SECONDS:
        raise Broken(f"slowest answer: expected within {ANSWER_SECONDS} s, got {slowest:.1f} s")
