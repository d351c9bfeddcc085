"""`top`: what a running daemon does now, in a terminal, looked at again every few seconds."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final, NamedTuple

from ..api.client import ApiClient
from ..clock import Clock
from ..connecting import client
from ..safe_text import shortened
from . import terminal
from .replaying import bar
from .session import read_config
from .times import seconds

LEAST_SECONDS: Final = 0.1
SHOWN: Final = (
    ("posted", ("task.posted",)),
    ("finished", ("task.finished",)),
    ("retried", ("task.retried",)),
    ("failed", ("task.gave_up",)),
    ("deliveries", ("event.received",)),
    ("refused", ("event.refused",)),
)
"""What happens in a second, by the facts that tell it."""
ODD: Final = ("task.lost", "hub.unblocked", "lease.lost", "store.failed", "cpu_worker.crashed")


class Look(NamedTuple):
    """What the daemon said at one moment."""

    at: float
    facts: Mapping[str, int]
    status: Mapping[str, Any]
    workers: Mapping[str, Any]


def top(options: argparse.Namespace) -> int:
    """Show it until it is interrupted; once where nobody looks at a terminal, or with --once."""
    pause = max(LEAST_SECONDS, seconds("--interval", options.interval))
    clock = Clock()
    with closing(client(read_config(options))) as daemon:
        before = _look(daemon, clock)
        while True:
            clock.sleep(pause)
            now = _look(daemon, clock)
            columns, rows = shutil.get_terminal_size()
            is_once = options.once or not sys.stdout.isatty()
            whole = (sys.maxsize, sys.maxsize)
            terminal.screen(lines(before, now, *(whole if is_once else (columns, rows - 1))))
            if is_once:
                return 0
            before = now


def _look(daemon: ApiClient, clock: Clock) -> Look:
    return Look(clock.monotonic(), daemon.facts()[1], daemon.status(), daemon.workers())


def lines(before: Look, now: Look, columns: int, rows: int) -> list[str]:
    """One screen of at most *columns* and *rows*."""
    return [shortened(line, columns) for line in _lines(before, now)][:rows]


def _lines(before: Look, now: Look) -> Iterator[str]:
    status, workers = now.status, now.workers
    ready = "ready" if status["reason"] is None else f"NOT READY: {status['reason']}"
    yield f"{workers['title']}  {ready}"
    for sentence in status.get("pauses", ()):
        yield f"paused  {sentence}"
    yield "  ".join(f"{word} {_rate(before, now, facts):.1f}/s" for word, facts in SHOWN)
    if odd := [f"{fact} {now.facts[fact]}" for fact in ODD if now.facts.get(fact)]:
        yield f"since its start: {', '.join(odd)}"
    waiting = workers.get("waiting", {})
    yield f"ready {sum(waiting.values())}  running {len(workers['running'])}"
    for lane, of in workers["lanes"].items():
        yield f"{lane:<12}{bar(min(of['taken'], of['slots']), max(of['slots'], 1))}"
    ill = [one for one in status["services"] if one["state"] in ("failing", "dead")]
    for one in ill:
        yield f"{one['name']} is {one['state']}: {one['error'] or 'no reason given'}"
    if workers["running"]:
        yield f"{'RUNS FOR':>10}  {'ID':<24}  NAME"
        for run in sorted(workers["running"], key=lambda run: -run["seconds"]):
            yield f"{run['seconds']:>8.1f} s  {run['id']!s:<24}  {run['name']}"
    if waiting:
        yield f"{'READY':>10}  NAME"
        for name, count in sorted(waiting.items(), key=lambda one: (-one[1], one[0])):
            yield f"{count:>10}  {name}"


def _rate(before: Look, now: Look, facts: tuple[str, ...]) -> float:
    happened = sum(now.facts.get(fact, 0) - before.facts.get(fact, 0) for fact in facts)
    return max(0, happened) / max(now.at - before.at, LEAST_SECONDS)
