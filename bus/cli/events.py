"""`events`: show them, and replay those that no handler took."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Final

from ..api.client import ApiClient
from ..errors import BadFilter, UsageError
from ..model import Event, EventFilter
from ..presentation import event_details, event_row
from ..safe_text import shortened
from . import terminal
from .filters import event_id
from .hints import tell_of_no_event, why_unhandled
from .session import OwnAdmin, open_admin, open_poster, read_config

PAGE: Final = 200
DEFAULT_LIMIT: Final = 50
LONGEST_FAULT: Final = 160
LISTS_ONLY: Final = ("topic", "hook", "kind", "limit")


def events(options: argparse.Namespace) -> int:
    """List events, or show or replay some by id, in the order given; the first that cannot be ends it."""
    if options.action == "list":
        return _list(options)
    _require_ids(options)
    ids = [event_id(text) for text in options.ids]
    if options.action == "show":
        with open_admin(options, looks=True) as admin:
            for one in ids:
                show_event(admin, admin.event(one), as_json=options.json)
        return 0
    with open_poster(options) as poster:
        for one in ids:
            tasks = [str(task_id) for task_id in poster.replay(one).task_ids]
            if options.json:
                terminal.row({"event": str(one), "tasks": tasks})
            else:
                for task_id in tasks:
                    terminal.done(task_id)
    return 0


def _require_ids(options: argparse.Namespace) -> None:
    if not options.ids:
        raise UsageError(
            f"ID: expected at least one event to {options.action}, got none; `events list` shows ids"
        )
    for name in LISTS_ONLY:
        if getattr(options, name) is not None:
            raise UsageError(f"--{name}: expected with list alone, got {options.action}; leave it out")


def _list(options: argparse.Namespace) -> int:
    """One line an event, newest first."""
    if options.ids:
        raise UsageError(f"ID: expected none with list, got {options.ids[0]!r}; `events show` takes ids")
    try:
        which = EventFilter(options.topic or "", options.hook or "", options.kind or "")
    except BadFilter as error:
        raise UsageError(f"--{error.part}: {error.sentence}") from error
    shown = 0
    with open_admin(options, looks=True) as admin:
        for event in _pages(admin, which, options.limit or DEFAULT_LIMIT):
            if options.json:
                terminal.row(event_row(event))
            else:
                if not shown:
                    terminal.line(f"{'ID':<24}  {'RECEIVED':<20}  {'KIND':<10}  TASKS  TOPIC")
                _print_line(event)
            shown += 1
        if not shown and not options.json:
            tell_of_no_event(admin, which, read_config(options).hooks)
    return 0


def _print_line(event: Event) -> None:
    row = event_row(event)
    moment = f"{str(row['received'] or '')[:19].replace('T', ' ')}Z"
    source = f"  hook {event.hook}" if event.hook else ""
    fault = "  filtered" if event.is_filtered else ""
    if event.fault:
        fault = f"  {shortened(event.fault, LONGEST_FAULT)}"
    count = len(event.task_ids)
    terminal.line(f"{row['id']!s:<24}  {moment}  {event.kind:<10}  {count:>5}  {event.topic}{source}{fault}")


def _pages(admin: OwnAdmin | ApiClient, which: EventFilter, limit: int) -> Iterator[Event]:
    cursor = None
    while limit > 0 and (page := admin.events(which, min(limit, PAGE), cursor)):
        yield from page
        limit -= len(page)
        cursor = page[-1].id


def show_event(admin: OwnAdmin | ApiClient, event: Event, *, as_json: bool) -> None:
    """Print everything about one event, and why it has no tasks if it has none."""
    details = event_details(event) | {"unhandled": why_unhandled(admin, event)}
    if as_json:
        terminal.row(details)
        return
    body = details.pop("body")
    for name, value in details.items():
        if value not in (None, [], {}):
            terminal.line(f"{name:<14}", _written(value))
    if body is not None:
        terminal.line("body:")
        terminal.text(_written(body), indent="    ")


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
