"""The spool: deliveries that are acknowledged while MongoDB is away, in a daemon that dies meanwhile."""

from __future__ import annotations

import random
from collections.abc import Collection

from tests import mongod

from . import servers
from .arena import CONFIG, Arena
from .disk import Disk
from .ledger import ids
from .scenario import Control, scenario
from .sender import Pace
from .servers import on
from .victim import Victim

SPOOLING = CONFIG.replace("[http]\n", "[http]\nspool = 16MiB\n")
IN_TURN = Pace(per_second=60, connections=1, kinds={"quick": 1}, resend=True)
ENOUGH = 60


@scenario(
    "spool, daemon killed",
    store="mongodb",
    controls=[Control("synchronous=OFF", shows="lost", weakness="embedded.synchronous_off")],
    in_short=False,
)
def spool_killed(arena: Arena) -> None:
    """Mongod is away, deliveries go into the spool; then the power fails, or the daemon is killed."""
    deployment = on(arena, mongod.standalone())
    (server,) = deployment.members
    disk = Disk(arena.place, arena.data, "spool.sqlite")
    victim = arena.daemon(greenlets=1, environ=disk.environ, text=SPOOLING).start()
    spooled: set[str] = set()
    with arena.load(IN_TURN):
        for number in range(arena.pick(short=1, long=4)):
            arena.pause(1.0)
            in_flight = servers.busy(arena)
            server.kill()
            spooled |= _acked_from_now_on(arena)
            _end(arena, victim, disk, number, in_flight)
            server.start()
            victim.start()
        arena.pause(1.0)
    arena.expect(disk.syncs > 0, "the spool's syncs reach the shim")
    servers.finish(arena, victim, are_prompt=False)  # a killed one does not answer
    arena.expect(arena.is_weak or _is_in_order(arena, spooled), "in order")


def _acked_from_now_on(arena: Arena) -> set[str]:
    """Block until ENOUGH more are acknowledged, which only the spool can do now; their ids."""
    before = ids(arena.ledger.of("acked"))
    servers.until(lambda: len(arena.ledger.of("acked")) >= len(before) + ENOUGH)
    return ids(arena.ledger.of("acked")) - before


def _end(arena: Arena, victim: Victim, disk: Disk, number: int, in_flight: int) -> None:
    """A power cut first, then in turn a kill and one more, every second with some of the later sectors."""

    def end() -> None:
        victim.kill()
        if number % 2 == 0:
            disk.lose_power(random.Random(number) if number % 4 and not arena.control else None)

    arena.fault("killed" if number % 2 else "power cut", victim, end, in_flight)


def _is_in_order(arena: Arena, spooled: Collection[str]) -> bool:
    """Whether the first runs of *spooled*, which one connection has sent, began in the order of sending.

    Not those that were claimed before, and then in flight at a kill: they run when they are taken back.
    """
    runs = sorted(arena.evidence().runs, key=lambda run: run.started)
    firsts = {run.delivery: run for run in reversed(runs) if run.delivery in spooled}
    began = sorted((run for run in firsts.values() if run.token == 1), key=lambda run: run.started)
    numbers = [int(run.delivery.removeprefix("d-")) for run in began]
    return bool(numbers) and numbers == sorted(numbers)
