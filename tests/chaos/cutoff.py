"""Scenarios on the lease: a daemon that lives and works on, and cannot reach the store."""

from __future__ import annotations

import sys
from functools import partial

from tests import mongod

from . import servers
from .arena import APPS, CONFIG, Arena
from .scenario import Control, scenario
from .sender import Pace
from .servers import LEASE_SECONDS, RETURN, STEADY, UNSTORED, finish, on, outage

LASTING_CONFIG = (
    CONFIG.replace("apps = chaosapp", "apps = chaosapp, lastingapp").replace(
        "[http]", "cpu_workers = 8\n[http]"
    )
    + f"""\
[handler:lasting]
topic = chaos.command
command = {sys.executable} {APPS}/lastingcommand.py 12 15
environment = CHAOS_RECORDS
"""
)
LASTING = Pace(
    per_second=10,
    connections=4,
    kinds={"lasting": 3, "willing": 2, "stubborn": 3, "command": 3},
    resend=True,
)
LIGHT = Pace(per_second=20, connections=4, kinds={"quick": 1}, resend=True)
OUTAGES_SECONDS = (7.0, 9.0, 11.0)


@scenario(
    "daemon cut off",
    store="mongodb",
    controls=[Control("no fence of its own", shows="overlaps", weakness="leases.eager_without_own_fence")],
    aims=RETURN,
    in_short=False,
)
def daemon_cut_off(arena: Arena) -> None:
    """Beyond its lease one daemon does not reach the server, and its handlers last longer than that.

    The other one takes over, looking for orphans twice a second: nothing may run on by then.
    """
    deployment = on(arena, mongod.standalone())
    new = partial(servers.daemon, arena, text=LASTING_CONFIG)
    cut, network = servers.beyond(arena, deployment, lambda: new("cut"))
    other = new("other")
    for victim in (cut, other):
        victim.weakness = victim.weakness or "leases.eager"
        victim.start()
    with arena.load(LIGHT):
        with arena.load(LASTING):
            arena.pause(2.5)
        with arena.trouble("cut off", arena.busy(cut.pid), may_repeat=True):
            network.block()
            arena.pause(LEASE_SECONDS + 5.0)
            network.free()
        arena.pause(2.0)
    finish(arena, cut, other)


@scenario(
    "outage close to the lease",
    store="mongodb",
    controls=[UNSTORED],
    aims=RETURN,
    in_short=False,
)
def outage_close_to_the_lease(arena: Arena) -> None:
    """Longer than two thirds of it, after which nothing is begun: soon after its end handlers start again."""
    deployment = on(arena, mongod.standalone())
    (server,) = deployment.members
    victim = servers.daemon(arena, "monqbus").start()
    with arena.load(STEADY):
        for seconds in arena.pick(short=OUTAGES_SECONDS[1:2], long=OUTAGES_SECONDS):
            arena.pause(2.0)
            with outage(arena, deployment, "server away", may_repeat=True):
                server.kill()
                arena.pause(seconds)
                server.start()
        arena.pause(3.0)
    finish(arena, victim)
