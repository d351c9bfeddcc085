"""`list`, `count` and `show`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ..clock import Clock
from ..desk import Desk
from ..model import READY, STATES, Filter, MonQTask
from ..remote import Remote
from ..rows import plain, task_details, task_row
from . import terminal
from .filters import filter_of, task_id
from .place import open_desk
from .terminal import STATE_WIDTH, State

PAGE = 200
DEFAULT_LIMIT = 50


def list(options: argparse.Namespace) -> int:  # noqa: A001 - the command's name
    """One line a task, newest first."""
    which = filter_of(options, Clock().now())
    shown = 0
    with open_desk(options) as desk:
        for task in _pages(desk, which, options.limit or DEFAULT_LIMIT):
            if options.json:
                terminal.row(task_row(task))
            else:
                _print_line(task)
            shown += 1
    if sys.stdout.isatty() and options.limit is None and shown in (0, DEFAULT_LIMIT):
        more = f"the newest {shown}; --limit shows more" if shown else "no task matches"
        terminal.note(more)
    return 0


def _pages(desk: Desk | Remote, which: Filter, limit: int) -> Iterator[MonQTask]:
    last = None
    while limit > 0 and (page := desk.find(which, min(limit, PAGE), last)):
        yield from page
        limit -= len(page)
        last = page[-1].id


def _print_line(task: MonQTask) -> None:
    last = task.history[-1] if task.history and task.state != "complete" else {}
    tail = f"  attempt {task.attempt}: {str(last['error'])[:80]}" if last.get("error") else ""
    terminal.line(f"{task.id}  ", State(task.state), f"  {_when(task.time_queue)}  {task.task_name}{tail}")


def _when(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")


def count(options: argparse.Namespace) -> int:
    """How many tasks match, by state."""
    with open_desk(options) as desk:
        which = filter_of(options, Clock().now())
        counts = desk.count(which)
        waits = counts.get(READY, 0) and not which.parked
        parked = desk.count(dataclasses.replace(which, parked=True)).get(READY, 0) if waits else 0
    if options.json:
        numbers = {state: counts.get(state, 0) for state in STATES}
        terminal.row(numbers | {"total": sum(counts.values()), "parked": parked})
        return 0
    for state in STATES:
        if counts.get(state):
            terminal.line(State(state), f"  {counts[state]:>10}")
    if parked:
        words = "of the ready ones: no app declares their names"
        terminal.line(f"{'parked':<{STATE_WIDTH}}  {parked:>10}  {words}")
    terminal.line(f"{'total':<{STATE_WIDTH}}  {sum(counts.values()):>10}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Everything about one task, and why it waits if it does."""
    with open_desk(options) as desk:
        task = desk.show(task_id(options.id))
        details = task_details(task) | {"waiting": desk.why_waiting(task)}
    if options.json:
        terminal.row(details)
        return 0
    texts = {name: details.pop(name) for name in ("output", "result", "history")}
    for name, value in details.items():
        if value not in (None, [], {}):
            terminal.line(f"{name:<14}", _shown(name, value))
    for entry in task.history:
        terminal.line(f"attempt {entry['attempt']:<6}{_when(entry['at'])}  {entry['error']}")
    for name in ("output", "result"):
        if texts[name] is not None:
            terminal.line(f"{name}:")
            terminal.text(_written(texts[name]), indent="    ")
    return 0


def _shown(name: str, value: Any) -> str | State:
    if name == "state":
        return State(value, width=0)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), indent=2, ensure_ascii=False)
