"""Scenarios on MongoDB: servers that die, freeze and change roles, daemons that share what is left."""

from __future__ import annotations

from typing import Any

from pymongo.collection import Collection

from tests import mongod

from . import servers
from .arena import Arena
from .scenario import Control, scenario
from .sender import Pace
from .servers import (
    DATABASE,
    LEASE_SECONDS,
    RETURN,
    STEADY,
    UNSTORED,
    finish,
    on,
    outage,
    refused_in_time,
)

FEED = "monq_task.feed"
POLL_SECONDS = 5.0
# more than the slots can run, so that acknowledged work waits in the store when the fault comes
CROWDED = Pace(per_second=75, kinds={"quick": 8, "slow": 2, "guarded": 1}, resend=True)
FEW_GREENLETS = 4
ELECTION = {"longest_without_2xx_seconds": 6.0, "ready_again_max_seconds": 3.0}
IN_DOUBT = Control(
    "patience, and doubt is acknowledged", shows="lost", weakness="intake.ack_what_was_not_stored"
)
HASTY = "retryWrites=false&timeoutMS=500"
LONG = Pace(per_second=12, kinds={"slow": 2, "guarded": 2, "long": 3}, patience=3.0, resend=True)


# one server


@scenario(
    "server killed",
    store="mongodb",
    controls=[Control("w=1, j=false", shows="lost")],
    aims=RETURN,
)
def server_killed(arena: Arena) -> None:
    """SIGKILL of a mongod under load, again and again; it comes back a second later."""
    deployment = on(arena, mongod.standalone(), "w=1&journal=false" if arena.is_weak else "")
    (server,) = deployment.members
    victim = arena.daemon(greenlets=FEW_GREENLETS).start()
    with arena.load(CROWDED):
        # a server writes what it may keep back within some 50 ms: one kill alone may find nothing to lose
        for _ in range(6 if arena.control else arena.pick(short=2, long=5)):
            arena.pause(1.5)
            with outage(arena, deployment, "server killed"):
                server.kill()
                arena.pause(0.7)
                server.start()
        arena.pause(1.0)
    finish(arena, victim)


@scenario(
    "server away",
    store="mongodb",
    controls=[UNSTORED],
    aims=RETURN,
    in_short=False,
)
def server_away(arena: Arena) -> None:
    """Dead for longer than any call waits: 503 with Retry-After in time, and then work again."""
    deployment = on(arena, mongod.standalone())
    (server,) = deployment.members
    victim = arena.daemon().start()
    with arena.load(STEADY):
        arena.pause(1.0)
        with outage(arena, deployment, "server away"):
            server.kill()
            refused_in_time(arena, victim)
            arena.pause(arena.pick(short=8.0, long=4.0))
            refused_in_time(arena, victim)
            server.start()
        arena.pause(1.0)
    finish(arena, victim)


@scenario(
    "server slow",
    store="mongodb",
    controls=[UNSTORED],
    aims=RETURN,
    in_short=False,
)
def server_slow(arena: Arena) -> None:
    """Each answer is late by a third of a second, then by more than any call waits: 503 in time."""
    victim, network = servers.behind_a_network(arena)
    with arena.load(STEADY):
        arena.pause(1.0)
        network.delay = 0.15
        arena.pause(4.0)
        arena.expect(not arena.ledger.of("refused") or arena.is_weak, "slow is not refused")
        with arena.trouble("server too slow", in_flight=servers.busy(arena)):
            network.delay = 4.0
            arena.pause(arena.pick(short=9.0, long=1.0))  # a control: until new connections fail as well
            refused_in_time(arena, victim)
            network.delay = 0.0
            servers.until(lambda: network.is_clear)  # the last late answer is there
        arena.pause(2.0)
    finish(arena, victim)


@scenario(
    "network black hole",
    store="mongodb",
    controls=[UNSTORED],
    aims=RETURN,
    in_short=False,
)
def network_black_hole(arena: Arena) -> None:
    """Connections stay open and nothing comes through, new ones either: 503 in time, and then work again.

    What was sent into the hole arrives late: writes that were given up long ago happen after all.
    """
    victim, network = servers.behind_a_network(arena)
    with arena.load(STEADY):
        arena.pause(1.0)
        with arena.trouble("network black hole", in_flight=servers.busy(arena)):
            network.block()
            refused_in_time(arena, victim)
            arena.pause(arena.pick(short=6.0, long=3.0))
            refused_in_time(arena, victim)
            network.free()
        arena.pause(1.0)
    finish(arena, victim)


# three servers


