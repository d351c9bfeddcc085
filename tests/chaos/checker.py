"""Compares what was promised with what was done.

Five figures must be 0 whatever happens: `lost` (acknowledged, its handler never returned, and nothing
waits in the store that will call it), `ghosts` (ran, but was never sent), `overlaps` (two runs for one
delivery at the same time), `stale_accepted` (an end or a write of a run that no longer held its task)
and `misrecorded` (the handler has returned, but the store does not say so with exactly one task that is
complete). `stuck` must be 0 too: what still waits or counts as busy when everything has calmed down.
`duplicates` (returned more than once) and `cut` (begun and cut short in a daemon that nobody killed) may
be as many as were in flight when something was done that makes them run again: at least once, not
exactly once.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bus.model import Event, MonQTask

from .ledger import Delivery, Ledger, ids
from .witness import Evidence, Run

MUST_BE_ZERO = ("lost", "ghosts", "overlaps", "stale_accepted", "misrecorded", "stuck")
MOST_IN_FLIGHT = ("duplicates", "cut")
COMMANDS = "handler:"
WAITING = ("ready", "busy")


@dataclass(slots=True)
class Fault:
    """Something done on purpose. Moments are CLOCK_MONOTONIC seconds.

    *over_at* is when its cause was gone, so that 2xx should come again: for a kill the kill itself,
    for a freeze the thaw. *in_flight* counts tasks that were busy in the store when it struck; they
    may run a second time only when *may_repeat*: their daemon was killed, or could not renew its lease.
    A killed daemon has its *pid* here: whatever it ran has ended with it.
    """

    what: str
    at: float
    over_at: float
    in_flight: int = 0
    pid: int | None = None
    is_kill: bool = False
    may_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A process that was stopped from *began* to *ended*: it held its tasks and ran none of them."""

    pid: int
    began: float
    ended: float


@dataclass(slots=True)
class Account:
    """Everything there is to compare. *tasks* and *events* are what the store holds at the end."""

    ledger: Ledger
    evidence: Evidence
    tasks: Sequence[MonQTask]
    events: Sequence[Event]
    faults: Sequence[Fault]
    pauses: Sequence[Pause]
    began: float
    ended: float

    def tasks_by_delivery(self) -> dict[str, list[MonQTask]]:
        """The stored tasks of each delivery: by their event, or by what their handler has said."""
        named = {event.id: event.delivery for event in self.events}
        said = {run.task: run.delivery for run in self.evidence.runs}
        found: dict[str, list[MonQTask]] = {}
        for task in self.tasks:
            delivery = named.get(task.event_id) or said.get(str(task.id), "")
            found.setdefault(delivery, []).append(task)
        return found


@dataclass(slots=True)
class Figures:
    """What one run has shown; the names are the keys of its JSON line. Seconds where they say so.

    *missed* names what is not as it must be. `refused_ran` and `unknown_ran` are told for the
    reader: a 503 does not say that nothing was stored, it says that nothing was promised.
    """

    acked: int
    refused: int
    unknown: int
    lost: int
    ghosts: int
    duplicates: int
    in_flight_at_kills: int
    overlaps: int
    stale_accepted: int
    misrecorded: int
    stuck: int
    cut: int
    kills: int
    ready_again_max_seconds: float | None
    works_again_max_seconds: float | None
    longest_without_2xx_seconds: float
    seconds: float
    refused_ran: int
    unknown_ran: int
    missed: list[str] = field(default_factory=list)


def check(account: Account, aims: Mapping[str, float]) -> Figures:
    """The figures of a run, and which of them miss the promise or one of the *aims* (at most)."""
    ledger, evidence = account.ledger, account.evidence
    ran = {run.delivery for run in evidence.runs}
    acks = [one.answered for one in ledger.acked_tries()]
    stored = account.tasks_by_delivery()
    unreturned = ids(ledger.of("acked")) - evidence.ended
    figures = Figures(
        acked=len(ledger.of("acked")),
        refused=len(ledger.of("refused")),
        unknown=len(ledger.of("unknown")),
        lost=sum(not _waits(stored.get(delivery, [])) for delivery in unreturned),
        ghosts=len(ran - ids(ledger.deliveries())),
        duplicates=_duplicates(evidence.runs),
        in_flight_at_kills=sum(fault.in_flight for fault in account.faults if fault.may_repeat),
        overlaps=_overlaps(account),
        stale_accepted=_stale_writes(evidence) + _stale_ends(account.tasks),
        misrecorded=_misrecorded(ids(ledger.of("acked")) & evidence.ended, stored),
        stuck=sum(task.state in WAITING for task in account.tasks),
        cut=_cut(account),
        kills=sum(fault.is_kill for fault in account.faults),
        ready_again_max_seconds=_ready_again(ledger, account.faults, account.ended),
        works_again_max_seconds=_works_again(evidence.runs, account.faults, account.ended),
        longest_without_2xx_seconds=_longest_silence(ledger, acks),
        seconds=round(account.ended - account.began, 1),
        refused_ran=_how_many_of(ledger.of("refused"), ran),
        unknown_ran=_how_many_of(ledger.of("unknown"), ran),
    )
    figures.missed = _missed(figures, aims)
    return figures


