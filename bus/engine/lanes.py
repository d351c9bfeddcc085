"""The lanes: kinds of slots (greenlets, CPU, each name with a limit), each with its own claimer.

A burst of slow work in one lane neither takes the slots of another nor holds up its direct starts.
Which lane a task belongs to is decided by its name alone, so that the store can be asked for a lane. A
claim gets those names that may begin now: what is paused is left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bson import ObjectId

from ..apps.registry import Task
from ..clock import Clock
from ..config import Config
from ..errors import Interrupt
from ..limits import Limit
from ..model import Instance, MonQTask
from .claimer import Claimer
from .health import Health
from .pool import Pool
from .run import Run

Names = Callable[[], frozenset[str]]
NewClaimer = Callable[[Pool, Names], Claimer]


class Lane(NamedTuple):
    """What a lane should be: its number of slots and the task names it claims; of one name, its limit."""

    slots: int
    names: frozenset[str]
    bound: Limit | None = None


def lanes_of(config: Config, tasks: Mapping[str, Task[..., Any]], names: frozenset[str]) -> dict[str, Lane]:
    """The lanes for those of *tasks* that are in *names*, by title. Each with a limit has one of its own."""
    heavy = frozenset(name for name in names if tasks[name].defaults.cpu)
    greenlets, workers = config.worker.greenlets, config.worker.cpu_workers
    limited = {
        name: _limited_lane(name, bound, workers if name in heavy else None, greenlets)
        for name in sorted(names)
        if (bound := tasks[name].defaults.limit) is not None
    }
    return {
        "greenlets": Lane(greenlets, names - heavy - limited.keys()),
        "cpu": Lane(workers, heavy - limited.keys()),
        **limited,
    }


def _limited_lane(name: str, bound: Limit, workers: int | None, greenlets: int) -> Lane:
    """The lane of a *name* with the limit *bound*; *workers* where it runs in one of those."""
    slots = bound.most or greenlets
    return Lane(slots if workers is None else min(slots, workers), frozenset({name}), bound)


class Reservation:
    """A direct start: slots set aside while tasks are stored as busy. Implements posting.Reserved."""

    def __init__(self) -> None:
        self._slots: list[tuple[Claimer, list[MonQTask]]] = []

    def add(self, claimer: Claimer, tasks: list[MonQTask]) -> bool:
        """Set a slot of *claimer*'s pool aside for each of *tasks*, all or none; whether it could be."""
        is_set_aside = claimer.lets_start and claimer.pool.reserve(len(tasks))
        if is_set_aside:
            self._slots.append((claimer, tasks))
        return is_set_aside

    def start(self, stored: Sequence[MonQTask]) -> None:
        """Run those tasks that were *stored*; the other slots are free again."""
        ids = {task.id for task in stored}
        for claimer, tasks in self._slots:
            claimer.pool.give_back(len(tasks))
            claimer.pool.start([task for task in tasks if task.id in ids])

    def doubt(self) -> None:
        """The tasks may or may not be stored as busy: settle it once the store answers again."""
        for claimer, tasks in self._slots:
            claimer.pool.give_back(len(tasks))
            claimer.settle(tasks)


