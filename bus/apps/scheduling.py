"""`@schedule`: a task of an app that is posted at set times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..codec import storable
from ..errors import BadDeclaration, NotStorable
from ..safe_text import shown
from ..schedules import MISSED, OVERLAP, Missed, Moments, Overlap, Schedule
from .options import Options
from .registry import Task, being_filled

if TYPE_CHECKING:
    from ..config.value_types import ValueType

P = ParamSpec("P")
R = TypeVar("R")
Span = float | timedelta


def schedule(
    cron: str = "",
    /,
    *,
    every: Span | str = "",
    at: datetime | str = "",
    start: datetime | str = "",
    timezone: str = "UTC",
    name: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    priority: int | None = None,
    jitter: Span = 0.0,
    missed: Missed = "once",
    missed_within: Span = 3600.0,
    overlap: Overlap = "allow",
    lateness: Span = 60.0,
) -> Callable[[Task[P, R]], Task[P, R]]:
    """Post the task below at set times: exactly one of *cron*, *every* and *at*.

    *every* and the other spans in seconds, as a timedelta, or *every* as text like ``15m``. Without a *name*
    the schedule is called as the task. The handler finds the moment in ``c.task.scheduled_for``. Raises
    BadDeclaration.
    """
    declared = Schedule(
        name or "",
        _moments({"cron": cron, "every": every, "at": at, "start": start, "timezone": timezone}),
        args=tuple(args),
        kwargs=dict(kwargs or {}),
        priority=Options(priority=priority).priority,
        missed=_one_of("missed", missed, MISSED),
        overlap=_one_of("overlap", overlap, OVERLAP),
        jitter=_seconds("jitter", jitter),
        missed_within=_seconds("missed_within", missed_within),
        lateness=_seconds("lateness", lateness),
    )

    def declare(task: Task[P, R]) -> Task[P, R]:
        _plan(declared, task)
        return task

    return declare


def _plan(schedule: Schedule, task: Task[P, R]) -> None:
    if not isinstance(task, Task):
        raise BadDeclaration(
            f"@schedule: expected a task, got {shown(task, 80)}; write it above @task or @event_handler"
        )
    try:
        storable(list(schedule.args), dict(schedule.kwargs), {})
    except NotStorable as error:
        raise BadDeclaration(f"@schedule of {task.name}: {error}") from error
    task.expect(schedule.args, schedule.kwargs)
    name = schedule.name or task.name
    being_filled().plan(replace(schedule, name=name, task=task.name, where=task.where, is_decorated=True))


def _moments(given: Mapping[str, Any]) -> Moments:
    from ..config.moments import (
        CRON,
        EVERY,
        MOMENT,
        ZONE,
    )  # only whoever has schedules needs the configuration
    from ..config.schedules import moments_of

    ways = [way for way in ("cron", "every", "at") if given[way]]
    if len(ways) != 1:
        raise BadDeclaration(
            f"@schedule: expected exactly one of a cron expression, every= and at=, got {len(ways)}; "
            "write for example @schedule('15 3 * * *')"
        )
    every, at, start = given["every"], given["at"], given["start"]
    if not isinstance(every, str):
        seconds = _seconds("every", every)
        every = f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds}s"
    values = {
        "cron": _read("cron", CRON, given["cron"]),
        "every": _read("every", EVERY, every if "every" in ways else ""),
        "at": at if isinstance(at, datetime) else _read("at", MOMENT, at),
        "start": start if isinstance(start, datetime) else _read("start", MOMENT, start),
        "timezone": _read("timezone", ZONE, given["timezone"]),
    }
    try:
        return moments_of(values)
    except ValueError as error:
        raise BadDeclaration(f"@schedule: {error}") from error


def _read(option: str, kind: ValueType[Any], text: object) -> Any:
    if not isinstance(text, str):
        raise BadDeclaration(f"@schedule: {option}: expected {kind.expected}, got {shown(text, 80)}")
    from ..config.value_types import Unfit

    try:
        return kind.read(text)
    except Unfit as error:
        raise BadDeclaration(f"@schedule: {option}: {kind.complaint(text, error)}") from error


def _seconds(option: str, span: object) -> float:
    found = span.total_seconds() if isinstance(span, timedelta) else span
    try:
        return Options(delay=found).delay  # type: ignore[arg-type]  # it refuses what is no number
    except BadDeclaration as error:
        raise BadDeclaration(
            f"@schedule: {option}: expected seconds or a timedelta, got {shown(span, 80)}"
        ) from error


def _one_of(option: str, word: Any, words: Sequence[str]) -> Any:
    if word not in words:
        raise BadDeclaration(
            f"@schedule: {option}: expected one of {', '.join(words)}, got {shown(word, 80)}"
        )
    return word
