"""Scenarios on limits: several daemons, some of them killed, and one line of deliveries."""

from __future__ import annotations

from tests import mongod

from . import servers
from .arena import Arena
from .scenario import Control, scenario
from .sender import Pace
from .servers import finish, on
from .witness import Run

LINE = Pace(per_second=15, kinds={"line": 1}, resend=True)
CROWD = Pace(per_second=60, kinds={"seats": 3, "paced": 1}, resend=True)
SECONDS = 60
SEATS, RATE = 3, 10
"""What chaosapp.py declares for its handlers `seats` and `paced`."""
TOLERANCE = 0.05


@scenario(
    "one line, daemons killed",
    store="mongodb",
    controls=[Control("serial keys", shows="missed", weakness="limits.no_keys")],
    in_short=False,
)
def one_line(arena: Arena) -> None:
    """Three daemons work on one serial key, two of them are killed again and again: one runs, in order."""
    on(arena, mongod.replica_set(members=1))
    steady, *others = (servers.daemon(arena, name).start() for name in ("one", "two", "three"))
    with arena.load(LINE, to=[steady]):
        for _ in range(arena.pick(short=2, long=4)):
            for victim in others:
                arena.pause(1.0)
                arena.kill(victim)
                victim.start()
        arena.pause(1.0)
    finish(arena, steady, *others, seconds=SECONDS)
    _look_at_the_line(arena)


@scenario(
    "seats and a rate, daemons killed",
    store="mongodb",
    controls=[Control("limits", shows="missed", weakness="limits.no_limits")],
    in_short=False,
)
def seats_and_a_rate(arena: Arena) -> None:
    """Three daemons get more than the limits let run and begin, one of them is killed again and again."""
    on(arena, mongod.replica_set(members=1))
    steady, other, killed = (servers.daemon(arena, name).start() for name in ("one", "two", "three"))
    with arena.load(CROWD, to=[steady]):
        for _ in range(arena.pick(short=2, long=5)):
            arena.pause(3.0)
            arena.kill(killed)
            killed.start()
    finish(arena, steady, other, killed, seconds=SECONDS)
    kinds = {one.id: one.kind for one in arena.ledger.deliveries()}
    runs = sorted(arena.evidence().runs, key=lambda run: run.started)
    _look_at_the_seats(arena, [run for run in runs if kinds[run.delivery] == "seats"])
    _look_at_the_rate(arena, [run.started for run in runs if kinds[run.delivery] == "paced"])


def _look_at_the_seats(arena: Arena, runs: list[Run]) -> None:
    most = max(sum(other.started <= run.started < _over(arena, other) for other in runs) for run in runs)
    arena.expect(most <= SEATS, f"{most} ran at the same moment, of {SEATS} at most")


def _look_at_the_rate(arena: Arena, starts: list[float]) -> None:
    """More came all the time than may begin; a second's worth of them may have begun at once."""
    rate = (len(starts) - RATE) / (starts[-1] - starts[0])
    is_right = abs(rate - RATE) <= RATE * TOLERANCE
    arena.expect(is_right, f"{rate:.2f} began in a second, of {RATE}")


def _look_at_the_line(arena: Arena) -> None:
    """What the handlers have seen: no two at one moment, and none before one that was promised earlier."""
    runs = sorted(arena.evidence().runs, key=lambda run: run.started)
    over = [_over(arena, run) for run in runs]
    pairs = zip(over, runs[1:], strict=False)
    overlaps = sum(run.started < end for end, run in pairs)
    arena.expect(overlaps == 0, f"{overlaps} of one serial key ran while another one did")
    begun: dict[str, float] = {}
    for run in runs:
        begun.setdefault(run.delivery, run.started)
    late = _overtaken(arena, begun)
    arena.expect(late == 0, f"{late} began before one that had been acknowledged before they were sent")


def _over(arena: Arena, run: Run) -> float:
    """When *run* was over: by its own word, or by the kill of its daemon."""
    kills = [fault.at for fault in arena.faults if fault.pid == run.daemon]
    return run.ended if run.ended is not None else min(kills, default=float("inf"))


def _overtaken(arena: Arena, begun: dict[str, float]) -> int:
    """How many deliveries began before one that was acknowledged before they were sent."""
    known = [one for one in arena.ledger.of("acked") if one.id in begun]
    acks = sorted(
        (min(try_.answered for try_ in one.tries if try_.outcome == "acked"), begun[one.id]) for one in known
    )
    found, latest, place = 0, 0.0, 0
    for sent, start in sorted((one.tries[0].sent, begun[one.id]) for one in known):
        while place < len(acks) and acks[place][0] < sent:
            latest = max(latest, acks[place][1])
            place += 1
        found += start < latest
    return found
