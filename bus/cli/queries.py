"""`list`, `count` and `show`."""

from __future__ import annotations

import argparse
import builtins
import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from bson import ObjectId

from ..api.client import ApiClient
from ..clock import Clock
from ..errors import NotFound
from ..model import BUSY, COMPLETE, ERROR, READY, SKIPPED, STATES, Event, Filter, MonQTask
from ..presentation import attempts, plain, task_details, task_row
from ..safe_text import shortened
from ..store.fields import ASIDE
from . import terminal
from .events import show_event
from .filters import filter_of, task_id
from .hints import tell_of_no_match
from .session import OwnAdmin, open_admin
from .terminal import STATE_WIDTH, State

PAGE = 200
DEFAULT_LIMIT = 50
LONGEST_TAIL = 160
HEADER = f"{'ID':<24}  {'STATE':<{STATE_WIDTH}}  {'QUEUED':<20}  NAME"


def list(options: argparse.Namespace) -> int:  # noqa: A001 - the command's name
    """One line a task, newest first."""
    which = filter_of(options, Clock().now())
    shown = 0
    with open_admin(options, looks=True) as admin:
        for task in pages(admin, which, options.limit or DEFAULT_LIMIT):
            if options.json:
                terminal.row(task_row(task))
            else:
                if not shown:
                    terminal.line(HEADER)
                _print_line(task)
            shown += 1
        if not shown and not options.json:
            tell_of_no_match(admin, which)
    if sys.stdout.isatty() and options.limit is None and shown in (0, DEFAULT_LIMIT):
        more = f"the newest {shown}; --limit shows more" if shown else "no task matches"
        terminal.note(more)
    return 0


def pages(admin: OwnAdmin | ApiClient, which: Filter, limit: int = sys.maxsize) -> Iterator[MonQTask]:
    """At most *limit* tasks that match, newest first, asked for page by page."""
    cursor = None
    while limit > 0 and (page := admin.find(which, min(limit, PAGE), cursor)):
        yield from page
        limit -= len(page)
        cursor = page[-1].id


def _print_line(task: MonQTask) -> None:
    tail = ""
    if fault := _fault(task):
        tail = f"  {shortened(fault, LONGEST_TAIL)}"
    elif task.state == BUSY:
        tail = _run(task)
    elif task.history and task.state != COMPLETE and (error := attempts(task)[-1][2]):
        tail = f"  attempt {task.attempt}: {shortened(error, LONGEST_TAIL)}"
    elif task.state == SKIPPED and isinstance(task.result, str):
        tail = f"  {shortened(task.result, LONGEST_TAIL)}"
    terminal.line(f"{_id(task)}  ", State(task.state), f"  {_when(task.time_queue)}  {task.task_name}{tail}")


def _run(task: MonQTask) -> str:
    """For how long a busy task runs, and how far it says it is."""
    words = []
    if isinstance(task.time_start, datetime):
        words.append(f"for {_duration((Clock().now() - task.time_start).total_seconds())}")
    note = task.progress if isinstance(task.progress, dict) else {}
    if isinstance(fraction := note.get("fraction"), (int, float)):
        words.append(f"{fraction:.0%}")
    if text := note.get("text"):
        words.append(shortened(str(text), LONGEST_TAIL))
    return "".join(f"  {word}" for word in words)


def _duration(seconds: float) -> str:
    """The two largest units: 1d 3h, 2h 5m, 4m 10s, 7s."""
    left = max(0, int(seconds))
    parts: builtins.list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number or parts or unit == "s":
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2])


def _id(task: MonQTask) -> str:
    """The id in 24 columns; one that nobody can read has none to show."""
    return str(task.id) if isinstance(task.id, (ObjectId, str, int)) else f"{'(unreadable id)':<24}"


def _fault(task: MonQTask) -> str:
    """Why *task* was set aside, or will be as soon as it is its turn."""
    is_aside = task.state == ERROR and isinstance(task.result, str) and ASIDE in task.result
    return str(task.result) if is_aside else task.fault


def _when(moment: Any) -> str:
    return "" if not isinstance(moment, datetime) else moment.strftime("%Y-%m-%d %H:%M:%SZ")


def count(options: argparse.Namespace) -> int:
    """How many tasks match, by state."""
    with open_admin(options, looks=True) as admin:
        which = filter_of(options, Clock().now())
        counts = admin.count(which)
        waits = counts.get(READY, 0) and not which.parked
        parked = admin.count(dataclasses.replace(which, parked=True)).get(READY, 0) if waits else 0
        paused = admin.count_paused(which) if waits else 0
        if not counts and not options.json:
            tell_of_no_match(admin, which)
    if options.json:
        numbers = {state: counts.get(state, 0) for state in STATES}
        terminal.row(numbers | {"total": sum(counts.values()), "parked": parked, "paused": paused})
        return 0
    for state in STATES:
        if counts.get(state):
            terminal.line(State(state), f"  {counts[state]:>10}")
    if parked:
        words = "of the ready ones: no app declares their names"
        terminal.line(f"{'parked':<{STATE_WIDTH}}  {parked:>10}  {words}")
    if paused:
        words = "of the ready ones: `monqbus pauses` shows why"
        terminal.line(f"{'paused':<{STATE_WIDTH}}  {paused:>10}  {words}")
    terminal.line(f"{'total':<{STATE_WIDTH}}  {sum(counts.values()):>10}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Everything about one task, and why it waits if it does; or about one event."""
    with open_admin(options, looks=True) as admin:
        wanted = task_id(options.id)
        try:
            task = admin.show(wanted)
        except NotFound:
            if (event := _event(admin, wanted)) is None:
                raise
            show_event(admin, event, as_json=options.json)
            return 0
        details = task_details(task) | {"waiting": admin.why_waiting(task)}
    if options.json:
        terminal.row(details)
        return 0
    texts = {name: details.pop(name) for name in ("output", "result", "history")}
    for name, value in details.items():
        if value not in (None, [], {}):
            terminal.line(f"{name:<14}", _shown(name, value))
    for number, moment, error in attempts(task):
        terminal.line(f"attempt {number!s:<6}{_when(moment)}  {error}")
    for name in ("output", "result"):
        if texts[name] is not None:
            terminal.line(f"{name}:")
            terminal.text(_written(texts[name]), indent="    ")
    return 0


def _event(admin: OwnAdmin | ApiClient, event_id: ObjectId) -> Event | None:
    with suppress(NotFound):
        return admin.event(event_id)
    return None


def _shown(name: str, value: Any) -> str | State:
    if name == "state":
        return State(value, width=0)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), indent=2, ensure_ascii=False)
