"""Scenarios of schedules: each moment has one tick, whoever is killed between two steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise

from bus.schedules import KIND, waiting
from tests import mongod

from . import servers, stores
from .arena import CONFIG, Arena
from .ledger import Delivery, Try
from .scenario import Control, scenario

NAMES = ("one", "two", "three")
QUEUE = "turns"
AHEAD = timedelta(seconds=8)
SECTION = """\
[schedule:{name}]
every = 1s
start = {start}
task = tickapp.{task}
args = ["{name}"]
missed = all
overlap = {overlap}
"""


def config(start: datetime | None) -> str:
    """That of a daemon with schedules from *start* on, without any for None."""
    text = CONFIG.replace("apps = chaosapp", "apps = tickapp")
    if start is None:
        return text
    moment = start.isoformat()
    for name in NAMES:
        text += SECTION.format(name=name, start=moment, task="tick", overlap="allow")
    return text + SECTION.format(name=QUEUE, start=moment, task="turn", overlap="queue")


@scenario(
    "three daemons racing on schedules",
    store="mongodb",
    controls=[
        Control("a tick's key", shows="misrecorded", weakness="schedules.ticks_without_a_key"),
    ],
    in_short=False,
)
def three_daemons_racing_on_schedules(arena: Arena) -> None:
    """All have the same schedules of each second; one after the other is killed and comes back.

    The account is a plain table: each second from the start to the moment up to which the records say that
    everything is decided is one tick, run once, and those of the queue run in their turn.
    """
    servers.on(arena, mongod.replica_set(members=1))
    start = datetime.now(timezone.utc).replace(microsecond=0) + AHEAD
    victims = [servers.daemon(arena, name, text=config(start)).start() for name in NAMES]
    arena.pause(max(0.0, (start - datetime.now(timezone.utc)).total_seconds()))
    for round_ in range(arena.pick(short=4, long=12)):
        victim = victims[round_ % len(victims)]
        arena.pause(0.4 + 0.35 * (round_ % 3))  # at any part of the second
        arena.kill(victim)
        arena.pause(0.3)
        victim.start()
    arena.pause(2.0)
    for victim in victims:
        victim.stop()
    promise(arena, start)
    last = servers.daemon(arena, "last", text=config(None)).start()
    servers.finish(arena, last)
    in_turn(arena)


def promise(arena: Arena, start: datetime) -> None:
    """Write each moment that the records say is decided into the ledger, but those that wait."""
    at = time.monotonic()
    answered = Try(at, at, "acked", 202)
    with stores.opened(arena.address, arena.data) as store:
        records = store.records(KIND)
    arena.expect({*NAMES, QUEUE} == {record.name for record in records}, "a record of each schedule")
    arena.ledger.add(
        Delivery(f"{record.name}@{moment:%Y-%m-%dT%H:%M:%SZ}", "tick", [answered])
        for record in records
        for moment in moments(start, record.fields["seen"])
        if moment not in waiting.waiting_of(record.fields)
    )


def moments(start: datetime, until: datetime) -> Iterator[datetime]:
    """Each second of the time: what a plain table would have."""
    while start <= until:
        yield start
        start += timedelta(seconds=1)


def in_turn(arena: Arena) -> None:
    """The runs of the queue: none before the one before it was over, and none before its turn."""
    killed = {fault.pid: fault.at for fault in arena.faults if fault.is_kill}
    runs = sorted(
        (run for run in arena.evidence().runs if run.delivery.startswith(QUEUE)), key=lambda run: run.started
    )
    arena.expect(len(runs) > 1, "runs in turn")
    for earlier, later in pairwise(runs):
        over = earlier.ended if earlier.ended is not None else killed.get(earlier.daemon, later.started + 1)
        arena.expect(over <= later.started, f"{later.delivery} after the end of {earlier.delivery}")
        arena.expect(earlier.delivery <= later.delivery, f"{earlier.delivery} before {later.delivery}")