class Lanes:
    """All slots of a daemon. Implements posting.Starter by asking the lane of each task's name.

    *new_pool* makes the slots of a lane, *new_claimer* who fills them. Only the hub's thread may
    call it.
    """

    def __init__(
        self, instance: Instance, clock: Clock, new_pool: Callable[[int], Pool], new_claimer: NewClaimer
    ) -> None:
        self.instance = instance
        self._clock = clock
        self._new_pool = new_pool
        self._new_claimer = new_claimer
        self._claimers: dict[str, Claimer] = {}
        self._plan: Mapping[str, Lane] = {}
        self._is_paused: Callable[[str], bool] = lambda _: False
        self._names: dict[str, frozenset[str]] = {}
        self._lane_of: dict[str, Claimer] = {}
        self._is_started = False
        self._limited: frozenset[str] = frozenset()

    # what lanes there are

    def arrange(self, plan: Mapping[str, Lane]) -> None:
        """Change the lanes to *plan*. One that is left out claims nothing more; its running tasks go on."""
        for title, lane in plan.items():
            claimer = self._claimers.get(title)
            if claimer is None:
                self._add(title, lane.slots)
            else:
                claimer.pool.size = lane.slots
            self._claimers[title].bind(lane.bound)
        self._plan = plan
        self._limited = frozenset(name for lane in plan.values() if lane.bound for name in lane.names)
        self._open()

    def pause(self, is_paused: Callable[[str], bool]) -> None:
        """Begin no task whose name *is_paused* from now on, and all others; running tasks go on."""
        self._is_paused = is_paused
        before = self._names
        self._open()
        for title, names in self._names.items():
            if names - before[title]:
                self._claimers[title].catch_up()

    def may_try(self, name: str) -> bool:
        """Whether a task of *name*, paused or not, may begin here now."""
        claimer = self._claimer_of(name)
        return claimer is not None and claimer.may_try

    def try_one(self, name: str) -> MonQTask | None:
        """Begin one task of *name* although it is paused; None when none is due, or none may begin here."""
        claimer = self._claimer_of(name)
        return claimer.try_one(name) if claimer is not None else None

    def crowd(self, name: str, since: datetime) -> str:
        """Why a task of *name* had to wait for a slot after *since*; "" when it had not."""
        for title, lane in self._plan.items():
            if name in lane.names and self._claimers[title].was_full(since):
                return f"all {self._claimers[title].pool.size} slots of {title} were taken"
        return ""

    def _claimer_of(self, name: str) -> Claimer | None:
        title = next((title for title, lane in self._plan.items() if name in lane.names), None)
        return self._claimers[title] if title is not None else None

    def _open(self) -> None:
        """Decide by name what may begin, so that neither a claim nor a direct start asks for each task."""
        self._names = {
            title: frozenset(name for name in lane.names if not self._is_paused(name))
            for title, lane in self._plan.items()
        }
        self._lane_of = {
            name: self._claimers[title] for title, names in self._names.items() for name in names
        }

    def _add(self, title: str, slots: int) -> None:
        def names() -> frozenset[str]:
            return self._names.get(title, frozenset())

        claimer = self._claimers[title] = self._new_claimer(self._new_pool(slots), names)
        claimer.loop.health.name = f"claimer of {title}"
        claimer.pool.health.name = f"slots of {title}"
        if self._is_started:
            claimer.loop.start()

    def start_claiming(self) -> None:
        """Begin to claim in every lane."""
        self._is_started = True
        for claimer in self._claimers.values():
            claimer.loop.start()

    def stop_claiming(self) -> None:
        """Claim nothing more; running tasks go on."""
        for claimer in self._claimers.values():
            claimer.is_stopping = True

    def stop(self) -> None:
        """End the claimers themselves."""
        self.stop_claiming()
        for claimer in self._claimers.values():
            claimer.loop.stop()

    @property
    def records(self) -> list[Health]:
        """How each lane is: who fills its slots, and they themselves."""
        claimers = self._claimers.values()
        return [record for claimer in claimers for record in (claimer.loop.health, claimer.pool.health)]

    def wake(self, is_about: Callable[[str], bool] | None = None) -> None:
        """Look for work in every lane soon, or in those with a name that it *is_about*. Never blocks."""
        for title, claimer in self._claimers.items():
            if is_about is None or any(map(is_about, self._names.get(title, ()))):
                claimer.loop.wake()

    # what runs in them

    @property
    def running(self) -> list[Run]:
        """Every run of this daemon."""
        return [run for claimer in self._claimers.values() for run in claimer.pool.running.values()]

    @property
    def titled(self) -> list[tuple[str, Run]]:
        """Every run of this daemon with the title of its lane."""
        lanes = self._claimers.items()
        return [(title, run) for title, claimer in lanes for run in claimer.pool.running.values()]

    @property
    def is_busy(self) -> bool:
        """Whether something runs, or is about to: it is being stored as busy."""
        return any(not claimer.pool.is_empty for claimer in self._claimers.values())

    @property
    def size(self) -> int:
        """How many slots there are in all lanes."""
        return sum(claimer.pool.size for claimer in self._claimers.values())

    @property
    def slots(self) -> dict[str, tuple[int, int]]:
        """Of each lane how many slots it has, and how many of them are taken."""
        pools = {title: claimer.pool for title, claimer in self._claimers.items()}
        return {title: (pool.size, pool.size - pool.free) for title, pool in pools.items()}

    def interrupt(self, ids: Sequence[ObjectId] | None, reason: type[Interrupt]) -> None:
        """Cut short those of *ids* that run here, or everything when None."""
        for claimer in self._claimers.values():
            claimer.pool.interrupt(ids, reason)

    def drain(self, seconds: float) -> None:
        """Block until nothing runs any more, or *seconds* are over."""
        deadline = self._clock.monotonic() + seconds
        for claimer in self._claimers.values():
            claimer.pool.drain(max(0.0, deadline - self._clock.monotonic()))

    # posting.Starter

    def claims(self, name: str) -> bool:
        """Whether *name* is known here, not left to other daemons, and not paused."""
        return name in self._lane_of

    def is_limited(self, name: str) -> bool:
        """Whether the end of a task of *name* lets another one begin, here or elsewhere."""
        return name in self._limited

    def reserve(self, tasks: Sequence[MonQTask]) -> Reservation | None:
        """Set a slot aside for each of *tasks*, all or none; only where nothing waits that goes first."""
        reservation = Reservation()
        for claimer, own in self._by_lane(tasks):
            if not reservation.add(claimer, own):
                reservation.start([])
                return None
        return reservation

    def expect(self, tasks: Sequence[MonQTask]) -> None:
        """*tasks* were stored as ready and wait to be claimed."""
        self.expect_at([(task.task_name, task.time_queue) for task in tasks])

    def expect_at(self, moments: Sequence[tuple[str, datetime]]) -> None:
        """Tasks of these names become due at these moments."""
        for name, moment in moments:
            if (claimer := self._lane_of.get(name)) is not None:
                claimer.expect_at(moment)

    def _by_lane(self, tasks: Sequence[MonQTask]) -> list[tuple[Claimer, list[MonQTask]]]:
        lanes: dict[Claimer, list[MonQTask]] = {}
        for task in tasks:
            lanes.setdefault(self._lane_of[task.task_name], []).append(task)
        return list(lanes.items())
