"""``make soak``: a daemon of each store under a steady load for hours; does anything grow?

Signed deliveries come at the same rate, and a task from another process each second. ``SOAK`` is how many
minutes it lasts (120), ``RATE`` how many deliveries a second each daemon gets, without it half of what
it took in a burst before. Ended tasks and events are kept for one interval, so that from the second one on as
much is forgotten as comes. Prints a table, and draws it into build/soak.svg.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymongo

import monqbus

from .__main__ import loaded
from .daemons import SECRET, Measured, daemon, place, server_pid, write_config
from .filled import Stores, stores
from .load import Client, request
from .plot import draw
from .tables import table
from .trips import address_of

MINUTES = float(os.environ.get("SOAK", "120"))
RATE = float(os.environ.get("RATE", "0"))
INTERVALS = 12
HALF = 0.5
SHORTEST_SECONDS = 60
PICTURE = Path(__file__).parents[2] / "build" / "soak.svg"
MIB = 2**20
KEPT = """\
keep_complete = {seconds}s
keep_failed = {seconds}s
keep_events = {seconds}s
[http]
"""
COLUMNS = (
    "sent", "RSS MiB", "PSS MiB", "threads", "fds", "files MiB", "WAL MiB", "CPU µs each", "HTTP p50 ms",
    "HTTP p99 ms", "wake-up p50 ms", "wake-up p99 ms", "stored tasks",
)  # fmt: skip


class Load(threading.Thread):
    """Sends deliveries at a steady rate over one connection; late ones at once. Keeps their latencies."""

    def __init__(self, server: Measured, rate: float) -> None:
        super().__init__(daemon=True)
        self._client = Client(server.address)
        self._pause = 1 / rate
        self._over = threading.Event()
        self._taken: list[float] = []
        self.refused = 0

    def run(self) -> None:
        number = time.time_ns()
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            number += 1
            self._client.send(request(number, SECRET))
            self.refused += self._client.receive() != "202"
            self._taken.append(time.monotonic() - due)  # since it was due: waiting for the one before counts
            due += self._pause

    def stop(self) -> None:
        self._over.set()
        self.join()

    def latencies(self) -> list[float]:
        """Those since the last call."""
        taken, self._taken = self._taken, []
        return taken


class Soaked:
    """One daemon, what it gets, and what is seen of it."""

    def __init__(self, name: str, server: Measured, rate: float) -> None:
        self.name = name
        self.rate = rate
        self._server = server
        self._load = Load(server, rate)
        self._cpu = server.cpu_seconds()
        self._database = None
        if name == "mongodb":
            address = address_of(server.config)
            self._database = pymongo.MongoClient(address).get_default_database()
            self._database_pid = server_pid(address)
        self._load.start()

    def stamp(self) -> None:
        """Post one task that notes how long it has waited."""
        from benchapp import stamp

        monqbus.connect(self._server.config)
        stamp.post(time.monotonic())

    def row(self) -> list[object]:
        """One interval."""
        from benchapp import stamps

        monqbus.connect(self._server.config)
        woken, taken = stamps.post().join(30) or [0.0], self._load.latencies() or [0.0]
        cpu, self._cpu = self._cpu, self._server.cpu_seconds()
        proc = Path(f"/proc/{self._server.process.pid}")
        return [
            len(taken), _rss(proc), self._server.pss_mb(), len(list((proc / "task").iterdir())),
            len(list((proc / "fd").iterdir())), *self._files(), (self._cpu - cpu) / len(taken) * 1e6,
            *_percentiles(taken), *_percentiles(woken), self._stored(),
        ]  # fmt: skip

    def stop(self) -> int:
        """End the load; how many deliveries were not accepted."""
        self._load.stop()
        return self._load.refused

    def _files(self) -> tuple[float, float]:
        if self._database is not None:
            stats = self._database.command("dbStats")
            return (stats["storageSize"] + stats["indexSize"]) / MIB, 0.0
        files = {path.name: path.stat().st_size for path in (self._server.config.parent / "data").iterdir()}
        return sum(files.values()) / MIB, files.get("monqbus.db-wal", 0) / MIB

    def _stored(self) -> int:
        if self._database is not None:
            return int(self._database["monq_task"].estimated_document_count())
        from bus.config import load
        from bus.connecting import client
        from bus.model import Filter

        return sum(client(load(self._server.config, {})).count(Filter()).values())


def _rss(proc: Path) -> float:
    (line,) = [line for line in (proc / "status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000


def _started(found: Stores, name: str, folder: Path, stack: ExitStack, kept: float) -> Soaked:
    own = folder / name
    own.mkdir()
    config = write_config(own, found[name]("soak"))
    config.write_text(config.read_text().replace("[http]\n", KEPT.format(seconds=int(kept))))
    server = stack.enter_context(daemon(config))
    rate = RATE or HALF * float(str(loaded(server, 1)["rate"])) / len(found)
    return Soaked(name, server, rate)


def main() -> None:
    """Soak, one row for each interval, and draw them."""
    seconds = MINUTES * 60
    interval = max(SHORTEST_SECONDS, seconds / INTERVALS)
    with stores() as found, place() as folder, ExitStack() as stack:
        soaked = [_started(found, name, folder, stack, interval) for name in found]
        rows = _watched(soaked, interval, round(seconds / interval))
        refused = {one.name: one.stop() for one in soaked}
    for one in soaked:
        title = f"Soak, {one.name}: {MINUTES:g} min at {one.rate:,.0f} deliveries a second"
        table(title, ["min", *COLUMNS], rows[one.name])
    print(f"\nNot accepted: {json.dumps(refused)}")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(rows, ["minutes", *COLUMNS]))
    print(f"Drawn: {PICTURE}")


def _watched(soaked: list[Soaked], interval: float, times: int) -> dict[str, list[list[Any]]]:
    rows: dict[str, list[list[Any]]] = {one.name: [] for one in soaked}
    began = time.monotonic()
    for number in range(1, times + 1):
        _each_second(began + number * interval, [one.stamp for one in soaked])
        for one in soaked:
            row = [number * interval / 60, *one.row()]
            rows[one.name].append(row)
            print(one.name, row, file=sys.stderr, flush=True)
    return rows


def _each_second(until: float, calls: list[Callable[[], None]]) -> None:
    while time.monotonic() < until:
        for call in calls:
            call()
        time.sleep(1.0)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent / "apps"))
    main()