def _missed(figures: Figures, aims: Mapping[str, float]) -> list[str]:
    missed = [name for name in MUST_BE_ZERO if getattr(figures, name)]
    missed += [name for name in MOST_IN_FLIGHT if getattr(figures, name) > figures.in_flight_at_kills]
    if not figures.acked:
        missed.append("acked")  # nothing was promised, so nothing was shown
    missed += [name for name, most in aims.items() if (getattr(figures, name) or 0) > most]
    return missed


def _how_many_of(deliveries: Iterable[Delivery], ran: set[str]) -> int:
    return len(ids(deliveries) & ran)


def _duplicates(runs: Iterable[Run]) -> int:
    """Returns beyond the first, by delivery: also those of a delivery that was stored twice."""
    returns = Counter(run.delivery for run in runs if run.has_returned)
    return sum(count - 1 for count in returns.values())


def _waits(tasks: Iterable[MonQTask]) -> bool:
    return any(task.state in WAITING for task in tasks)


def _misrecorded(returned: set[str], stored: Mapping[str, Sequence[MonQTask]]) -> int:
    """Deliveries of *returned* without a task that is complete, and all that were stored more than once.

    One that waits is `stuck` and not counted here.
    """
    untold = sum(not _waits(tasks := stored.get(one, [])) and not _is_complete(tasks) for one in returned)
    return untold + sum(len(tasks) > 1 for delivery, tasks in stored.items() if delivery)


def _is_complete(tasks: Sequence[MonQTask]) -> bool:
    return any(task.state == "complete" for task in tasks)


def _cut(account: Account) -> int:
    """Runs that have begun and not returned, and did not end with a daemon that was killed."""
    killed = _killed(account)
    return sum(
        not run.has_returned and (run.ended is not None or run.daemon not in killed)
        for run in account.evidence.runs
    )


def _killed(account: Account) -> dict[int, float]:
    return {fault.pid: fault.at for fault in account.faults if fault.pid is not None}


def _overlaps(account: Account) -> int:
    """Pairs of runs for one delivery of which both went on at some moment, as one task or as two."""
    killed = _killed(account)
    by_delivery: dict[str, list[list[tuple[float, float]]]] = {}
    for run in account.evidence.runs:
        by_delivery.setdefault(run.delivery, []).append(_active(run, killed, account))
    return sum(
        any(begin < other_end and other_begin < end for begin, end in one for other_begin, other_end in other)
        for runs in by_delivery.values()
        for one, other in itertools.combinations(runs, 2)
    )


def _active(run: Run, killed: Mapping[int, float], account: Account) -> list[tuple[float, float]]:
    """When *run* went on: from its start to its end, its daemon's or its last sign of life, without the
    pauses of its process.
    """
    end = run.ended if run.ended is not None else killed.get(run.daemon, run.seen or account.ended)
    pieces, begin = [], run.started
    for pause in sorted(account.pauses, key=lambda pause: pause.began):
        if pause.pid == run.pid and begin < pause.ended and pause.began < end:
            pieces.append((begin, pause.began))
            begin = pause.ended
    pieces.append((begin, end))
    return [(begin, end) for begin, end in pieces if begin < end]


def _stale_writes(evidence: Evidence) -> int:
    """Accepted writes of a run after another one wrote under the same token or a later one."""
    highest: dict[str, tuple[int, str]] = {}
    stale = 0
    for write in evidence.writes:
        if not write.accepted:
            continue
        token, holder = highest.get(write.task, (-1, ""))
        if write.token < token or (write.token == token and write.run != holder):
            stale += 1
        else:
            highest[write.task] = (write.token, write.run)
    return stale


def _stale_ends(tasks: Iterable[MonQTask]) -> int:
    """Tasks whose recorded result is that of a run which was not the last holder's."""
    return sum(
        task.state == "complete"
        and task.result != task.generation
        and not task.task_name.startswith(COMMANDS)  # they return nothing
        for task in tasks
    )


def _ready_again(ledger: Ledger, faults: Iterable[Fault], ended: float) -> float | None:
    """The longest from the end of a fault to a 2xx for a delivery sent after it; None without faults."""
    tries = ledger.acked_tries()
    waits = [
        min((one.answered for one in tries if one.sent >= fault.over_at), default=ended) - fault.over_at
        for fault in faults
    ]
    return round(max(waits), 2) if waits else None


def _works_again(runs: Iterable[Run], faults: Iterable[Fault], ended: float) -> float | None:
    """The longest from the end of a fault to the first start of a handler after it; None without faults."""
    starts = sorted(run.started for run in runs)
    waits = [
        min((at for at in starts if at >= fault.over_at), default=ended) - fault.over_at for fault in faults
    ]
    return round(max(waits), 2) if waits else None


def _longest_silence(ledger: Ledger, acks: Sequence[float]) -> float:
    """The longest time without a 2xx, from the first sending to the last answer."""
    tries = [one for delivery in ledger.deliveries() for one in delivery.tries]
    if not tries:
        return 0.0
    moments = [min(one.sent for one in tries), *acks, max(one.answered for one in tries)]
    return round(max(later - earlier for earlier, later in itertools.pairwise(moments)), 2)
