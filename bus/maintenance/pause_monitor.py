"""Knows which pauses hold at this moment, in this daemon, and ends those whose time is over.

The store has them, so that they hold in every daemon and over restarts; each daemon looks once a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from gevent.lock import RLock

from ..clock import Clock
from ..engine.loop import Loop
from ..pauses import HOOK, KIND, SCHEDULE, TASK, Pause, covering, pauses_of
from ..store.contract import Records
from ..telemetry import emit

LOOK_SECONDS: Final = 1.0
PERIOD_SECONDS: Final = 5.0
"""A look may take as long as a call to the store."""
SHORTEST_SECONDS: Final = 0.001
MOST_REMARKED: Final = 3
MOST_ENDED: Final = 100
"""So many pauses are remembered when they have ended, for the reason why something came late."""

Key = tuple[str, str]


class PauseMonitor:
    """*changed* is called when other pauses hold than before; it must not block.

    *tasks_of_hook* has the names of the tasks of a hook's handlers in this daemon, none for one it has not.
    """

    def __init__(
        self,
        store: Records,
        clock: Clock,
        changed: Callable[[], object],
        tasks_of_hook: Callable[[str], Collection[str]] = lambda _: (),
    ) -> None:
        self.loop = Loop("pause monitor", self.look, PERIOD_SECONDS, clock)
        self.pauses: Sequence[Pause] = ()
        """Those that hold now."""
        self._store = store
        self._clock = clock
        self._changed = changed
        self._tasks_of_hook = tasks_of_hook
        self._ended: deque[tuple[Pause, datetime]] = deque(maxlen=MOST_ENDED)
        self._turn = RLock()  # of two that look at once the later one must not be undone by the earlier

    def look(self) -> float:
        """Read what is stored, and act on it; the seconds until the next look. Blocks as the store does."""
        with self._turn:
            stored = pauses_of(self._store.records(KIND))
            now = self._clock.now()
            over = [pause for pause in stored if pause.is_over(now)]
            holding = [pause for pause in stored if not pause.is_over(now)]
            grown = [self._with_new_handlers(pause) for pause in holding]
            self._take_in(grown)
            changed = [replace(pause.record, fields={}) for pause in over]
            changed += [
                pause.record for pause, before in zip(grown, holding, strict=True) if pause is not before
            ]
            if changed:
                self._store.keep_records(changed)  # or another daemon has just done so
        ends = [pause.until for pause in self.pauses if pause.until is not None]
        ahead = min(((end - now).total_seconds() for end in ends), default=LOOK_SECONDS)
        return min(LOOK_SECONDS, max(ahead, SHORTEST_SECONDS))

    def is_task_paused(self, name: str) -> bool:
        """Whether no task of this name may begin."""
        return covering(self.pauses, TASK, name) is not None

    def was_task_paused(self, name: str, since: datetime) -> bool:
        """Whether a task of this name was paused at some moment from *since* on, as far as is remembered."""
        ended = [pause for pause, at in self._ended if at > since]
        return covering([*self.pauses, *ended], TASK, name) is not None

    def is_schedule_paused(self, name: str) -> bool:
        """Whether this schedule must not fire."""
        return covering(self.pauses, SCHEDULE, name) is not None

    def describe(self) -> list[str]:
        """Each that holds, and why, in a sentence."""
        return [f"{pause.title}: {pause.sentence}" for pause in self.pauses]

    @property
    def remark(self) -> str | None:
        """What is worth saying of them; None when there are none."""
        told = [f"paused: {sentence}" for sentence in self.describe()[:MOST_REMARKED]]
        if len(self.pauses) > MOST_REMARKED:
            told.append(f"and {len(self.pauses) - MOST_REMARKED} more pauses")
        return "; ".join(told) or None

    def _with_new_handlers(self, pause: Pause) -> Pause:
        """A *pause* of a hook with the handlers that it has got here since."""
        if pause.what != HOOK:
            return pause
        new = sorted(set(self._tasks_of_hook(pause.name)) - set(pause.tasks))
        return replace(pause, tasks=(*pause.tasks, *new)) if new else pause

    def _take_in(self, pauses: Sequence[Pause]) -> None:
        before, after = _by_key(self.pauses), _by_key(pauses)
        self.pauses = pauses
        if before == after:
            return
        self._changed()
        for key, pause in after.items():
            if _told_of(before.get(key)) != _told_of(pause):
                told = {"since": pause.since, "until": pause.until, "by": pause.by}
                emit("pause.began", paused=pause.title, reason=pause.reason, **told)
        for key, pause in before.items():
            if key not in after:
                self._ended.append((pause, self._clock.now()))
                emit("pause.ended", paused=pause.title, reason=pause.reason, since=pause.since)


def _told_of(pause: Pause | None) -> Pause | None:
    """What of a *pause* is worth a fact when it changes."""
    return pause and replace(pause, version=0, tasks=(), probe_at=None, trying=None)


def _by_key(pauses: Sequence[Pause]) -> dict[Key, Pause]:
    return {(pause.what, pause.name): pause for pause in pauses}
