"""`events`: show them, and replay those that no handler took."""

from __future__ import annotations

import argparse
import json

from ..model import Event
from ..rows import event_details
from ..textual import harmless
from .filters import event_id
from .place import open_desk, open_poster


def events(options: argparse.Namespace) -> int:
    """Show or replay events by their ids, in the order given; the first that cannot be ends it."""
    ids = [event_id(text) for text in options.ids]
    if options.action == "show":
        with open_desk(options) as desk:
            for one in ids:
                _show(desk.event(one), as_json=options.json)
        return 0
    with open_poster(options) as poster:
        for one in ids:
            tasks = [str(task_id) for task_id in poster.replay(one).task_ids]
            print(json.dumps({"event": str(one), "tasks": tasks}) if options.json else "\n".join(tasks))
    return 0


def _show(event: Event, *, as_json: bool) -> None:
    details = event_details(event)
    if as_json:
        print(json.dumps(details, ensure_ascii=False))
        return
    body = details.pop("body")
    for name, value in details.items():
        if value not in (None, [], {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            print(f"{name:<14}{harmless(text)}")
    if not event.task_ids:
        print(f"{'tasks':<14}none: no handler took it; `monqbus events replay {event.id}` once there is one")
    if body is not None:
        print("body:")
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        print("\n".join(f"    {harmless(line)}" for line in text.splitlines()))
