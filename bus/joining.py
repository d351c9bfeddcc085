"""Waits for the end of a task that another process or greenlet runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson import ObjectId

from .clock import Clock
from .errors import JoinTimeout, TaskFailed, TaskSkipped
from .model import COMPLETE, ENDED, READY, SKIPPED, MonQTask

FIRST_LOOK_SECONDS = 0.01
SLOWEST_LOOK_SECONDS = 0.5


def await_end(
    look: Callable[[ObjectId], MonQTask], task: MonQTask, timeout: float | None, clock: Clock
) -> Any:
    """Look at *task* again and again until it has ended; its result. Raises as MonQTask.join."""
    deadline = None if timeout is None else clock.monotonic() + timeout
    pause = FIRST_LOOK_SECONDS
    while (now := look(task.id)).state not in ENDED:
        if deadline is not None and clock.monotonic() >= deadline:
            raise _still(now, timeout)
        clock.sleep(pause)
        pause = min(pause * 1.5, SLOWEST_LOOK_SECONDS)
    return _result_of(now)


def _result_of(task: MonQTask) -> Any:
    if task.state == COMPLETE:
        return task.result
    text = task.result if isinstance(task.result, str) else repr(task.result)
    if task.state == SKIPPED:
        raise TaskSkipped(f"task {task.id} {task.task_name}: skipped: {text}")
    attempts = "1 attempt" if task.attempt == 1 else f"{task.attempt} attempts"
    raise TaskFailed(f"task {task.id} {task.task_name}: failed after {attempts}", text)


def _still(task: MonQTask, timeout: float | None) -> JoinTimeout:
    last = f"; last error: {task.history[-1].get('error')}" if task.history else _not_begun(task)
    return JoinTimeout(f"task {task.id} {task.task_name}: still {task.state}", timeout, last)


def _not_begun(task: MonQTask) -> str:
    """The question to somebody who waits for what no daemon has taken: often none runs."""
    return "; it has not begun: does a daemon run?" if task.state == READY else ""
