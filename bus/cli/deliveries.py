"""`deliveries`: the log of what came to the hooks, refused ones too, and replay of accepted ones."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, Final

from ..api.client import ApiClient
from ..clock import Clock
from ..delivery_record import ANSWERED, OF_EVENTS, REFUSED, Delivery, DeliveryFilter
from ..errors import NotFound, UsageError
from ..filter_checks import MOST_VALUES
from ..model import FILTERED, UNHANDLED, Filter
from ..presentation import delivery_details, delivery_row, plain
from . import terminal
from .events import refuse_given, show_fields
from .filters import event_id, received_filter
from .hints import tell_of_no_event, why_unhandled
from .refused import replay_refused
from .replaying import pages, replay_each, replay_matching, require_meant
from .session import OwnAdmin, open_admin, read_config

DEFAULT_LIMIT: Final = 50
FILTERS: Final = ("topic", "hook", "delivery", "outcome", "status", "older", "newer", "limit")


def deliveries(options: argparse.Namespace) -> int:
    """List deliveries, show some by id, or replay some by id or filter."""
    if options.action == "list":
        return _list(options)
    if options.action == "show" and not options.ids:
        raise UsageError("ID: expected at least one delivery to show, got none; `deliveries list` shows ids")
    if options.ids:
        refuse_given(options, FILTERS, options.ids[0])
    if (options.refused or options.to) and options.action != "replay":
        raise UsageError(f"--refused, --to: expected with replay alone, got {options.action}; leave them out")
    ids = [event_id(text) for text in options.ids]
    if options.action == "show":
        with open_admin(options, looks=True) as admin:
            for one in ids:
                _show(admin, admin.delivery(one), as_json=options.json)
        return 0
    if options.to and not options.refused:
        raise UsageError("--to: expected with --refused alone, got it without; leave it out")
    if options.refused:
        if ids:
            raise UsageError(f"ID: expected all of them behind --refused, got {ids[0]} before it")
        refuse_given(options, FILTERS, options.refused[0])
        return replay_refused(options, [event_id(text) for text in options.refused])
    return _replay(options, ids)


def _replay(options: argparse.Namespace, ids: list[Any]) -> int:
    """Replay accepted deliveries that no handler took. A refused one was never verified: it is not here."""
    if not ids:
        filter = received_filter(DeliveryFilter, options, Clock().now())
        require_meant(filter, options, "deliveries")
        of_events = filter.of_events
        if of_events is None:
            raise UsageError(
                "--outcome, --status: expected accepted ones to replay; refused ones were never verified, "
                "and only their senders can send them again"
            )
        return replay_matching(
            options, replace(of_events, outcome=FILTERED if filter.outcome == FILTERED else UNHANDLED)
        )
    events = []
    with open_admin(options, looks=True) as admin:
        for one in ids:
            found = admin.delivery(one)
            if found.event_id is None:
                raise NotFound(_without_event(found))
            events.append(found.event_id)
    return replay_each(options, events)


def _without_event(found: Delivery) -> str:
    if found.outcome == REFUSED:
        return (
            f"delivery {found.id}: it was refused ({found.status} {found.code}) and never verified, so "
            "there is no event to replay; have its sender send it again, or vouch for it with --refused"
        )
    return f"delivery {found.id}: it was {found.outcome} and left no event to replay"


def _list(options: argparse.Namespace) -> int:
    """One line a delivery, newest first."""
    if options.refused or options.to:
        raise UsageError("--refused, --to: expected with replay alone, got list; leave them out")
    if options.ids:
        raise UsageError(f"ID: expected none with list, got {options.ids[0]!r}; `deliveries show` takes ids")
    filter = received_filter(DeliveryFilter, options, Clock().now())
    with open_admin(options, looks=True) as admin:
        found = pages(
            lambda limit, cursor: admin.deliveries(filter, limit, cursor), options.limit or DEFAULT_LIMIT
        )
        shown = 0
        for shown, one in enumerate(found, 1):
            if options.json:
                terminal.row(delivery_row(one))
                continue
            if shown == 1:
                terminal.line(f"{'ID':<24}  {'RECEIVED':<20}  STATUS  {'HOOK':<16}  {'PEER':<15}  WHAT")
            terminal.line(_line(one))
        if not shown and not options.json:
            tell_of_no_event(admin, filter, read_config(options).hooks)
    return 0


def _line(one: Delivery) -> str:
    moment = f"{str(delivery_row(one)['received'])[:19].replace('T', ' ')}Z"
    if one.outcome in OF_EVENTS:
        without = "filtered" if one.outcome == FILTERED else "no handler"
        what = f"{one.topic}, {len(one.task_ids)} tasks" if one.task_ids else f"{one.topic}, {without}"
    elif one.outcome == REFUSED:
        what = f"{one.code}: {one.reason}"
    elif one.outcome == ANSWERED:
        what = f"{one.method}: a handshake, answered"
    else:
        what = f"repeats {one.event_id}" + (f", {one.reason}" if one.reason else "")
    more = f" (and {one.omitted} more)" if one.omitted else ""
    who = f"{one.hook or '-':<16}  {one.peer or '-':<15}"
    return f"{one.id!s:<24}  {moment}  {one.status:<6}  {who}  {what}{more}"


def _show(admin: OwnAdmin | ApiClient, one: Delivery, *, as_json: bool) -> None:
    """Print everything about one delivery: of an accepted one its event and the tasks, with their times."""
    details = delivery_details(one)
    if one.outcome in OF_EVENTS and one.event_id is not None:
        details["body"] = None  # `events show` has it
        tasks = details["tasks"] = _tasks(admin, one)
        ends = [task["ended"] for task in tasks]
        details["seconds"] = None  # how long the answer took is not stored with an event
        details["ended"] = max(ends) if ends and all(ends) and len(ends) == len(one.task_ids) else None
        details["unhandled"] = None if one.task_ids else why_unhandled(admin, admin.event(one.event_id))
    if as_json:
        terminal.row(details)
        return
    show_fields(details)


def _tasks(admin: OwnAdmin | ApiClient, one: Delivery) -> list[dict[str, Any]]:
    """State and times of the tasks of an accepted delivery, as far as they are stored yet."""
    ids = tuple(one.task_ids[:MOST_VALUES])
    if not ids:
        return []
    return [
        {
            "id": str(task.id),
            "name": task.task_name,
            "state": task.state,
            "started": plain(task.time_start),
            "ended": plain(task.time_stop),
            "waited": _between(one.received, task.time_start),
            "ran": _between(task.time_start, task.time_stop),
        }
        for task in admin.find(Filter(ids=ids), len(ids))
    ]


def _between(begin: Any, end: Any) -> float | None:
    return None if begin is None or end is None else round((end - begin).total_seconds(), 3)
