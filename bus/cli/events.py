"""`events`: show them, and replay those that no handler took."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from ..clock import Clock
from ..errors import BadFilter, UsageError
from ..model import Event, EventFilter
from ..presentation import event_details, event_row
from . import terminal
from .filters import event_id
from .replaying import pages, replay_each, replay_matching, require_meant
from .session import open_admin
from .times import moment_before

DEFAULT_LIMIT: Final = 50
FILTERS: Final = ("topic", "hook", "kind", "delivery", "outcome", "older", "newer", "limit")


def events(options: argparse.Namespace) -> int:
    """List events, show some by id, or replay some by id, in the order given, or by filter."""
    if options.action == "list":
        return _list(options)
    if options.ids:
        refuse_given(options, FILTERS)
    ids = [event_id(text) for text in options.ids]
    if options.action == "show":
        if not ids:
            raise UsageError("ID: expected at least one event to show, got none; `events list` shows ids")
        with open_admin(options, looks=True) as admin:
            for one in ids:
                show_event(admin.event(one), as_json=options.json)
        return 0
    if ids:
        return replay_each(options, ids)
    which = _which(options)
    require_meant(which, options, "events")
    if which.outcome == "handled":
        raise UsageError("--outcome: expected unhandled events to replay; `monqbus retry` runs tasks again")
    return replay_matching(options, replace(which, outcome="unhandled"))


def refuse_given(options: argparse.Namespace, names: Iterable[str]) -> None:
    """Raise UsageError where one of *names*, which choose, is given beside ids."""
    for name in names:
        if getattr(options, name) is not None:
            raise UsageError(f"--{name}: expected with no ID, got it with {options.ids[0]}; leave one out")
    if options.all or options.dry_run:
        raise UsageError(f"--all, --dry-run: expected with no ID, got {options.ids[0]}; leave one out")


def _which(options: argparse.Namespace) -> EventFilter:
    now = Clock().now()
    try:
        return EventFilter(
            topic=options.topic or "",
            hook=options.hook or "",
            kind=options.kind or "",
            delivery=options.delivery or "",
            outcome=options.outcome or "",
            older=moment_before("--older", options.older, now) if options.older else None,
            newer=moment_before("--newer", options.newer, now) if options.newer else None,
        )
    except BadFilter as error:
        raise UsageError(f"--{error.part}: {error.sentence}") from error


def _list(options: argparse.Namespace) -> int:
    """One line an event, newest first."""
    if options.ids:
        raise UsageError(f"ID: expected none with list, got {options.ids[0]!r}; `events show` takes ids")
    which = _which(options)
    with open_admin(options, looks=True) as admin:
        limit = options.limit or DEFAULT_LIMIT
        found = pages(lambda size, cursor: admin.events(which, size, cursor), limit)
        for number, event in enumerate(found):
            if options.json:
                terminal.row(event_row(event))
                continue
            if not number:
                terminal.line(f"{'ID':<24}  {'RECEIVED':<20}  {'KIND':<10}  TASKS  TOPIC")
            row = event_row(event)
            moment = f"{str(row['received'] or '')[:19].replace('T', ' ')}Z"
            source = f"  hook {event.hook}" if event.hook else ""
            fault = f"  {event.fault[:160]}" if event.fault else ""
            count = len(event.task_ids)
            terminal.line(
                f"{row['id']!s:<24}  {moment}  {event.kind:<10}  {count:>5}  {event.topic}{source}{fault}"
            )
    return 0


def show_event(event: Event, *, as_json: bool) -> None:
    """Print everything about one event."""
    details = event_details(event)
    if as_json:
        terminal.row(details)
        return
    note = ""
    if not event.task_ids:
        note = f"none: no handler took it; `monqbus events replay {event.id}` once there is one"
    show_fields(details, tasks=note)


def show_fields(details: dict[str, Any], *, tasks: str = "") -> None:
    """Print each of *details* that says something on a line, a note about *tasks*, then the body."""
    body = details.pop("body")
    for name, value in details.items():
        if value not in (None, "", [], {}):
            terminal.line(f"{name:<14}", _written(value))
    if tasks:
        terminal.line(f"{'tasks':<14}{tasks}")
    if body is not None:
        terminal.line("body:")
        terminal.text(_written(body), indent="    ")


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
