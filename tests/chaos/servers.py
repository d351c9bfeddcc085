"""What scenarios on MongoDB have in common: a deployment of their own, daemons on it, outages, an end.

Every such scenario also sees to it that no daemon ends by itself and that whoever waits for an answer
has one within ANSWER_SECONDS, whatever the servers do.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pymongo.errors import PyMongoError

from tests import mongod
from tests.mongod import Deployment, Mongod

from . import stores
from .arena import CONFIG, Arena
from .network import Network
from .scenario import Control
from .sender import Pace
from .victim import Victim

ANSWER_SECONDS = 6.5  # six, and what a machine that is busy with killing servers adds
DATABASE = "chaos"
SERVER_SECONDS = 30.0
LEASE_SECONDS = 10
RETURN = {"ready_again_max_seconds": 2.0, "works_again_max_seconds": 2.0}
STEADY = Pace(per_second=60, resend=True)
UNSTORED = Control("acknowledged though not stored", shows="lost", weakness="intake.ack_what_was_not_stored")


class Broken(Exception):
    """A promise that no figure tells of: a daemon has ended by itself, or an answer came late."""


def on(arena: Arena, deployment: Deployment, options: str = "") -> Deployment:
    """Let *arena* use a database of *deployment*, with *options* in its URI, and remove it afterwards."""
    arena.enter(_removed(deployment))
    address = deployment.address(DATABASE)
    arena.address = f"{address}{'&' if '?' in address else '?'}{options}" if options else address
    return deployment


def behind_a_network(arena: Arena) -> tuple[Victim, Network]:
    """A daemon that reaches its server over a network which can be harmed; the arena looks past it."""
    deployment = on(arena, mongod.standalone())
    victim, network = beyond(arena, deployment, arena.daemon)
    return victim.start(), network


def beyond(arena: Arena, deployment: Deployment, new: Callable[[], Victim]) -> tuple[Victim, Network]:
    """The daemon that *new* makes, with a network between it and the one server of *deployment*."""
    (server,) = deployment.members
    network = arena.enter(Network(server.port))
    direct = arena.address
    arena.address = direct.replace(server.host, network.host)
    victim = new()
    arena.address = direct
    return victim, network


@contextmanager
def _removed(deployment: Deployment) -> Iterator[None]:
    try:
        yield
    finally:
        deployment.remove()


def daemon(arena: Arena, name: str, greenlets: int = 100, text: str = CONFIG) -> Victim:
    """One of several daemons, with a folder of its own."""
    data, lease = arena.place / name, f"{LEASE_SECONDS}s"
    return arena.daemon(name, greenlets=greenlets, lease=lease, data=data, text=text)


@contextmanager
def outage(arena: Arena, deployment: Deployment, what: str, *, may_repeat: bool = False) -> Iterator[None]:
    """A fault of the servers, which is over when there is a primary again."""
    with arena.trouble(what, busy(arena), may_repeat=may_repeat):
        yield
        until(lambda: deployment.client.admin.command("hello")["isWritablePrimary"])


def busy(arena: Arena) -> int:
    return len(stores.tasks(arena.address, arena.data, "busy"))


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except PyMongoError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"mongod: not as expected within {SERVER_SECONDS:g} s")


def primary(deployment: Deployment) -> Mongod:
    port = (deployment.client.address or ("", 0))[1]
    return next(member for member in deployment.members if member.port == port)


def secondaries(deployment: Deployment) -> int:
    members = deployment.client.admin.command("replSetGetStatus")["members"]
    return sum(member["stateStr"] == "SECONDARY" for member in members)


def refused_in_time(arena: Arena, victim: Victim) -> None:
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


def finish(arena: Arena, *victims: Victim, seconds: float = 30.0, are_prompt: bool = True) -> None:
    """Settle; raise Broken when one of *victims* has ended, or was slow to answer unless it may be."""
    ended = [victim.config.stem for victim in victims if not victim.is_alive]
    arena.settle(seconds)
    if ended:
        raise Broken(f"ended by itself: {', '.join(ended)}")
    tries = [one for delivery in arena.ledger.deliveries() for one in delivery.tries]
    slowest = max(one.answered - one.sent for one in tries)
    if are_prompt and slowest > ANSWER_SECONDS:
        raise Broken(f"slowest answer: expected within {ANSWER_SECONDS} s, got {slowest:.1f} s")
