"""`retry`, `cancel` and `purge`: by ids or by filter, page by page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bson import ObjectId

from ..admin import MOVABLE, PAGE, Admin, Step, narrowed
from ..api.client import ApiClient
from ..clock import Clock
from ..errors import NotFound, UsageError
from ..model import Filter
from . import terminal
from .filters import filter_of
from .session import open_admin

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
        return _walk(act, which, options, done)


def _by_name(admin: Admin | ApiClient, which: Filter, verb: str) -> dict[str, int]:
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
    if which.ids and total < len(which.ids):
        raise NotFound(
            f"{len(which.ids) - total} of {len(which.ids)} tasks: not found, or in a state that forbids it"
        )
    return 0
