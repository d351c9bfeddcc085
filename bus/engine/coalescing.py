"""Of the tasks that wait under one serial key only one runs: the others end as skipped when the first begins.

Only then it is known what waits. Whoever dies in the middle is rescued, begins again, and finds the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from bson import ObjectId

from ..apps.registry import Task
from ..clock import Clock
from ..config import Hook
from ..errors import Cancel, StoreError
from ..model import READY, SKIPPED, MonQTask, State
from ..retry import Ending, Raised, Stopped
from ..store.contract import Archive
from ..telemetry import emit

PAGE: Final = 500
WAITING: Final[tuple[State, ...]] = (READY,)


class Coalescing:
    """Asks *store* what waits behind a task that begins; those that are skipped are kept for *keep*."""

    def __init__(
        self,
        store: Archive,
        clock: Clock,
        keep: Callable[[], timedelta],
        hooks: Callable[[], Mapping[str, Hook]] = dict,
    ) -> None:
        self._store = store
        self._clock = clock
        self._keep = keep
        self._hooks = hooks

    def ending(self, task: MonQTask, declared: Task[..., Any]) -> Ending | None:
        """The ending of *task*, which is not run as a later one is; None when it is to run. Blocks."""
        if task.serial is None or (mode := self._mode(task, declared)) is None:
            return None
        try:
            runs = self._settle(task, task.serial, is_latest=mode == "latest")
        except StoreError as error:
            return Stopped(f"what waits behind it could not be asked for: {error}")
        return None if runs == task.id else Raised(Cancel(_reason(runs)), "")

    def _mode(self, task: MonQTask, declared: Task[..., Any]) -> str | None:
        if declared.defaults.serial_by is not None:
            return declared.defaults.coalesce
        hook = self._hooks().get(task.event.hook or "") if task.event is not None else None
        return hook.coalesce or None if hook is not None else None

    def _settle(self, task: MonQTask, serial: str, *, is_latest: bool) -> ObjectId:
        """Skip what waits under *serial* and is not to run; the id of the one that is."""
        runs, count = task.id, 0
        if is_latest and (newest := self._store.line(serial, 1, newest=True).behind):
            runs = newest[0]
        while page := self._store.line(serial, PAGE).behind:
            ids = page[: page.index(runs)] if runs in page else page
            moved = self._skip(ids, runs)
            count += moved
            if len(ids) < PAGE or not moved:
                break
        count += runs != task.id  # that is skipped itself, by whoever runs it
        if count:
            emit("task.coalesced", task=task, into=runs, count=count)
        return runs

    def _skip(self, ids: list[ObjectId], runs: ObjectId) -> int:
        now = self._clock.now()
        fields: dict[str, Any] = {
            "state": SKIPPED,
            "result": _reason(runs),
            "time_stop": now,
            "expire_at": now + self._keep(),
        }
        return self._store.move(ids, WAITING, fields) if ids else 0


def _reason(runs: ObjectId) -> str:
    return f"coalesced: task {runs} runs in its place"
