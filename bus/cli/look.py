"""`list`, `count` and `show`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from bson import ObjectId

from ..clock import Clock
from ..desk import Desk
from ..model import ERROR, READY, STATES, Filter, MonQTask
from ..remote import Remote
from ..rows import attempts, plain, task_details, task_row
from ..store.fields import ASIDE
from ..textual import harmless
from .filters import filter_of, task_id
from .place import open_desk

PAGE = 200
DEFAULT_LIMIT = 50
_COLOURS = {"ready": "36", "busy": "33", "complete": "32", "error": "31", "skipped": "90"}


def list(options: argparse.Namespace) -> int:  # noqa: A001 - the command's name
    """One line a task, newest first."""
    which = filter_of(options, Clock().now())
    shown = 0
    with open_desk(options) as desk:
        for task in _pages(desk, which, options.limit or DEFAULT_LIMIT):
            print(json.dumps(task_row(task), ensure_ascii=False) if options.json else _line(task))
            shown += 1
    if sys.stdout.isatty() and options.limit is None and shown in (0, DEFAULT_LIMIT):
        more = f"the newest {shown}; --limit shows more" if shown else "no task matches"
        print(f"monqbus: {more}", file=sys.stderr)
    return 0


def _pages(desk: Desk | Remote, which: Filter, limit: int) -> Iterator[MonQTask]:
    last = None
    while limit > 0 and (page := desk.find(which, min(limit, PAGE), last)):
        yield from page
        limit -= len(page)
        last = page[-1].id


def _line(task: MonQTask) -> str:
    line = f"{_id(task)}  {_painted(task.state)}  {_when(task.time_queue)}  {harmless(task.task_name)}"
    if fault := _fault(task):
        return f"{line}  {harmless(fault)[:160]}"
    tail = harmless(attempts(task)[-1][2])[:80] if task.history and task.state != "complete" else ""
    return f"{line}  attempt {task.attempt}: {tail}" if tail else line


def _id(task: MonQTask) -> str:
    """The id in 24 columns; one that nobody can read has none to show."""
    return harmless(str(task.id)) if isinstance(task.id, (ObjectId, str, int)) else f"{'(unreadable id)':<24}"


def _fault(task: MonQTask) -> str:
    """Why *task* was set aside, or will be as soon as it is its turn."""
    is_aside = task.state == ERROR and isinstance(task.result, str) and ASIDE in task.result
    return str(task.result) if is_aside else task.fault


def _painted(state: str) -> str:
    """*state* in eight columns, in its colour on a terminal; https://no-color.org is kept."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return f"{state:<8}"
    return f"\x1b[{_COLOURS.get(state, '0')}m{state:<8}\x1b[0m"


def _when(moment: Any) -> str:
    return "" if not isinstance(moment, datetime) else moment.strftime("%Y-%m-%d %H:%M:%SZ")


def count(options: argparse.Namespace) -> int:
    """How many tasks match, by state."""
    with open_desk(options) as desk:
        which = filter_of(options, Clock().now())
        counts = desk.count(which)
        waits = counts.get(READY, 0) and not which.parked
        parked = desk.count(dataclasses.replace(which, parked=True)).get(READY, 0) if waits else 0
    if options.json:
        numbers = {state: counts.get(state, 0) for state in STATES}
        print(json.dumps(numbers | {"total": sum(counts.values()), "parked": parked}))
        return 0
    for state in STATES:
        if counts.get(state):
            print(f"{_painted(state)}  {counts[state]:>10}")
    if parked:
        print(f"{'parked':<8}  {parked:>10}  of the ready ones: no app declares their names")
    print(f"{'total':<8}  {sum(counts.values()):>10}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Everything about one task, and why it waits if it does."""
    with open_desk(options) as desk:
        task = desk.show(task_id(options.id))
        details = task_details(task) | {"waiting": desk.why_waiting(task)}
    if options.json:
        print(json.dumps(details, ensure_ascii=False))
        return 0
    texts = {name: details.pop(name) for name in ("output", "result", "history")}
    for name, value in details.items():
        if value not in (None, [], {}):
            print(f"{name:<14}{_shown(name, value)}")
    for number, moment, error in attempts(task):
        print(f"attempt {number!s:<6}{_when(moment)}  {harmless(error)}")
    for name in ("output", "result"):
        if texts[name] is not None:
            print(f"{name}:")
            print(_indented(texts[name]))
    return 0


def _shown(name: str, value: Any) -> str:
    if name == "state":
        return _painted(value).rstrip()
    return harmless(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _indented(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(plain(value), indent=2, ensure_ascii=False)
    return "\n".join(f"    {harmless(line)}" for line in text.splitlines())
