"""What becomes of a task: one pure function from how a run ended to the fields to store.

===============  ======================================  ==========================================
ending           outcome                                 attempt
===============  ======================================  ==========================================
Returned         complete                                counts
Raised, Failed   retry after back-off, else give up      counts
Raised Retry     retry after its delay, else give up     counts
Raised Snooze    snooze                                  given back
Raised Cancel    cancel                                  counts
Overdue          as Raised                               counts
Stopped          release                                 given back
Crashed          release, the third time give up         given back, `crashes` counts instead
Crashed unproven release, the tenth time give up         given back, `crashes` counts instead
Unrunnable       give up                                 counts
===============  ======================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from traceback import format_exception, format_tb
from typing import Any, Final, Literal, NamedTuple

from .codec import storable_result
from .errors import Cancel, Retry, Snooze, Verdict
from .model import COMPLETE, ERROR, SKIPPED, MonQTask, Posting, ready_again
from .safe_text import shortened, without_surrogates

CRASH_LIMIT: Final = 3
DEATH_LIMIT: Final = 10
SNOOZE_SECONDS: Final = 60.0
LONGEST_BACKOFF_SECONDS: Final = 6 * 3600.0
HISTORY_LIMIT: Final = 20
TRACEBACK_LIMIT: Final = 32 * 1024
ERROR_LINE_LIMIT: Final = 500
CANCELLED: Final = "cancelled by its handler"

OutcomeKind = Literal["complete", "retry", "snooze", "give_up", "cancel", "release"]


class Returned(NamedTuple):
    """The handler returned *value*; *is_storable* when `storable_result` has seen it already."""

    value: Any
    is_storable: bool = False


class Raised(NamedTuple):
    """The handler raised *error*, printed as *traceback*."""

    error: BaseException
    traceback: str


class Failed(NamedTuple):
    """The handler raised in another process: the error in one *line*, printed as *traceback*."""

    line: str
    traceback: str


class Overdue(NamedTuple):
    """The handler was stopped, or found to have run, beyond its *seconds*."""

    seconds: float
    traceback: str


class Stopped(NamedTuple):
    """The run was cut short for a *reason* that is not the task's fault."""

    reason: str


class Crashed(NamedTuple):
    """The process that ran it is gone; *reason* says what is known of it.

    *proven*: nothing else ran in that process. When a daemon dies, whatever it ran was only there:
    it takes more such deaths to condemn it.
    """

    reason: str
    proven: bool = True


class Unrunnable(NamedTuple):
    """No run of it can come to an end, now or later, for this *reason*: another attempt would not help."""

    reason: str


Ending = Returned | Raised | Failed | Overdue | Stopped | Crashed | Unrunnable


@dataclass(frozen=True, slots=True)
class Policy:
    """The daemon's defaults: attempts for tasks that name none, days of keeping ended ones."""

    max_attempts: int = 8
    keep_complete: timedelta = timedelta(days=7)
    keep_failed: timedelta = timedelta(days=30)


class Outcome(NamedTuple):
    """What is decided, and the fields that make it so. *error* is its one line for people.

    *postings* are stored with it, or neither is.
    """

    kind: OutcomeKind
    fields: dict[str, Any]
    error: str = ""
    postings: Sequence[Posting] = ()


def backoff(attempt: int, chance: float) -> float:
    """Seconds before the attempt after *attempt* (1 = the first one failed).

    Faktory's curve, 15 + n⁴ + jitter, at most six hours: 15 s, 16 s, 31 s, 96 s, … apart.
    *chance* is a fraction from 0 to 1 that spreads tasks which failed together.
    """
    failed = attempt - 1
    return min(15 + failed**4 + 30 * chance * (failed + 1), LONGEST_BACKOFF_SECONDS)


def decide(
    task: MonQTask,
    ending: Ending,
    now: datetime,
    policy: Policy,
    *,
    limit: int | None = None,
    chance: float = 0.5,
) -> Outcome:
    """What becomes of *task*. *limit* is what its declaration says about max_attempts."""
    if isinstance(ending, Returned):
        value = ending.value if ending.is_storable else storable_result(ending.value)
        return _ended("complete", COMPLETE, task, now, policy, value)
    if isinstance(ending, Stopped):
        return _again("release", task, now, ending.reason, counted=False)
    if isinstance(ending, Crashed):
        return _crashed(task, ending, now, policy)
    if isinstance(ending, Unrunnable):
        return _ended("give_up", ERROR, task, now, policy, ending.reason, error=ending.reason)
    error = _error_line(ending)
    text = _cut(ending.traceback)
    if isinstance(ending, Raised) and isinstance(ending.error, Verdict):
        verdict = ending.error
        if isinstance(verdict, Cancel):
            reason = _cut(_text_of(verdict)) or CANCELLED
            return _ended("cancel", SKIPPED, task, now, policy, reason)._replace(
                error=shortened(reason, ERROR_LINE_LIMIT)
            )
        if isinstance(verdict, Snooze):
            pause = SNOOZE_SECONDS if verdict.delay is None else verdict.delay
            return _again("snooze", task, now + timedelta(seconds=pause), verdict.reason, counted=False)
    if task.attempt >= (task.max_attempts or limit or policy.max_attempts):
        return _ended("give_up", ERROR, task, now, policy, text, error=error)
    pause = backoff(task.attempt, chance)
    if isinstance(ending, Raised) and isinstance(ending.error, Retry) and ending.error.delay is not None:
        pause = ending.error.delay
    again = _again("retry", task, now + timedelta(seconds=pause), error, counted=True)
    again.fields.update(result=text, history=_history(task, now, error))
    return again