@scenario(
    "stepdown",
    store="mongodb",
    controls=[IN_DOUBT],
    aims=ELECTION,
    in_short=False,
)
def stepdown(arena: Arena) -> None:
    """Another member becomes primary while two daemons work."""
    deployment = on(arena, mongod.replica_set(), HASTY if arena.is_weak else "")
    one, other = (servers.daemon(arena, name).start() for name in ("one", "other"))
    with arena.load(STEADY):
        for _ in range(arena.pick(short=2, long=3)):
            arena.pause(2.0)
            with outage(arena, deployment, "stepdown"):
                deployment.step_down()
        arena.pause(3.0)
    finish(arena, one, other)


@scenario(
    "primary killed",
    store="mongodb",
    controls=[IN_DOUBT],
    aims=ELECTION,
    in_short=False,
)
def primary_killed(arena: Arena) -> None:
    """The others elect a new one; the dead one comes back as a secondary."""
    deployment = on(arena, mongod.replica_set(), HASTY if arena.is_weak else "")
    one, other = (servers.daemon(arena, name).start() for name in ("one", "other"))
    with arena.load(STEADY):
        for _ in range(arena.pick(short=1, long=2)):
            arena.pause(2.0)
            primary = servers.primary(deployment)
            with outage(arena, deployment, "primary killed"):
                primary.kill()
            arena.pause(2.0)
            primary.start()
            servers.until(lambda: servers.secondaries(deployment) == 2)
    finish(arena, one, other)


@scenario(
    "majority lost",
    store="mongodb",
    controls=[Control("w=1", shows="lost")],
    aims=RETURN,
    in_short=False,
)
def majority_lost(arena: Arena) -> None:
    """Both secondaries die, then the primary; they come back first and elect one without its last writes."""
    deployment = on(arena, mongod.replica_set(), "w=1" if arena.is_weak else "")
    victim = arena.daemon(greenlets=FEW_GREENLETS).start()
    primary = servers.primary(deployment)
    others = [member for member in deployment.members if member is not primary]
    with arena.load(CROWDED):
        arena.pause(2.0)
        with outage(arena, deployment, "majority lost"):
            for member in others:
                member.kill()
            arena.pause(1.5)  # less than the primary needs to notice and to step down
            primary.kill()
            refused_in_time(arena, victim)
            for member in others:
                member.start()
        primary.start()
        arena.pause(2.0)
    finish(arena, victim, seconds=60)


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
    deployment = on(arena, mongod.replica_set())
    one, other = (servers.daemon(arena, name).start() for name in ("one", "other"))
    with arena.load(Pace(per_second=60, kinds={"quick": 4, "slow": 2, "long": 1}, resend=True)):
        arena.pause(2.0)
        primary = servers.primary(deployment)
        with arena.trouble("primary frozen", servers.busy(arena), may_repeat=True):
            primary.freeze()
            arena.pause(arena.pick(short=10.0, long=LEASE_SECONDS + 10.0))
            primary.thaw()
        arena.pause(2.0)
    finish(arena, one, other)


# daemons


@scenario(
    "daemon killed",
    store="mongodb",
    controls=[
        Control("acknowledged before stored", shows="lost", weakness="intake.ack_before_store", in_short=True)
    ],
    aims={"ready_again_max_seconds": 3.0},
)
def daemon_killed(arena: Arena) -> None:
    """SIGKILL under load; started again it takes its own tasks back at once, not after the lease of 60 s."""
    on(arena, mongod.standalone())
    victim = arena.daemon(lease="60s").start()
    with arena.load(STEADY):
        for _ in range(arena.pick(short=2, long=6)):
            arena.pause(1.5)
            arena.kill(victim)
            victim.start()
        arena.pause(1.0)
    finish(arena, victim, seconds=20)


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
    on(arena, mongod.standalone())
    frozen, other = (servers.daemon(arena, name) for name in ("frozen", "other"))
    for victim in (frozen, other):
        victim.weakness = victim.weakness or arena.pick(short="leases.short", long="")
        victim.start()
    with arena.load(LONG):
        arena.pause(2.0)
        with arena.freezing(frozen):
            arena.pause(arena.pick(short=8.0, long=LEASE_SECONDS + 10.0))
        arena.pause(1.0)
    finish(arena, frozen, other, are_prompt=False)


@scenario(
    "three daemons racing",
    store="mongodb",
    controls=[Control("guarded claims", shows="overlaps", weakness="mongodb.claim_what_is_claimed")],
    in_short=False,
)
def three_daemons_racing(arena: Arena) -> None:
    """All claim from one queue, which one of them fills faster than it can empty it."""
    on(arena, mongod.replica_set(members=1))
    victims = [servers.daemon(arena, name, greenlets=8).start() for name in ("one", "two", "three")]
    with arena.load(Pace(per_second=120, kinds={"quick": 2, "slow": 2}, resend=True), to=victims[:1]):
        arena.pause(arena.pick(short=5.0, long=15.0))
    finish(arena, *victims)


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
    deployment = on(arena, mongod.standalone())
    taking, running = (servers.daemon(arena, name) for name in ("taking", "running"))
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
    finish(arena, taking, running)
