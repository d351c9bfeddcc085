"""Lets the answers to deliveries wait until the tasks of their events have ended.

The facts of this daemon say when, and the store what the end was. Other daemons' ends are found by looking:
one question for all who wait, every LOOK_SECONDS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from bson import ObjectId

from ..clock import Clock
from ..errors import StoreError
from ..filter_checks import MOST_VALUES
from ..model import COMPLETE, ERROR, SKIPPED, Filter, MonQTask
from ..telemetry import listen

LOOK_SECONDS: Final = 0.5
_ENDS: Final = frozenset({"task.finished", "task.gave_up", "task.skipped"})
_ENDED_STATES: Final = (COMPLETE, ERROR, SKIPPED)


class Signal(Protocol):
    """What one greenlet waits for and another one sets: `gevent.event.Event`."""

    def set(self) -> Any:
        """Wake who waits, now or later."""

    def clear(self) -> Any:
        """Let the next one wait again."""

    def wait(self, timeout: float | None = None) -> Any:
        """Block until it is set or *timeout* seconds are over."""


class _Waiter:
    """One who waits for the ends of tasks, of which some are *missing*."""

    def __init__(self, task_ids: Collection[ObjectId], signal: Signal) -> None:
        self.signal = signal
        self.task_ids = frozenset(task_ids)
        self.missing = set(task_ids)
        self.heard: set[ObjectId] = set()
        self.ended: dict[ObjectId, MonQTask] = {}

    def hear(self, task_id: ObjectId) -> None:
        self.heard.add(task_id)
        if self.missing <= self.heard:
            self.signal.set()

    def take(self, task: MonQTask) -> None:
        if task.id in self.missing:
            self.missing.remove(task.id)
            self.ended[task.id] = task
            if not self.missing:
                self.signal.set()


class Endings:
    """At most *most* wait at the same time. *find* is the store's.

    Facts are listened to while somebody waits; *new_signal* makes what each of them waits for.
    """

    def __init__(
        self,
        find: Callable[..., Sequence[MonQTask]],
        clock: Clock,
        most: int,
        new_signal: Callable[[], Signal],
    ) -> None:
        self._find = find
        self._clock = clock
        self._most = most
        self._new_signal = new_signal
        self._waiting: dict[_Waiter, None] = {}
        self._by_task: dict[ObjectId, list[_Waiter]] = {}
        self._forget: Callable[[], None] = lambda: None
        self._next_look = 0.0
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._waiting)

    def close(self) -> None:
        """Let nobody wait any longer, nor from now on. Never blocks."""
        self._is_closed = True
        for waiter in self._waiting:
            waiter.signal.set()

    def wait_for(
        self, task_ids: Sequence[ObjectId], seconds: float, *, brief: bool = True
    ) -> list[MonQTask] | None:
        """These tasks once all have ended, in their order; None when *seconds* are over, or it may not wait.

        Blocks. *brief* ones are without arguments and output. A task that somebody deletes has no end, and
        none is looked for under an id of another kind.
        """
        if self._is_closed or self.waiting >= self._most or len(task_ids) > MOST_VALUES:
            return None
        if not all(type(task_id) is ObjectId for task_id in task_ids):
            return None
        deadline = self._clock.monotonic() + seconds
        with self._listening(_Waiter(task_ids, self._new_signal())) as waiter:
            self._look([waiter])  # some may have ended before anybody listened
            while waiter.missing and not self._is_closed:
                now = self._clock.monotonic()
                if now >= deadline:
                    return None
                if now >= self._next_look:
                    self._next_look = now + LOOK_SECONDS
                    self._look(self._waiting)
                elif waiter.signal.wait(min(deadline, self._next_look) - now):
                    waiter.signal.clear()
                    waiter.heard.clear()
                    self._look([waiter])
            if waiter.missing:
                return None
            ended = waiter.ended if brief else {task.id: task for task in self._found(task_ids, brief=False)}
            return [ended.get(task_id, waiter.ended[task_id]) for task_id in task_ids]

    @contextmanager
    def _listening(self, waiter: _Waiter) -> Iterator[_Waiter]:
        if not self._waiting:
            self._forget = listen(self._hear, logging.INFO)
            self._next_look = self._clock.monotonic() + LOOK_SECONDS
        self._waiting[waiter] = None
        for task_id in waiter.task_ids:
            self._by_task.setdefault(task_id, []).append(waiter)
        try:
            yield waiter
        finally:
            del self._waiting[waiter]
            for task_id in waiter.task_ids:
                self._by_task[task_id].remove(waiter)
                if not self._by_task[task_id]:
                    del self._by_task[task_id]
            if not self._waiting:
                self._forget()

    def _hear(self, fact: str, fields: Mapping[str, Any]) -> None:
        if fact in _ENDS:
            task_id = fields["task"].id
            for waiter in self._by_task.get(task_id, ()):
                waiter.hear(task_id)

    def _look(self, waiters: Collection[_Waiter]) -> None:
        """Ask the store once for all *waiters*; while it does not answer, nothing has ended."""
        waiters = tuple(waiters)  # others come and go while the store is asked
        missing = list({task_id: None for waiter in waiters for task_id in waiter.missing})[:MOST_VALUES]
        if not missing:
            return
        for task in self._found(missing):
            for waiter in waiters:
                waiter.take(task)

    def _found(self, task_ids: Sequence[ObjectId], *, brief: bool = True) -> Sequence[MonQTask]:
        """Those of the tasks that have ended."""
        asked = Filter(ids=tuple(task_ids), states=_ENDED_STATES)
        try:
            return self._find(asked, len(task_ids), brief=brief)
        except StoreError:
            return ()