def has_failed(ending: Ending) -> bool | None:
    """Whether a run failed; None when its ending says nothing about it, as of one that was cancelled."""
    if isinstance(ending, Returned):
        return False
    if isinstance(ending, Raised):
        return None if isinstance(ending.error, Snooze | Cancel) else True
    return True if isinstance(ending, Failed | Overdue | Crashed) else None


def without_postings(
    task: MonQTask, outcome: Outcome, refusal: Exception, now: datetime, keep: timedelta
) -> Outcome:
    """The end in `error`, kept for *keep*, of a run whose *outcome* was refused for its postings."""
    line = _line(f"the tasks that this end posts were refused: {refusal}")
    until = None if task.result_type == "keep" else now + keep
    fields = {"time_stop": now, **outcome.fields, "state": ERROR, "result": line, "expire_at": until}
    return Outcome("give_up", fields, line)


def _crashed(task: MonQTask, ending: Crashed, now: datetime, policy: Policy) -> Outcome:
    """A crash is not a failure: it is counted apart, and the third one quarantines the task."""
    crashes = task.crashes + 1
    history = _history(task, now, f"crash {crashes}: {ending.reason}")
    if crashes >= (CRASH_LIMIT if ending.proven else DEATH_LIMIT):
        text = f"quarantined after {crashes} crashes: {ending.reason}"
        outcome = _ended("give_up", ERROR, task, now, policy, text, error=text)
    else:
        outcome = _again("release", task, now, ending.reason, counted=False)
    outcome.fields.update(crashes=crashes, history=history)
    return outcome


def _ended(  # noqa: PLR0917 - the six parts of an ended task
    kind: OutcomeKind,
    state: str,
    task: MonQTask,
    now: datetime,
    policy: Policy,
    result: Any,
    *,
    error: str = "",
) -> Outcome:
    keep = policy.keep_complete if state == COMPLETE else policy.keep_failed
    fields: dict[str, Any] = {
        "state": state,
        "result": result,
        "time_stop": now,
        "expire_at": None if task.result_type == "keep" else now + keep,
    }
    if error:
        fields["history"] = _history(task, now, error)
    return Outcome(kind, fields, error)


def _again(kind: OutcomeKind, task: MonQTask, when: datetime, reason: str, *, counted: bool) -> Outcome:
    fields = ready_again(task.attempt if counted else max(task.attempt - 1, 0))
    if kind != "release":  # which keeps its place in the queue
        fields["time_queue"] = when
    return Outcome(kind, fields, reason)


def _history(task: MonQTask, now: datetime, error: str) -> list[dict[str, Any]]:
    entry = {"attempt": task.attempt, "at": now, "process": task.process, "error": error}
    return [*task.history, entry][-HISTORY_LIMIT:]


def failure(error: BaseException, traceback: str) -> Failed:
    """What can be told to another process of an *error*: plain text within bounds. Never raises."""
    return Failed(_error_line(Raised(error, traceback)), _cut(traceback))


def traceback_of(error: BaseException) -> str:
    """The traceback of a handler's *error* from its own frame on. Never raises, whatever *error* does.

    To be called in the function that called the handler: its own frame is left out.
    """
    try:
        step = error.__traceback__
        inner = step.tb_next if step is not None and step.tb_next is not None else step
        return "".join(format_exception(type(error), error, inner))
    except BaseException as fault:  # noqa: BLE001 - printing runs code of the handler's: notes, causes, properties
        frames = "".join(format_tb(BaseException.__getattribute__(error, "__traceback__")))
        return f"{frames}{type(error).__name__}: cannot be printed ({type(fault).__name__})\n"


def _error_line(ending: Raised | Failed | Overdue) -> str:
    if isinstance(ending, Overdue):
        return f"TimedOut: ran longer than its timeout of {ending.seconds:g} s"
    if isinstance(ending, Failed):
        return _line(ending.line)
    return _line(f"{type(ending.error).__name__}: {_text_of(ending.error)}")


def _line(text: str) -> str:
    """*text* as one line of a history has it."""
    return shortened(without_surrogates(text), ERROR_LINE_LIMIT)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a user's __str__ may do anything, sys.exit() too
        return "<str() of the exception failed>"


def _cut(text: str) -> str:
    """*text* within TRACEBACK_LIMIT, without its middle: the first and last frames tell most."""
    text = without_surrogates(text)
    if len(text) <= TRACEBACK_LIMIT:
        return text
    half = TRACEBACK_LIMIT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
