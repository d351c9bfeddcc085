"""The inbox: processes that post beside a daemon, all of them killed at random."""

from __future__ import annotations

import json
import random
from pathlib import Path

from .arena import CONFIG, Arena
from .ledger import Delivery, Try
from .poster import Posters
from .scenario import Control, scenario

POSTED = CONFIG.replace("apps = chaosapp", "apps = chaosapp, inboxapp")
POSTERS = 3
DOWN_SECONDS = 0.4


@scenario(
    "posters and daemon killed",
    store="embedded",
    controls=[
        Control(
            "acknowledged before written", shows="lost", weakness="inbox.ack_before_write", in_short=True
        ),
        Control("taken before stored", shows="lost", weakness="inbox.taken_before_stored"),
    ],
)
def posters_killed(arena: Arena) -> None:
    """SIGKILL for posters and daemon, SIGSTOP for posters, again and again; they go on while it is down."""
    dice = random.Random(15)
    victim = arena.daemon(text=POSTED).start()
    with Posters(victim.config, POSTERS, dice, victim.environ, victim.weakness) as posters:
        for _ in range(arena.pick(short=2, long=10)):
            arena.pause(arena.pick(short=0.7, long=1.5))
            posters.stop_one()
            posters.kill_one()
            arena.pause(dice.random() * DOWN_SECONDS)
            arena.kill(victim)
            arena.pause(DOWN_SECONDS)
            posters.kill_one()
            posters.end_stops()
            victim.start()
        arena.pause(1.0)
    _note(arena, posters.account)
    arena.settle()


def _note(arena: Arena, account: Path) -> None:
    """Put what the posters have said into the ledger: a call that has not returned is unknown."""
    deliveries: dict[str, Delivery] = {}
    for text in account.read_text().splitlines():
        line = json.loads(text)
        for one in line["ids"]:
            if line["what"] == "sent":
                deliveries[one] = Delivery(one, "posted", [Try(line["at"], line["at"], "unknown", 0)])
            else:
                sent = deliveries[one].tries[0].sent
                deliveries[one].tries = [Try(sent, line["at"], "acked", 0)]
    arena.ledger.add(deliveries.values())
