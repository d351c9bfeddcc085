"""Rescues tasks of dead daemons: makes them ready again, or quarantines them.

A daemon of another machine is dead when its lease is over. One of this machine is dead when its
process is: its lease is ended at once, so a daemon that was killed and started again has its tasks back
in its first second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..clock import Clock
from ..engine.fenced import report_each
from ..engine.loop import Loop
from ..model import Instance, Report
from ..process.identity import is_dead
from ..retry import Crashed, Policy, decide
from ..store.contract import ClaimStore
from ..telemetry import emit

PAUSE_SECONDS: Final = 5.0
BATCH: Final = 100
REFUSED_SECONDS: Final = 60.0


class Rescuer:
    """Returns orphaned tasks to ready, or to error when they have crashed too often.

    The report carries the claim that was observed, so two rescuers, or a rescuer and a holder that
    finishes after all, cannot both succeed.
    """

    def __init__(
        self,
        store: ClaimStore,
        instance: Instance,
        clock: Clock,
        policy: Callable[[], Policy],
        wake: Callable[[], None],
    ) -> None:
        self.loop = Loop("rescuer", self.tick, PAUSE_SECONDS, clock)
        self._store = store
        self._instance = instance
        self._clock = clock
        self._policy = policy
        self._wake = wake
        self._refused: dict[Any, float] = {}

    def tick(self) -> float:
        """Rescue one batch; come back at once while there is more."""
        self._end_dead_leases()
        # those that the store refuses to let go of may be found first each time
        moment = self._clock.monotonic()
        self._refused = {task_id: until for task_id, until in self._refused.items() if until > moment}
        most = BATCH + len(self._refused)
        orphans = [task for task in self._store.orphans(self._instance, most) if task.id not in self._refused]
        if not orphans:
            return PAUSE_SECONDS
        now = self._clock.now()
        outcomes = [
            decide(task, Crashed(f"{task.process or task.worker} is gone", proven=False), now, self._policy())
            for task in orphans
        ]
        reports = [Report(task.claim, out.fields) for task, out in zip(orphans, outcomes, strict=True)]
        for task, outcome, mine in zip(orphans, outcomes, report_each(self._store, reports), strict=True):
            if isinstance(mine, Exception):
                self._refused[task.id] = moment + REFUSED_SECONDS
                emit("task.set_aside", task_id=task.id, reason=mine)
            elif mine:
                emit(
                    "task.rescued" if outcome.kind == "release" else "task.gave_up",
                    task=task,
                    outcome=outcome,
                )
        self._wake()
        return 0 if len(orphans) >= BATCH else PAUSE_SECONDS

    def _end_dead_leases(self) -> None:
        """End the leases of daemons whose process has certainly ended."""
        for other in self._store.instances():
            if other.identity is not None and is_dead(other.identity, self._instance.identity):
                self._store.renew(other, 0)
                emit("lease.revoked", process=other.process)
