"""`list`, `count` and `show`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from bson import ObjectId

from ..admin import Admin
from ..api.client import ApiClient
from ..clock import Clock
from ..model import COMPLETE, ERROR, READY, SKIPPED, STATES, Filter, MonQTask
from ..presentation import attempts, plain, task_details, task_row
from ..store.fields import ASIDE
from . import terminal
from .filters import filter_of, task_id
from .session import open_admin
from .terminal import STATE_WIDTH, State

PAGE = 200
DEFAULT_LIMIT = 50


def list(options: argparse.Namespace) -> int:  # noqa: A001 - the command's name
    """One line a task, newest first."""
    which = filter_of(options, Clock().now())
    shown = 0
    with open_admin(options, looks=True) as admin:
        for task in _pages(admin, which, options.limit or DEFAULT_LIMIT):
            if options.json:
                terminal.row(task_row(task))
            else:
                _print_line(task)
            shown += 1
    if sys.stdout.isatty() and options.limit is None and shown in (0, DEFAULT_LIMIT):
        more = f"the newest {shown}; --limit shows more" if shown else "no task matches"
        terminal.note(more)
    return 0


def _pages(admin: Admin | ApiClient, which: Filter, limit: int) -> Iterator[MonQTask]:
    last = None
    while limit > 0 and (page := admin.find(which, min(limit, PAGE), last)):
        yield from page
        limit -= len(page)
        last = page[-1].id


def _print_line(task: MonQTask) -> None:
    tail = ""
    if fault := _fault(task):
        tail = f"  {fault[:160]}"
    elif task.history and task.state != COMPLETE and (error := attempts(task)[-1][2]):
        tail = f"  attempt {task.attempt}: {error[:80]}"
    elif task.state == SKIPPED and isinstance(task.result, str):
        tail = f"  {task.result[:160]}"
    terminal.line(f"{_id(task)}  ", State(task.state), f"  {_when(task.time_queue)}  {task.task_name}{tail}")


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
    with open_admin(options, looks=True) as admin:
        task = admin.show(task_id(options.id))
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


def _shown(name: str, value: Any) -> str | State:
    if name == "state":
        return State(value, width=0)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), indent=2, ensure_ascii=False)
