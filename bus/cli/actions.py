"""`retry`, `cancel` and `purge`: by ids or by filter, page by page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bson import ObjectId

from ..admin import PAGE, Step
from ..clock import Clock
from ..errors import NotFound, UsageError
from ..model import Filter
from . import terminal
from .filters import filter_of
from .session import open_admin

Act = Callable[[Filter, "ObjectId | None", int], Step]


def retry(options: argparse.Namespace) -> int:
    """Give failed and skipped tasks a fresh start."""
    which = _meant(options, "retry")
    with open_admin(options) as admin:
        return _walk(admin.retry, which, options, "retried")


def cancel(options: argparse.Namespace) -> int:
    """Skip ready and busy tasks."""
    which = _meant(options, "cancel")
    with open_admin(options) as admin:
        return _walk(admin.cancel, which, options, "cancelled")


def purge(options: argparse.Namespace) -> int:
    """Forget ended tasks."""
    which = _meant(options, "purge")
    with open_admin(options) as admin:
        return _walk(admin.purge, which, options, "purged")


def _meant(options: argparse.Namespace, verb: str) -> Filter:
    which = filter_of(options, Clock().now())
    if which.is_empty and not options.all:
        raise UsageError(f"{verb}: expected IDs or a filter; --all means every task that can be")
    return which


def _walk(act: Act, which: Filter, options: argparse.Namespace, done: str) -> int:
    total, last, left = 0, None, options.limit or sys.maxsize
    show_progress = terminal.shows_progress()
    while left > 0:
        step = act(which, last, min(left, PAGE))
        total, last, left = total + step.done, step.last, left - step.done
        if last is None:
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
