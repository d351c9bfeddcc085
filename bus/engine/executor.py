"""Executes one run: resolve the name, call the handler, decide the outcome, hand it to the recorder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..apps.command import Command
from ..apps.context import restored
from ..apps.ending import raised, returned
from ..apps.registry import Registry, Task
from ..apps.running_task import RunningTask
from ..clock import Clock
from ..errors import BadArguments, Interrupt, TimedOut
from ..model import MonQTask
from ..retry import (
    Crashed,
    Ending,
    Outcome,
    Overdue,
    Policy,
    Raised,
    Stopped,
    Unrunnable,
    decide,
    has_failed,
    traceback_of,
)
from ..telemetry import emit
from .cpu_runner import CpuRunner
from .output import current
from .recorder import Recorder
from .run import Run, running_task

BEREFT: Final = (
    "not run: the delivery it is about is no longer stored, and its handler would work on nothing; "
    "let the sender send it again"
)


class Executor:
    """Carries claimed tasks from busy to their outcome. Never raises.

    *default_timeout* in seconds, None for none, counts for tasks that name none.
    """

    cpu_runner: CpuRunner | None = None
    """How runs reach the CPU workers; without it every handler runs in this process."""
    scheduled: Callable[[MonQTask], object] = staticmethod(lambda _: None)
    """Told of each task that a schedule has posted when it begins."""
    ended: Callable[[MonQTask, bool | None, str], object] = staticmethod(lambda *_: None)
    """Told of each run of a task with a circuit breaker: whether it has failed, None for neither, and how."""

    def __init__(
        self,
        registry: Callable[[], Registry],
        recorder: Recorder,
        clock: Clock,
        policy: Policy,
        *,
        default_timeout: float | None = None,
    ) -> None:
        self._registry = registry
        self._recorder = recorder
        self._clock = clock
        self.policy = policy
        self.note = recorder.note
        """Takes progress reports; the daemon lets them come from other threads, too."""
        self.default_timeout = default_timeout

    def run(self, run: Run) -> None:
        """Perform and decide; blocks as long as the handler does, never on the store."""
        run.enter()
        declared = self._registry().tasks.get(run.task.task_name)
        try:
            ending = self._ending(run, declared)
        except BaseException as error:  # noqa: BLE001 - whatever happened, the task must have an end
            ending = Raised(error, traceback_of(error))
        run.is_over = True
        try:
            outcome = self._decide(run, ending, declared)
        except BaseException as error:  # noqa: BLE001 - reading what a handler left behind runs its code
            fault = RuntimeError(f"its end could not be read: {type(error).__name__}")
            outcome = self._decide(run, Raised(fault, traceback_of(fault)), declared)
        self._recorder.put(run, outcome)
        if declared is not None and declared.defaults.open_after:
            self.ended(run.task, has_failed(ending), outcome.error)

    def _ending(self, run: Run, declared: Task[..., Any] | None) -> Ending:
        if run.interrupted is not None:
            return Stopped(type(run.interrupted).__name__)
        if declared is None:
            return Stopped("no task of this name is registered any more")
        if run.task.is_bereft:
            return Unrunnable(BEREFT)
        return self._perform(run, declared)

    def _decide(self, run: Run, ending: Ending, declared: Task[..., Any] | None) -> Outcome:
        limit = declared.defaults.max_attempts if declared else None
        chance = self._clock.chance()
        outcome = decide(run.task, ending, self._clock.now(), self.policy, limit=limit, chance=chance)
        if (output := run.output.text()) is not None:
            outcome.fields["output"] = output
        has_survived = not isinstance(ending, Crashed | Stopped | Unrunnable)
        if has_survived and declared is not None and self._is_suspect(run.task, declared):
            outcome.fields["crashes"] = 0  # others brought those daemons down
        return outcome

    def _perform(self, run: Run, declared: Task[..., Any]) -> Ending:
        task = run.task
        seconds = task.timeout or declared.defaults.timeout or self.default_timeout
        emit("task.started", task=task)
        if task.scheduled_for is not None:
            self.scheduled(task)
        running = running_task(run, self.note)
        is_suspect = self._is_suspect(task, declared)
        if self.cpu_runner is not None and (declared.defaults.cpu or is_suspect):
            try:
                return self.cpu_runner.perform(run, running, seconds, alone=is_suspect)
            except Interrupt as interrupt:
                return _interrupted(interrupt, seconds)
        return self._perform_here(run, running, declared, seconds)

    def _is_suspect(self, task: MonQTask, declared: Task[..., Any]) -> bool:
        """Whether *task* may have brought down a daemon, or only been there: its next run will tell."""
        is_here = not declared.defaults.cpu and not isinstance(declared.function, Command)
        return (
            task.crashes > 0
            and is_here
            and self.cpu_runner is not None
            and not self.cpu_runner.worker_pool.is_lost
        )

    def _perform_here(
        self, run: Run, running: RunningTask, declared: Task[..., Any], seconds: float | None
    ) -> Ending:
        task = run.task
        args = _arguments(task)
        ending: Ending
        token = current.set(run.output)
        try:
            with restored(task.context, task=running):
                if seconds:
                    with run.limited_to(seconds):
                        value = declared.function(*args, **task.kwargs)
                else:
                    value = declared.function(*args, **task.kwargs)
            ending = returned(declared, value)
        except Interrupt as interrupt:
            return _interrupted(interrupt, seconds)
        except BadArguments as error:
            return Unrunnable(f"{type(error).__name__}: {error}")
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its task, not the daemon
            ending = raised(declared, error, traceback_of(error), args, task.kwargs)
        finally:
            current.reset(token)
        return self._swallowed(run, seconds) or ending

    def _swallowed(self, run: Run, seconds: float | None) -> Ending | None:
        """The ending of a run whose handler has caught the interrupt, or never yielded."""
        if run.interrupted is not None:
            return _interrupted(run.interrupted, seconds)
        if seconds and self._clock.monotonic() - run.started > seconds:
            return Overdue(seconds, "the handler did not yield, so it could not be stopped in time\n")
        return None


def _arguments(task: MonQTask) -> list[Any]:
    """What the handler is called with: a delivery's handler gets the event itself."""
    return [task.topic, task.event] if task.event is not None else task.args


def _interrupted(interrupt: Interrupt, seconds: float | None) -> Ending:
    if isinstance(interrupt, TimedOut):
        return Overdue(seconds or 0.0, traceback_of(interrupt))
    return Stopped(type(interrupt).__name__)
