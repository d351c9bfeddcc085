"""Notices from an OS thread that the hub is blocked, and names the task that blocks it.

A handler that computes, or waits inside a C call, stops every other task and every request; the hub
itself could tell only afterwards. The thread asks it to turn at each look and reads from its stack
what blocks it: nothing is traced, a switch between greenlets costs what it always did.
"""

from __future__ import annotations

import sys
from _queue import Empty, SimpleQueue  # blocks a native thread; gevent replaces that of `queue`
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from ..clock import Clock
from ..engine.executor import Executor
from ..engine.health import Health
from ..model import MonQTask
from ..telemetry import emit

LOOK_SECONDS: Final = 0.4
BLOCKED_SECONDS: Final = 0.5  # a block is told when it is between this and 0.9 s old
RECENT_SECONDS: Final = 10.0
PERIOD_SECONDS: Final = 5.0
"""It looks more often; a machine with much to do lets a thread wait."""
PLACES: Final = 3
"""Innermost lines that are told; the handler's own stands behind them."""
REMEDY: Final = (
    "declare the task cpu=True when it computes, or let it yield: gevent.sleep(0); "
    "when it waits in a C library, call that by gevent.get_hub().threadpool.apply"
)

RUN: Final[CodeType] = Executor.run.__code__


@dataclass(frozen=True, slots=True)
class Block:
    """A time in which the hub did not turn.

    *since* on the monotonic clock in seconds, *task* None when no task did it, *at* the lines it stands at.
    """

    since: float
    task: MonQTask | None
    at: str

    @property
    def fields(self) -> dict[str, Any]:
        """What the facts about it carry."""
        return {"task": self.task, "at": self.at} if self.task else {"at": self.at}


class Watchdog:
    """Watches the hub of the thread that makes it.

    *tell* is a listener of facts that is called from the watchdog's own thread, with `hub.blocked`
    while the block lasts; everybody else hears `hub.unblocked`, from the hub, when it is over.
    """

    def __init__(self, clock: Clock, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._hub = gevent.get_hub()
        self._bell = self._hub.loop.async_(ref=False)
        self._is_over: SimpleQueue[None] = SimpleQueue()
        self._thread = ThreadPool(1)
        self._has_turned = True
        self._turned_at = self._asked_at = clock.monotonic()
        self._block: Block | None = None
        self._last: Block | None = None
        self._last_seconds = 0.0
        self._is_stopping = False
        self.health = Health("watchdog", PERIOD_SECONDS, clock)

    def start(self) -> None:
        """Begin to look. Never blocks."""
        self._bell.start(self._turned)
        self.health.succeed()
        self._thread.spawn(self._watch).rawlink(self._ended)

    def stop(self) -> None:
        """End the thread; blocks for a moment."""
        self._is_stopping = True
        self._is_over.put(None)
        self._thread.join()
        self._thread.kill()
        self._bell.stop()
        self._bell.close()

    @property
    def complaint(self) -> str | None:
        """Which task blocks the hub or did so in the last RECENT_SECONDS, and what helps; else None."""
        block = self._block or self._last
        if block is None or block.task is None:
            return None
        seconds = self._age(block.since) if block is self._block else self._last_seconds
        if self._age(block.since) - seconds > RECENT_SECONDS:
            return None
        return f"hub: blocked for {seconds:.1f} s by task {block.task.task_name} ({block.task.id}); {REMEDY}"

    @property
    def latest(self) -> str:
        """The last block since the start: its length, whose, how long ago; "" when there was none."""
        block = self._block or self._last
        if block is None:
            return ""
        is_on = block is self._block
        seconds = self._age(block.since) if is_on else self._last_seconds
        who = f"task {block.task.task_name} ({block.task.id})" if block.task is not None else "no task"
        when = "now" if is_on else f"{max(0.0, self._age(block.since) - seconds):.0f} s ago"
        return f"blocked for {seconds:.1f} s by {who}, {when}"

    def _age(self, moment: float) -> float:
        return self._clock.monotonic() - moment

    # in the hub

    def _turned(self) -> None:
        self._has_turned = True
        self._turned_at = self._clock.monotonic()
        block, self._block = self._block, None
        if block is not None:
            self._last, self._last_seconds = block, self._age(block.since)
            emit("hub.unblocked", **block.fields, seconds=self._last_seconds)

    def _ended(self, thread: AsyncResult) -> None:
        if not self._is_stopping:
            self.health.die(thread.exception or "its thread has ended")

    # in the thread

    def _watch(self) -> None:
        while self._goes_on():
            self.health.begin()
            try:
                self._look()
                self.health.end(0.0)
            except Exception as error:  # noqa: BLE001 - it goes on; whoever looks at its record sees it
                self.health.fail(error)
                print(f"monqbus: watchdog: {error!r}", file=sys.__stderr__)

    def _goes_on(self) -> bool:
        try:
            self._is_over.get(timeout=LOOK_SECONDS)
        except Empty:
            return True
        return False

    def _look(self) -> None:
        if self._has_turned:
            self._has_turned = False
            self._asked_at = self._clock.monotonic()
            self._bell.send()
            return
        seconds = self._stands_still()
        if self._block is not None or seconds < BLOCKED_SECONDS:
            return
        block = Block(self._clock.monotonic() - seconds, *_scene(self._hub.thread_ident))
        if not self._has_turned:  # else it was over while we looked
            self._block = block
            remedy = {"remedy": REMEDY} if block.task else {}
            self._tell("hub.blocked", {**block.fields, "seconds": seconds, **remedy})

    def _stands_still(self) -> float:
        """For how many seconds the hub's present turn has lasted.

        The hub knows only by the wall clock when it began, and that may have been set since: it is
        believed between what is certain, that the hub turned once and has not since it was asked.
        """
        told: float = self._clock.wall().timestamp() - self._hub.loop.now()
        return min(max(told, self._age(self._asked_at)), self._age(self._turned_at))


def _scene(thread: int) -> tuple[MonQTask | None, str]:
    """The task whose handler *thread* is in, if any, and its lines: the innermost, and the handler's own."""
    frame = sys._current_frames().get(thread)
    places: list[str] = []
    while frame is not None and frame.f_code is not RUN:
        if frame.f_code.co_filename != RUN.co_filename:
            places.append(_place(frame))
        frame = frame.f_back
    task = frame.f_locals["run"].task if frame is not None else None
    if task is not None and len(places) > PLACES + 1:
        places[PLACES:-1] = ["…"]
    return task, " < ".join(places[: PLACES + 2])


def _place(frame: FrameType) -> str:
    """A line as people look for it: folder, file, number, function."""
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno} {frame.f_code.co_name}"
