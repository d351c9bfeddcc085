"""What ten thousand schedules cost: while none comes, while some do, all at once, and after a time away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .daemons import Measured, daemon, write_config

COUNT = 10_000
QUIET_SECONDS = 20.0
PATIENCE_SECONDS = 120.0
HOUR = 3600.0
DAY = 86_400.0

Counted = Callable[[Path], int]


@contextmanager
def planned(config: Path, **plan: float) -> Iterator[tuple[Measured, float]]:
    """A daemon with so many schedules, and the seconds until it listens."""
    text = config.read_text()
    if "planned" not in text:
        config.write_text(text.replace("apps = benchapp", "apps = benchapp, planned"))
    os.environ.update({f"BENCH_{name.upper()}": str(value) for name, value in plan.items()})
    began = time.monotonic()
    try:
        with daemon(config) as server:
            yield server, time.monotonic() - began
    finally:
        for name in plan:
            del os.environ[f"BENCH_{name.upper()}"]


def share(folder: Path, store: str, count: int, every: float) -> float:
    """Per cent of a core for a daemon with *count* schedules that are spread over *every* seconds."""
    config = write_config(folder, store)
    with planned(config, schedules=count, every=every, spread=every) as (server, _):
        time.sleep(8.0)
        before = server.cpu_seconds()
        time.sleep(QUIET_SECONDS)
        return (server.cpu_seconds() - before) / QUIET_SECONDS * 100


def at_once(folder: Path, store: str, ended: Counted) -> tuple[float, float]:
    """All come at one moment: the seconds until their tasks have ended, and the CPU seconds of that."""
    config = write_config(folder, store)
    moment = float(int(time.time() + 20))
    with planned(config, schedules=COUNT, every=DAY, first=moment) as (server, _):
        time.sleep(max(0.0, moment - 1 - time.time()))
        before = server.cpu_seconds()
        return _until_all_ended(config, ended, moment), server.cpu_seconds() - before


def missed(folder: Path, store: str, ended: Counted) -> tuple[float, float, float]:
    """Each came while no daemon ran: the seconds until the next one listens and has run them, and its CPU."""
    config = write_config(folder, store)
    moment = float(int(time.time() + 20))
    plan = {"schedules": COUNT, "every": DAY, "first": moment}
    with planned(config, **plan):
        time.sleep(8.0)  # until it has written down where it begins
    time.sleep(max(0.0, moment + 3 - time.time()))
    began = time.time()
    with planned(config, **plan) as (server, listens):
        return listens, _until_all_ended(config, ended, began), server.cpu_seconds()


def _until_all_ended(config: Path, ended: Counted, since: float) -> float:
    give_up = time.time() + PATIENCE_SECONDS
    while (done := ended(config)) < COUNT:
        if time.time() > give_up:
            raise SystemExit(f"{done} of {COUNT} ticks have run within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)
    return time.time() - since
