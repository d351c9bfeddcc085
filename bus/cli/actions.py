"""`retry`, `cancel` and `purge`: by ids or by filter, page by page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

from bson import ObjectId

from ..admin import MOVABLE, PAGE, Step, narrowed, why_not
from ..api.client import ApiClient
from ..clock import Clock
from ..errors import NotFound, UsageError
from ..model import Filter, MonQTask
from . import terminal
from .filters import filter_of
from .hints import tell_of_no_match
from .queries import pages
from .session import OwnAdmin, open_admin

MOST_EXPLAINED: Final = 5
"""Tasks that stayed as they were and whose reasons are told one by one."""
Act = Callable[[Filter, "ObjectId | None", int], Step]


def retry(options: argparse.Namespace) -> int:
    """Give failed and skipped tasks a fresh start."""
    return _act(options, "retry", "retried")


def cancel(options: argparse.Namespace) -> int:
    """Skip ready and busy tasks."""
    return _act(options, "cancel", "cancelled")


def purge(options: argparse.Namespace) -> int:
    """Forget ended tasks."""
    return _act(options, "purge", "purged")


def _act(options: argparse.Namespace, verb: str, done: str) -> int:
    which = _meant(options, verb)
    with open_admin(options, looks=options.dry_run) as admin:
        if options.dry_run:
            return _forecast(_by_name(admin, which, verb), options, done)
        if terminal.shows_progress() and not which.ids:
            for name, count in _ranked(_by_name(admin, which, verb)):
                terminal.note(f"{count:>10}  {name}")
        act: Act = getattr(admin, verb)
        before = {task.id: task for task in pages(admin, Filter(ids=which.ids))} if which.ids else {}
        total = _walk(act, which, options, done)
        if which.ids and total < len(which.ids):
            raise NotFound(_refusal(admin, which.ids, before, verb, len(which.ids) - total))
        if not total and not options.json:
            tell_of_no_match(admin, which)
            if narrowed(which, MOVABLE[verb]) is None:
                terminal.note(f"--state: {verb} expects {' or '.join(MOVABLE[verb])}, got {options.state}")
    return 0


def _by_name(admin: OwnAdmin | ApiClient, which: Filter, verb: str) -> dict[str, int]:
    """How many tasks of each name the action would go through."""
    meant = narrowed(which, MOVABLE[verb])
    return {} if meant is None else admin.count(meant, "name")


def _ranked(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _forecast(counts: dict[str, int], options: argparse.Namespace, done: str) -> int:
    total = min(sum(counts.values()), options.limit or sys.maxsize)
    if options.json:
        terminal.row({f"would_be_{done}": total, "names": dict(_ranked(counts))})
        return 0
    for name, count in _ranked(counts):
        terminal.line(f"{count:>10}  {name}")
    terminal.line(f"would be {done} {total}")
    return 0


def _meant(options: argparse.Namespace, verb: str) -> Filter:
    which = filter_of(options, Clock().now())
    if which.is_empty and not options.all:
        raise UsageError(f"{verb}: expected IDs or a filter; --all means every task that can be")
    return which


def _walk(act: Act, which: Filter, options: argparse.Namespace, done: str) -> int:
    """Go through all pages and print how many were changed; the number."""
    total, cursor, left = 0, None, options.limit or sys.maxsize
    show_progress = terminal.shows_progress()
    while left > 0:
        step = act(which, cursor, min(left, PAGE))
        total, cursor, left = total + step.done, step.cursor, left - step.done
        if cursor is None:
            break
        if show_progress:
            terminal.progress(f"{done} {total} …")
    if show_progress:
        terminal.clear_progress()
    if options.json:
        terminal.row({done: total})
    else:
        terminal.line(f"{done} {total}")
    return total


def _refusal(
    admin: OwnAdmin | ApiClient,
    ids: tuple[ObjectId, ...],
    before: dict[ObjectId, MonQTask],
    verb: str,
    count: int,
) -> str:
    """Why *count* of *ids* stay as they were *before*; the first ones are told one by one."""
    barred = [one for one in ids if one not in before or before[one].state not in MOVABLE[verb]]
    reasons = [_reason(admin, one, before.get(one), verb) for one in barred[:MOST_EXPLAINED]]
    if len(reasons) == count == 1:
        return reasons[0]
    for reason in reasons:
        terminal.note(reason)
    also = "" if len(barred) == count else ", or their key is held, or another option leaves them out"
    return f"{count} of {len(ids)} tasks: not found, or in a state that forbids it{also}"


def _reason(admin: OwnAdmin | ApiClient, task_id: ObjectId, task: MonQTask | None, verb: str) -> str:
    try:
        return why_not(verb, task or admin.show(task_id))
    except NotFound as error:
        return str(error)
