"""Simulates how daemons that claim from one queue come in each other's way.

No server takes part: events in order of their moments, random numbers from a fixed seed, so that the
figures are the same each time. A claim is what it is with MongoDB: a look at the first tasks that are
ready, then a take of those of them that still are. The times of both are those measured on one machine
(docs/performance.md); their ratio to the time of a batch is what counts.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from .tables import table

LOOK_MS, LOOK_EACH_MS = 0.6, 0.02
TAKE_MS, TAKE_EACH_MS = 0.8, 0.02
HINT_MS = 1.0
"""How far apart the daemons hear of one task, about."""
CLAIMS = 400
DAEMONS = (1, 2, 4, 8, 16, 32)
BATCHES = (1, 10, 100)
RUNS_MS = (1.0, 100.0)
HEAD, PAUSE, APART = "as they come", "pause after a loss", "one of 4 batches"
POLICIES = (HEAD, PAUSE, APART)
SPREAD = 4
PAUSE_MS = 2.0
LONGEST_PAUSE_MS = 16.0
ALONE = 5_000
LOST_BEFORE, LOST_NOW = 5, 2
"""Commands of a lost race: look, take, three about what was left; since then look and take."""


class Claimed(NamedTuple):
    """What a number of claims came to."""

    tasks: int
    takes: int
    empty: int
    partial: int
    ms: float


@dataclass
class Daemon:
    """One claimer: what it has seen and not taken yet, and how often in a row it has come too late."""

    seen: list[int] | None = None
    losses: int = 0


class Queue:
    """Tasks in the order of claiming, without an end."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._gone: set[int] = set()
        self._first = 0

    def look(self, batch: int, spread: int) -> list[int]:
        """One of *spread* batches of what is ready."""
        while self._first in self._gone:
            self._gone.discard(self._first)
            self._first += 1
        found: list[int] = []
        place = self._first
        while len(found) < batch * spread:
            if place not in self._gone:
                found.append(place)
            place += 1
        start = batch * self._random.randrange(spread)
        return found[start : start + batch]

    def take(self, seen: list[int]) -> int:
        """How many of *seen* were still ready; they are gone."""
        got = [task for task in seen if task >= self._first and task not in self._gone]
        self._gone.update(got)
        return len(got)


def simulate(daemons: int, batch: int, run_ms: float, policy: str = HEAD, seed: int = 1) -> Claimed:
    """CLAIMS takes of each daemon from a backlog; what one has got runs for *run_ms* before the next."""
    random = Random(seed)
    queue = Queue(random)
    tasks = takes = empty = partial = 0
    moments = [(random.random() * run_ms, number, Daemon()) for number in range(daemons)]
    heapq.heapify(moments)
    spread = SPREAD if policy == APART else 1
    while takes < CLAIMS * daemons:
        moment, number, daemon = heapq.heappop(moments)
        if daemon.seen is None:
            daemon.seen = queue.look(batch, spread)
            took = (LOOK_MS + LOOK_EACH_MS * batch * spread) * random.uniform(0.5, 1.5)
            took += (TAKE_MS + TAKE_EACH_MS * batch) * random.uniform(0.5, 1.5) / 2
        else:
            got = queue.take(daemon.seen)
            takes, tasks = takes + 1, tasks + got
            empty, partial = empty + (not got), partial + (0 < got < batch)
            daemon.seen, daemon.losses = None, 0 if got else daemon.losses + 1
            took = (TAKE_MS + TAKE_EACH_MS * batch) / 2
            took += run_ms * random.uniform(0.5, 1.5) if got else _pause(daemon, policy, random)
        heapq.heappush(moments, (moment + took, number, daemon))
    return Claimed(tasks, takes, empty, partial, moment)


def _pause(daemon: Daemon, policy: str, random: Random) -> float:
    most = min(LONGEST_PAUSE_MS, PAUSE_MS * 2**daemon.losses)
    return random.uniform(0, most) if policy == PAUSE else 0.0


def alone(daemons: int, seed: int = 1) -> tuple[float, float]:
    """Takes and empty takes for each of ALONE tasks that come one at a time, all daemons free."""
    random = Random(seed)
    takes = 0
    for _ in range(ALONE):
        looks = sorted(
            random.uniform(0, HINT_MS) + LOOK_MS * random.uniform(0.5, 1.5) for _ in range(daemons)
        )
        first = min(look + TAKE_MS * random.uniform(0.5, 1.5) / 2 for look in looks)
        takes += sum(look <= first for look in looks)  # who looks later finds nothing
    return takes / ALONE, takes / ALONE - 1


def _share(end: Claimed, batch: int) -> str:
    rate = end.tasks / end.ms * 1000
    return f"{end.empty / end.takes:.0%} · {end.takes / end.tasks * batch:.1f} · {rate:,.0f}"


def collisions(_: object) -> None:
    """Print both simulations as tables."""
    rows: list[list[object]] = []
    for run_ms in RUNS_MS:
        for batch in BATCHES:
            for policy in POLICIES:
                ends = [simulate(daemons, batch, run_ms, policy) for daemons in DAEMONS]
                shares = [_share(end, batch) for end in ends]
                rows.append([f"{run_ms:g} ms", batch, policy, *shares])
    table(
        "A backlog, simulated: takes that came back empty · takes for each batch · tasks/s",
        ["a batch runs", "batch", "which", *(f"{daemons} daemons" for daemons in DAEMONS)],
        rows,
    )
    lonely: list[list[object]] = []
    for daemons in DAEMONS:
        takes, empty = alone(daemons)
        commands = [daemons + takes + empty * (lost - 2) + daemons * 2 for lost in (LOST_BEFORE, LOST_NOW)]
        lonely.append([daemons, takes, empty, *commands])
    table(
        "Tasks that come one by one, simulated: for each task",
        ["daemons", "takes", "empty", "commands before", "commands now"],
        lonely,
    )
