"""`schedules`: shows them, fires one now, tries an expression."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from typing import Final

from ..admin import ScheduleState
from ..clock import Clock
from ..config.moments import CRON, ZONE
from ..config.value_types import Unfit, ValueType
from ..errors import UsageError
from ..presentation import plain
from ..schedules import Cron, next_moments, zone_of
from . import terminal
from .session import open_admin, open_poster

DEFAULT_COUNT: Final = 5


def schedules(options: argparse.Namespace) -> int:
    """List them, run some now by name, or show when an expression comes."""
    if options.action == "next":
        return _next(options)
    if options.timezone is not None or options.count is not None:
        word = "timezone" if options.timezone is not None else "count"
        raise UsageError(f"--{word}: expected with next alone, got {options.action}; leave it out")
    return _run(options) if options.action == "run" else _list(options)


def _list(options: argparse.Namespace) -> int:
    if options.words:
        raise UsageError(f"NAME: expected none with list, got {options.words[0]!r}; run takes names")
    with open_admin(options, looks=True) as admin:
        found = admin.schedules()
    for state in found:
        if options.json:
            terminal.row(plain(state._asdict()))
        else:
            _print_state(state)
    if not found and not options.json:
        terminal.note("no schedule is declared; write a section [schedule:NAME], or @schedule above a task")
    return 0


def _print_state(state: ScheduleState) -> None:
    terminal.line(f"{state.name}  {state.target}  {state.moments}  {state.where}")
    zone = state.moments.rpartition(" ")[2] if state.moments.startswith("cron ") else "UTC"
    for number, moment in enumerate(state.next):
        terminal.line(f"  {'next' if not number else '':<6}{_in_zone(moment, zone)}")
    if not state.next:
        terminal.line(f"  {'next':<6}never")
    if state.last is not None:
        terminal.line(f"  {'last':<6}{_in_zone(state.last, zone)}  {state.outcome}")
    if state.waiting:
        terminal.line(f"  {'then':<6}{state.waiting} ticks, which wait for its end")


def _in_zone(moment: datetime, zone: str) -> str:
    """A moment as the clocks of *zone* show it, and in UTC."""
    utc = f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%SZ}"
    if zone == "UTC":
        return utc
    local = moment.astimezone(zone_of(zone))
    return f"{local:%Y-%m-%d %H:%M:%S %Z} ({local:%a})  {utc}"


def _run(options: argparse.Namespace) -> int:
    if not options.words:
        raise UsageError("NAME: expected at least one schedule to run, got none; `schedules` lists them")
    with open_poster(options) as poster:
        for name in options.words:
            receipt = poster.fire_now(name)
            tasks = [str(task_id) for task_id in receipt.task_ids]
            if options.json:
                terminal.row({"schedule": name, "event": str(receipt.event_id), "tasks": tasks})
                continue
            for task_id in tasks:
                terminal.done(task_id)
            if not tasks:
                terminal.note(f"schedule {name}: no handler for its topic; the event is recorded")
    return 0


def _next(options: argparse.Namespace) -> int:
    if len(options.words) != 1:
        raise UsageError(
            f"EXPR: expected one expression in quotes, such as '15 3 * * *', got {len(options.words)} words"
        )
    expression = _read("EXPR", CRON, options.words[0])
    zone = _read("--timezone", ZONE, options.timezone or "UTC")
    if not expression:
        raise UsageError("EXPR: expected an expression, got nothing; write for example '15 3 * * *'")
    for moment in next_moments(Cron(expression, zone), Clock().now(), options.count or DEFAULT_COUNT):
        if options.json:
            terminal.row({"moment": plain(moment), "local": moment.astimezone(zone_of(zone)).isoformat()})
        else:
            terminal.line(_in_zone(moment, zone))
    return 0


def _read(option: str, kind: ValueType[str], text: str) -> str:
    try:
        return kind.read(text)
    except Unfit as error:
        raise UsageError(f"{option}: {kind.complaint(text, error)}") from error
