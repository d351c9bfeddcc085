"""Reconciles the runs of this daemon with the claims that the store has for it.

They can differ for two reasons. A claim or direct start whose answer was lost leaves a task busy that
nobody here knows of: it goes back to ready. An operator's cancel from another process, or a rescue
while this daemon seemed dead, takes a task away while it runs: its handler is interrupted.
"""

from __future__ import annotations

from typing import Final

from ..clock import Clock
from ..engine.fenced import report_each
from ..engine.lanes import Lanes
from ..engine.loop import Loop
from ..engine.recorder import Recorder
from ..engine.run import Run
from ..errors import Superseded, Withdrawn
from ..model import BUSY, SKIPPED, Claim, Instance, Report
from ..retry import Policy, Stopped, decide
from ..store.contract import ClaimStore
from ..telemetry import emit

PAUSE_SECONDS: Final = 10.0
"""Longer than any call of the store: what two audits in a row see is no claim still on its way."""


class Reconciler:
    """Looks every PAUSE_SECONDS. The store's word counts: its claims decide who may run what."""

    def __init__(
        self, store: ClaimStore, instance: Instance, lanes: Lanes, recorder: Recorder, clock: Clock
    ) -> None:
        self.loop = Loop("reconciler", self.tick, PAUSE_SECONDS, clock)
        self._store = store
        self._instance = instance
        self._lanes = lanes
        self._recorder = recorder
        self._clock = clock
        self._unknown: set[Claim] = set()
        self._refused: set[Claim] = set()

    def tick(self) -> float:
        """One reconciliation. Raises StoreError, which the loop tells."""
        begun_before = self._lanes.running
        held = set(self._store.held(self._instance))
        for run in begun_before:
            if run.task.claim not in held and not run.is_over:
                self._stop(run)
        known = {run.task.claim for run in self._lanes.running} | self._recorder.claims
        unknown = held - known
        for claim in unknown & self._unknown:
            self._release(claim)
        self._unknown = unknown
        return PAUSE_SECONDS

    def _stop(self, run: Run) -> None:
        stored = self._store.get(run.task.id)
        if stored is not None and stored.state == BUSY and stored.claim == run.task.claim:
            return  # it is held after all
        run.interrupt(Withdrawn() if stored is not None and stored.state == SKIPPED else Superseded())

    def _release(self, claim: Claim) -> None:
        task = self._store.get(claim.id)
        if task is None:
            return
        outcome = decide(task, Stopped("the answer to its claim was lost"), self._clock.now(), Policy())
        (mine,) = report_each(self._store, [Report(claim, outcome.fields)])
        if isinstance(mine, Exception):
            if claim not in self._refused:
                self._refused.add(claim)
                emit("task.set_aside", task_id=claim.id, reason=mine)
        elif mine:
            emit("task.released", task=task, outcome=outcome, seconds=0.0)
            self._lanes.expect([task])
