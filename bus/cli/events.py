"""`events`: show them, and replay those that no handler took."""

from __future__ import annotations

import argparse
import json

from ..model import Event
from ..presentation import event_details
from . import terminal
from .filters import event_id
from .session import open_admin, open_poster


def events(options: argparse.Namespace) -> int:
    """Show or replay events by their ids, in the order given; the first that cannot be ends it."""
    ids = [event_id(text) for text in options.ids]
    if options.action == "show":
        with open_admin(options, looks=True) as admin:
            for one in ids:
                _show(admin.event(one), as_json=options.json)
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


def _show(event: Event, *, as_json: bool) -> None:
    details = event_details(event)
    if as_json:
        terminal.row(details)
        return
    body = details.pop("body")
    for name, value in details.items():
        if value not in (None, [], {}):
            terminal.line(f"{name:<14}", _written(value))
    if not event.task_ids:
        remedy = f"`monqbus events replay {event.id}` once there is one"
        terminal.line(f"{'tasks':<14}none: no handler took it; {remedy}")
    if body is not None:
        terminal.line("body:")
        terminal.text(_written(body), indent="    ")


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
