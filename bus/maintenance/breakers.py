"""Circuit breakers: pause a task that fails too often, try one now and then, go on when one succeeds.

Failures are counted in a record that all daemons share, and an open breaker is a pause, so that both hold in
every daemon and over restarts. Whoever writes into the pause when the next one is due may try it: one daemon,
one task. A daemon that dies meanwhile holds nothing up, because the next moment is written before the try.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from bson import ObjectId

from ..apps.registry import Task
from ..breaker import BY, KIND, Threshold, counted, reason, threshold_of
from ..clock import Clock
from ..engine.loop import Loop
from ..model import BUSY, COMPLETE, MonQTask, Record
from ..pauses import KIND as PAUSE
from ..pauses import TASK, Pause, covering, pauses_of
from ..store import Store
from ..telemetry import emit
from .pause_monitor import PauseMonitor

LOOK_SECONDS: Final = 1.0
PERIOD_SECONDS: Final = 5.0
TRIES: Final = 3

Tasks = Callable[[], Mapping[str, Task[..., Any]]]


class Trier(Protocol):
    """Begins one task although its name is paused; Lanes in the daemon."""

    def may_try(self, name: str) -> bool:
        """Whether one may begin here now."""

    def try_one(self, name: str) -> MonQTask | None:
        """Begin one; None when none is due."""


class Breakers:
    """*monitor* knows what is paused; *tasks* are those that are declared."""

    def __init__(self, store: Store, clock: Clock, monitor: PauseMonitor, trier: Trier, tasks: Tasks) -> None:
        self.loop = Loop("breakers", self.look, PERIOD_SECONDS, clock)
        self._store = store
        self._clock = clock
        self._monitor = monitor
        self._trier = trier
        self._tasks = tasks
        self._failed: dict[str, deque[datetime]] = {}
        self._errors: dict[str, str] = {}
        self._tried: dict[str, ObjectId] = {}
        self._succeeded: set[str] = set()

    def note(self, task: MonQTask, has_failed: bool | None, error: str) -> None:
        """A run of a task with a breaker has ended. Never blocks."""
        name = task.task_name
        if has_failed is False and self._tried.get(name) == task.id:
            self._succeeded.add(name)
            self.loop.wake()
        if not has_failed or (threshold := self._threshold(name)) is None:
            return
        failed = self._failed.setdefault(name, deque(maxlen=threshold.failures))
        failed.append(self._clock.now())
        self._errors[name] = error
        if len(failed) == threshold.failures:  # else once a second is enough
            self.loop.wake()

    def look(self) -> float:
        """Count what has failed, try what is due, end what has succeeded. Blocks as the store does."""
        if self._failed:
            self._count()
        open_now = [one for one in self._monitor.pauses if one.probe is not None]
        for name in self._tried.keys() - {pause.name for pause in open_now}:  # an operator has resumed it
            self._forget(name)
        for pause in open_now:
            self._attend(pause)
        return LOOK_SECONDS

    def _threshold(self, name: str) -> Threshold | None:
        declared = self._tasks().get(name)
        text = declared.defaults.open_after if declared is not None else ""
        return threshold_of(text) if text else None

    # closed

    def _count(self) -> None:
        """Add what has failed here to what has failed in all daemons; enough of it opens a breaker."""
        failed, self._failed = self._failed, {}
        try:
            stored = {record.name: record for record in self._store.records(KIND)}
            changes = {
                name: self._added(name, moments, stored.get(name, Record(KIND, name, {})))
                for name, moments in failed.items()
                if not self._is_paused(name)  # what ran when it was paused may fail, too
            }
            written = self._store.keep_records(list(changes.values())) if changes else []
        except BaseException:
            for name, moments in failed.items():
                self._put_back(name, moments)
            raise
        for name, is_written in zip(changes, written, strict=True):
            if not is_written:  # another daemon was faster: at the next look
                self._put_back(name, failed[name])

    def _added(self, name: str, failed: deque[datetime], record: Record) -> Record:
        """The *record* of what has failed with more of it; without any when that has opened the breaker."""
        if (threshold := self._threshold(name)) is None:  # it was declared otherwise meanwhile
            return replace(record, fields={"at": []})
        moments = counted(record.fields, failed, threshold, self._clock.now())
        if len(moments) >= threshold.failures:
            self._open(name)
            moments = []
        return replace(record, fields={"at": moments})

    def _is_paused(self, name: str) -> bool:
        return any((one.what, one.name) == (TASK, name) for one in self._monitor.pauses)

    def _put_back(self, name: str, failed: deque[datetime]) -> None:
        self._failed.setdefault(name, deque(maxlen=failed.maxlen)).extendleft(reversed(failed))

    def _open(self, name: str) -> None:
        opened = self._opened(name, self._clock.now())
        if self._store.keep_records([opened.record]) == [True]:  # else somebody has just paused it
            emit("breaker.opened", name=name, reason=opened.reason)
        self._monitor.look()

    def _opened(self, name: str, now: datetime) -> Pause:
        options = self._tasks()[name].defaults
        why = reason(options.open_after, self._errors.pop(name, ""), options.probe)
        at = now + timedelta(seconds=options.probe)
        return Pause(TASK, name, why, now, by=BY, probe=options.probe, probe_at=at)

    # open

    def _attend(self, pause: Pause) -> None:
        """Close it when the last task that was tried has succeeded; else try one when that is due."""
        name = pause.name
        if name in self._succeeded:
            self._close(pause)
            return
        now, probe = self._clock.now(), timedelta(seconds=pause.probe or 0.0)
        is_due = pause.probe_at is None or not now < pause.probe_at <= now + probe  # a clock may be set back
        others = [one for one in self._monitor.pauses if one is not pause]
        if not is_due or covering(others, TASK, name) is not None or not self._trier.may_try(name):
            return
        last = self._store.get(pause.trying) if pause.trying is not None else None
        if last is not None and last.state == BUSY:
            return  # one at a time
        if last is not None and last.state == COMPLETE:
            self._close(pause)  # whoever has tried it has died before it could
            return
        self._try(replace(pause, probe_at=now + probe, trying=None))

    def _try(self, pause: Pause) -> None:
        """Try one if this daemon is the first to write that it does."""
        if self._store.keep_records([pause.record]) != [True]:
            self._monitor.look()
            return
        written = replace(pause, version=pause.version + 1)
        task = self._trier.try_one(pause.name)
        if task is not None:
            self._tried[pause.name] = task.id
            emit("breaker.probed", name=pause.name, task_id=task.id)
            self._store.keep_records([replace(written, trying=task.id).record])
        self._monitor.look()

    def _close(self, pause: Pause) -> None:
        for _ in range(TRIES):
            stored = self._stored_pause(pause.name)
            if stored is None or stored.probe is None:  # an operator has resumed it, or holds it up
                break
            if self._store.keep_records([replace(stored.record, fields={})]) == [True]:
                emit("breaker.closed", name=pause.name)
                break
        else:
            return  # at the next look
        self._forget(pause.name)
        self._monitor.look()

    def _forget(self, name: str) -> None:
        self._succeeded.discard(name)
        self._tried.pop(name, None)

    def _stored_pause(self, name: str) -> Pause | None:
        stored = pauses_of(self._store.records(PAUSE))
        return next((one for one in stored if (one.what, one.name) == (TASK, name)), None)
