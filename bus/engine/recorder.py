"""Records the ends of runs in batches, each fenced by its claim.

A slot is free again as soon as its handler has returned; the outcome waits here, held in memory
until the store has it. If the daemon dies first, the task runs again: that is at-least-once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from ..clock import Clock
from ..errors import NotAccepted, StoreError, StoreUnavailable, Withdrawn
from ..model import Claim, MonQTask, Posting, Report
from ..retry import Outcome, OutcomeKind, Policy, without_postings
from ..store.contract import CALL_SECONDS, Queue
from ..telemetry import ToldOnce, emit
from .loop import Loop
from .outage import Outage
from .run import Run

BATCH: Final = 500
FULL: Final = 2000
REFUSED_SECONDS: Final = 60.0
FACT_OF: Final[dict[OutcomeKind, str]] = {
    "complete": "task.finished",
    "retry": "task.retried",
    "snooze": "task.snoozed",
    "give_up": "task.gave_up",
    "cancel": "task.skipped",
    "release": "task.released",
}


class Recorder:
    """One greenlet writes all ends; `waiting_again` is told names and moments of what is ready again."""

    def __init__(self, store: Queue, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ends: list[tuple[Run, Outcome]] = []
        self._refused: list[tuple[Run, Outcome]] = []  # by a rule of the store, until `_refused_until`
        self._refused_until = 0.0
        self._told = ToldOnce()
        self._notes: dict[Any, Report] = {}
        self.keep_failed = Policy().keep_failed
        """How long an end is kept that becomes an error here."""
        self.released = 0
        """How many tasks it has given back without an attempt."""
        self._recorded = 0
        self._outage = Outage("recording", clock)
        self.is_limited: Callable[[str], bool] = lambda _: False
        """Whether the end of a task of this name makes room for another one."""
        self.waiting_again: Callable[[list[tuple[str, datetime]]], None] = lambda _: None
        self.loop = Loop("recorder", self.tick, CALL_SECONDS, clock)

    @property
    def depth(self) -> int:
        """How many ends are not yet in the store."""
        return len(self._ends) + len(self._refused)

    @property
    def claims(self) -> set[Claim]:
        """The claims under which ends wait to be written."""
        return {run.task.claim for run, _ in (*self._ends, *self._refused)}

    @property
    def is_full(self) -> bool:
        """True when nothing more should be begun before what has ended is recorded."""
        return self.depth >= FULL

    def put(self, run: Run, outcome: Outcome) -> None:
        """Take over an ended run. Never blocks."""
        self._ends.append((run, outcome))
        self.loop.wake()

    def note(self, report: Report) -> None:
        """Take over a progress report; only the last one of a task is written. Never blocks."""
        self._notes[report.claim] = report
        self.loop.wake()

    def tick(self) -> float | None:
        """Write one batch, notes before ends, because an end closes the claim."""
        self._try_refused()
        notes, self._notes = self._notes, {}
        batch = self._ends[:BATCH]
        if not batch and not notes:
            return self._next
        reports = [*notes.values(), *(_report_of(*end) for end in batch)]
        try:
            held = self._store.report(reports)
        except StoreUnavailable as error:
            self._notes = {**notes, **self._notes}
            return self._pause(error)
        except Exception:  # noqa: BLE001 - one of them cannot be stored; it must not hold up the others
            return self._write_one_by_one(list(notes.values()), batch)
        return self._written(batch, held[len(notes) :])

    def drain(self, seconds: float) -> int:
        """Block until everything is recorded or *seconds* are over; how many ends are left."""
        deadline = self._clock.monotonic() + seconds
        while self._ends and self._clock.monotonic() < deadline:
            self.loop.wake()
            self._clock.sleep(0.005)
        return len(self._ends)

    def abandon(self) -> int:
        """Tell of each end that is not recorded yet and forget it; how many those were."""
        ends, self._ends, self._refused = [*self._ends, *self._refused], [], []
        for run, outcome in ends:
            seconds = self._clock.monotonic() - run.started
            emit("task.unrecorded", task=run.task, outcome=outcome, seconds=seconds)
        return len(ends)

    def _write_one_by_one(self, notes: list[Report], batch: list[tuple[Run, Outcome]]) -> float | None:
        """As `tick`; an end that a rule of the store forbids waits apart, and a note is left out.

        One that is refused otherwise is tried again behind all others.
        """
        before = self._recorded
        try:
            for note in notes:
                with suppress(NotAccepted):
                    self._report_alone(note)
            for end in batch:
                self._write_alone(end)
        except StoreError as error:
            if not isinstance(error, StoreUnavailable) and self._ends:
                self._ends.append(self._ends.pop(0))
            return self._pause(error, has_written=self._recorded > before)
        return self._next

    def _write_alone(self, end: tuple[Run, Outcome]) -> None:
        run, outcome = end
        try:
            held, outcome = self._report_end(run, outcome)
        except NotAccepted as error:
            self._ends.remove(end)
            self._refused.append(end)
            self._refused_until = self._clock.monotonic() + REFUSED_SECONDS
            if self._told.begins(run.task.claim):
                emit("task.refused", task=run.task, error=error)
        else:
            self._told.ends(run.task.claim)
            self._written([(run, outcome)], [held])

    def _report_end(self, run: Run, outcome: Outcome) -> tuple[bool, Outcome]:
        """Write one end; one whose postings are refused ends in `error` instead, without them."""
        if outcome.postings:
            try:
                return self._report_alone(_report_of(run, outcome)), outcome
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - refused without its own values, so it is the postings
                now = self._clock.now()
                outcome = without_postings(run.task, outcome, error, now, self.keep_failed)
        return self._report_alone(_report_of(run, outcome)), outcome

    def _try_refused(self) -> None:
        """Try refused ends again from time to time: the rule may have been removed."""
        if self._refused and self._clock.monotonic() >= self._refused_until:
            self._ends += self._refused
            self._refused = []

    def _written(self, batch: list[tuple[Run, Outcome]], held: list[bool]) -> float | None:
        if held or not batch:
            self._outage.recovered(waiting=len(self._ends))
        del self._ends[: len(batch)]
        self._recorded += len(batch)
        self._tell(batch, held)
        return self._next

    @property
    def _next(self) -> float | None:
        if self._ends or self._notes:
            return 0
        return max(0.0, self._refused_until - self._clock.monotonic()) if self._refused else None

    def _report_alone(self, report: Report) -> bool:
        """Write one report; when it cannot be stored as it is, say so in its place."""
        try:
            return self._store.report([report])[0]
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the codec or the server says of a value
            replaced = report._replace(fields=_without_values(report.fields, error))
            held = self._store.report([replaced])[0]
            emit("task.unstorable", task_id=report.claim.id, error=error)
            return held

    def _pause(self, error: StoreError, *, has_written: bool = False) -> float:
        if not has_written:
            self.loop.health.fail(error)
        return self._outage.pause(error, waiting=len(self._ends))

    def _tell(self, batch: list[tuple[Run, Outcome]], held: list[bool]) -> None:
        again: list[tuple[str, datetime]] = []
        freed: list[tuple[str, datetime]] = []
        now = self._clock.monotonic()
        for (run, outcome), mine in zip(batch, held, strict=True):
            task, seconds = run.task, now - run.started
            if mine:
                emit(FACT_OF[outcome.kind], task=task, outcome=outcome, seconds=seconds)
                self.released += outcome.kind == "release"
                if outcome.postings:
                    again += self._tell_posted(outcome.postings)
                if outcome.fields["state"] == "ready":
                    again.append((task.task_name, outcome.fields.get("time_queue", task.time_queue)))
                elif task.serial is not None:  # the next one of its key may begin, here or elsewhere
                    freed.append((task.task_name, task.time_queue))
                if self.is_limited(task.task_name):
                    freed.append((task.task_name, task.time_queue))
            elif isinstance(run.interrupted, Withdrawn):
                emit("task.skipped", task=task, outcome=outcome, seconds=seconds)
            else:
                emit("task.lost", task=task, outcome=outcome, seconds=seconds)
        if again or freed:
            self.waiting_again(again + freed)
        if freed:
            self._store.ring({name for name, _ in freed})

    def _tell_posted(self, postings: Sequence[Posting]) -> list[tuple[str, datetime]]:
        """Tell of the tasks that an end has posted, and ring; names and moments of what waits by it."""
        for posting in postings:
            for task in self._new(posting):
                emit("task.posted", task=task)
        waiting = [(task.task_name, task.time_queue) for posting in postings for task in posting.tasks]
        self._store.ring({name for name, _ in waiting})
        return waiting

    def _new(self, posting: Posting) -> Sequence[MonQTask]:
        """Those of its tasks that were stored: a key, theirs or their event's, may have been held."""
        if posting.event is None and all(task.key is None for task in posting.tasks):
            return posting.tasks
        try:
            return [task for task in posting.tasks if self._store.get(task.id) is not None]
        except StoreError:  # nothing is told that is not sure
            return ()


def _report_of(run: Run, outcome: Outcome) -> Report:
    return Report(run.claim, outcome.fields, outcome.postings, run.task.serial)


def _without_values(fields: dict[str, Any], error: Exception) -> dict[str, Any]:
    """*fields* without what a handler may have put into them."""
    kept = {name: value for name, value in fields.items() if name not in ("history", "progress", "output")}
    if "result" in kept:
        kept["result"] = f"the end of this run could not be stored: {type(error).__name__}"
    return kept or {"progress": None}
