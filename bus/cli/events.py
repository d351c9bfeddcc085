"""`events`: show them, and replay those that no handler took."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from ..api.client import ApiClient
from ..clock import Clock
from ..errors import UsageError
from ..model import FILTERED, UNHANDLED, Event, EventFilter
from ..presentation import event_details, event_row
from ..safe_text import shortened
from . import terminal
from .filters import event_id, received_filter
from .hints import tell_of_no_event, why_unhandled
from .replaying import pages, replay_each, replay_matching, require_meant
from .session import OwnAdmin, open_admin, read_config

DEFAULT_LIMIT: Final = 50
LONGEST_FAULT: Final = 160
FILTERS: Final = ("topic", "hook", "kind", "delivery", "outcome", "older", "newer", "limit")


def events(options: argparse.Namespace) -> int:
    """List events, show some by id, or replay some by id, in the order given, or by filter."""
    if options.action == "list":
        return _list(options)
    if options.ids:
        refuse_given(options, FILTERS, options.ids[0])
    ids = [event_id(text) for text in options.ids]
    if options.action == "show":
        if not ids:
            raise UsageError("ID: expected at least one event to show, got none; `events list` shows ids")
        with open_admin(options, looks=True) as admin:
            for one in ids:
                show_event(admin, admin.event(one), as_json=options.json)
        return 0
    if ids:
        return replay_each(options, ids)
    filter = received_filter(EventFilter, options, Clock().now())
    require_meant(filter, options, "events")
    if filter.outcome not in ("", UNHANDLED, FILTERED):
        raise UsageError(
            "--outcome: expected unhandled or filtered events to replay; `monqbus retry` runs tasks again"
        )
    return replay_matching(options, replace(filter, outcome=filter.outcome or UNHANDLED))


def refuse_given(options: argparse.Namespace, names: Iterable[str], first: str) -> None:
    """Raise UsageError where one of *names*, which choose, is given beside ids, such as the *first*."""
    for name in names:
        if getattr(options, name) is not None:
            raise UsageError(f"--{name}: expected with no ID, got it with {first}; leave one out")
    if options.all or options.dry_run:
        raise UsageError(f"--all, --dry-run: expected with no ID, got {first}; leave one out")


def _list(options: argparse.Namespace) -> int:
    """One line an event, newest first."""
    if options.ids:
        raise UsageError(f"ID: expected none with list, got {options.ids[0]!r}; `events show` takes ids")
    filter = received_filter(EventFilter, options, Clock().now())
    shown = 0
    with open_admin(options, looks=True) as admin:
        limit = options.limit or DEFAULT_LIMIT
        for event in pages(lambda size, cursor: admin.events(filter, size, cursor), limit):
            if options.json:
                terminal.row(event_row(event))
            else:
                if not shown:
                    terminal.line(f"{'ID':<24}  {'RECEIVED':<20}  {'KIND':<10}  TASKS  TOPIC")
                _print_line(event)
            shown += 1
        if not shown and not options.json:
            tell_of_no_event(admin, filter, read_config(options).hooks)
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


def show_event(admin: OwnAdmin | ApiClient, event: Event, *, as_json: bool) -> None:
    """Print everything about one event, and why it has no tasks if it has none."""
    details = event_details(event) | {"unhandled": why_unhandled(admin, event)}
    if as_json:
        terminal.row(details)
        return
    show_fields(details)


def show_fields(details: dict[str, Any]) -> None:
    """Print each of *details* that says something on a line, then the body."""
    body = details.pop("body")
    for name, value in details.items():
        if value not in (None, "", [], {}):
            terminal.line(f"{name:<14}", _written(value))
    if body is not None:
        terminal.line("body:")
        terminal.text(_written(body), indent="    ")


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
