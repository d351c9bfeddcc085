"""Replays many events, one after the other, with what is known of how far it is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bson import ObjectId

from ..errors import NotFound, StoreError, StoreUnavailable, UsageError
from ..model import EventFilter, Receipt
from . import terminal
from .session import open_admin, open_poster

PAGE = 200


def require_meant(filter: Any, options: argparse.Namespace, noun: str) -> None:
    """Raise UsageError where nobody said which of all events or deliveries are to be replayed."""
    if filter.is_empty and not options.all:
        raise UsageError(
            f"{noun} replay: expected IDs or a filter; --all means every one that no handler took"
        )


def pages(find: Callable[[int, Any], list[Any]], limit: int) -> Iterator[Any]:
    """Up to *limit* of what *find* finds, page by page."""
    cursor = None
    while limit > 0 and (page := find(min(limit, PAGE), cursor)):
        yield from page
        limit -= len(page)
        cursor = page[-1].id


def replay_matching(options: argparse.Namespace, filter: EventFilter) -> int:
    """Replay all events of *filter*, which have no tasks, the oldest first; for a dry run only count them."""
    with open_admin(options, looks=True) as admin:
        most = options.limit or sys.maxsize
        found = pages(lambda limit, cursor: admin.events(filter, limit, cursor), most)
        meant = [(event.id, event.topic) for event in found]
    if options.dry_run:
        return _forecast(meant, options)
    meant.reverse()
    with open_poster(options) as poster:
        return _replay_all(poster.replay, meant, options)


def _forecast(meant: list[tuple[ObjectId, str]], options: argparse.Namespace) -> int:
    topics: dict[str, int] = {}
    for _, topic in meant:
        topics[topic] = topics.get(topic, 0) + 1
    ranked = sorted(topics.items(), key=lambda one: (-one[1], one[0]))
    if options.json:
        terminal.row({"would_be_replayed": len(meant), "topics": dict(ranked)})
        return 0
    for topic, count in ranked:
        terminal.line(f"{count:>10}  {topic}")
    terminal.line(f"would be replayed {len(meant)}")
    return 0


def _replay_all(
    replay: Callable[[ObjectId], Receipt], meant: list[tuple[ObjectId, str]], options: argparse.Namespace
) -> int:
    """Replay each of *meant*. What still has no handler, or got tasks meanwhile, is passed over."""
    done = 0
    without: dict[str, int] = {}
    show_progress = terminal.shows_progress()
    for number, (event_id, topic) in enumerate(meant, 1):
        try:
            replay(event_id)
            done += 1
        except StoreUnavailable:
            raise
        except (NotFound, StoreError):
            without[topic] = without.get(topic, 0) + 1
        if show_progress:
            terminal.progress(bar(number, len(meant)))
    if show_progress:
        terminal.clear_progress()
    passed_over = sum(without.values())
    if options.json:
        terminal.row({"replayed": done, "passed_over": passed_over})
    else:
        terminal.line(f"replayed {done}")
    for topic, count in sorted(without.items()):
        terminal.note(f"passed over {count} of topic {topic}: no handler, or replayed by somebody else")
    return 1 if passed_over and not done else 0


def bar(done: int, total: int, width: int = 30) -> str:
    """How far something is: ``[#####-----] 5 of 10``."""
    filled = width * done // total
    return f"[{'#' * filled}{'-' * (width - filled)}] {done} of {total}"


def replay_each(options: argparse.Namespace, ids: Iterable[ObjectId]) -> int:
    """Replay the events of *ids* in their order; the first that cannot be ends it."""
    with open_poster(options) as poster:
        for one in ids:
            tasks = [str(task_id) for task_id in poster.replay(one).task_ids]
            if options.json:
                terminal.row({"event": str(one), "tasks": tasks})
            else:
                for task_id in tasks:
                    terminal.done(task_id)
    return 0
