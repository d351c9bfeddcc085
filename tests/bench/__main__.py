"""``make bench``: the measurements, or those named on the command line."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import monqbus
from bus.clock import Clock
from bus.config import load
from bus.connecting import client, is_embedded
from bus.model import Filter, Instance
from bus.store import Store

from . import schedules as planned
from .collisions import collisions
from .daemons import SECRET, Measured, bare, daemon, place, write_config
from .filled import Stores, fill, opened, stores
from .growth import growth
from .hooks import costs_of_proofs, costs_of_rules
from .peers import peers
from .scale import scale
from .tables import table
from .trips import trips

HTTP_SECONDS = 5.0
DRAIN_TASKS = 50_000
IDLE_SECONDS = 10.0
STARTS = 7
ROOT = Path(__file__).parents[2]


def loaded(measured: Measured, connections: int) -> dict[str, object]:
    """Load one server from a process of its own."""
    host, port = measured.address
    words = [
        sys.executable,
        "-m",
        "tests.bench.load",
        host,
        str(port),
        str(connections),
        str(HTTP_SECONDS),
        SECRET,
    ]
    return json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)


def http(found: Stores) -> None:
    """Accepted deliveries a second, side by side with servers that store nothing."""
    rows = []
    for connections in (1, 32, 256):
        with bare("pywsgi") as server:
            plain = loaded(server, connections)
        with bare("flask") as server:
            flask = loaded(server, connections)
        rows.append([connections, "bare WSGI on pywsgi", plain["rate"], plain["p50"], plain["p99"], "", ""])
        rows.append(
            [connections, "bare Flask, our server", flask["rate"], flask["p50"], flask["p99"], 1.0, ""]
        )
        for name, store in found.items():
            with place() as folder, daemon(write_config(folder, store("http"))) as server:
                loaded_ = loaded(server, connections)
                ratio = loaded_["rate"] / flask["rate"]
                rows.append(
                    [
                        connections,
                        f"monqbus {name}",
                        loaded_["rate"],
                        loaded_["p50"],
                        loaded_["p99"],
                        ratio,
                        loaded_["statuses"],
                    ]
                )
    table(
        "HTTP: signed 1 KB deliveries",
        ["connections", "server", "accepted/s", "p50 ms", "p99 ms", "of Flask", "statuses"],
        rows,
    )


def drain(found: Stores) -> None:
    """How fast a backlog is worked off by one daemon."""
    rows = []
    for name, store in found.items():
        with place() as folder:
            config = write_config(folder, store("drain"))
            waiting = opened(config)
            fill(waiting, DRAIN_TASKS)
            waiting.close()
            with daemon(config) as server:
                rate, cpu = _drained(config, server)
            rows.append([name, DRAIN_TASKS, rate, cpu / DRAIN_TASKS * 1e6])
    table("Drain of waiting no-ops", ["store", "tasks", "tasks/s", "µs CPU a task"], rows)


def _drained(config: Path, server: Measured) -> tuple[float, float]:
    admin = _admin(config)
    first = (admin.count(Filter()).get("complete", 0), time.monotonic(), server.cpu_seconds())
    while (done := admin.count(Filter()).get("complete", 0)) < DRAIN_TASKS:
        time.sleep(0.1)
    took = time.monotonic() - first[1]
    return (done - first[0]) / took, (server.cpu_seconds() - first[2]) * DRAIN_TASKS / max(1, done - first[0])


def _admin(config_path: Path):
    config = load(config_path, {})
    if is_embedded(config):
        return client(config)
    from bus.admin import Admin

    return Admin(opened(config_path), Clock())


def post(found: Stores) -> None:
    """Durable posts a second: from greenlets of the daemon, and from another process."""
    from benchapp import flood, nothing

    rows = []
    for name, store in found.items():
        with place() as folder:
            config = write_config(folder, store("post"))
            with daemon(config):
                monqbus.connect(config)
                one = flood.post(1, 2000).join(60)
                many = flood.post(64, 20_000).join(60)
                began = time.monotonic()
                for _ in range(1000):
                    nothing.post()
                other = 1000 / (time.monotonic() - began)
        rows.append([name, one, many, other])
    table(
        "Durable posts a second (and run)", ["store", "1 greenlet", "64 greenlets", "another process"], rows
    )


def wake(found: Stores) -> None:
    """From a post in another process to the handler's first line, one every 20 ms, an idle daemon."""
    from benchapp import stamp, stamps

    rows = []
    for name, store in found.items():
        with place() as folder:
            config = write_config(folder, store("wake"))
            with daemon(config):
                monqbus.connect(config)
                stamp.post(time.monotonic()).join(10)
                stamps.post().join(10)
                for _ in range(300):
                    stamp.post(time.monotonic())
                    time.sleep(0.02)
                taken = sorted(stamps.post().join(10))
        rows.append(
            [name, statistics.median(taken) * 1000, taken[int(len(taken) * 0.99)] * 1000, taken[-1] * 1000]
        )
    table("Wake-up from another process", ["store", "p50 ms", "p99 ms", "max ms"], rows)


def idle(found: Stores) -> None:
    """What a daemon costs that has nothing to do."""
    rows = []
    for name, store in found.items():
        with place() as folder, daemon(write_config(folder, store("idle"))) as server:
            time.sleep(3)
            before = server.cpu_seconds()
            time.sleep(IDLE_SECONDS)
            rows.append([name, (server.cpu_seconds() - before) / IDLE_SECONDS * 100, server.pss_mb()])
    table("Idle", ["store", "CPU %", "PSS MB"], rows)


def claim(found: Stores) -> None:
    """Claiming 100 with a short and with a long queue, and one in which a million wait under 100,000 keys."""
    rows = []
    for name, store in found.items():
        with place() as folder:
            figures = []
            for waiting in (1_000, 1_000_000):
                config = write_config(folder, store(f"claim{waiting}"))
                opened_ = opened(config)
                fill(opened_, waiting - sum(opened_.count(Filter(states=("ready",))).values()))
                figures.append(_claims(opened_, 8))
                opened_.close()
            keyed = opened(write_config(folder, store("claimkeyed")))
            fill(keyed, 1_000_000, keys=100_000)
            figures.append(_claims(keyed, 8))
            keyed.close()
            rows.append(
                [name, *(one * 1000 for one in figures), figures[1] / figures[0], figures[2] / figures[1]]
            )
    headings = ["store", "1,000 wait: ms", "1,000,000 wait: ms", "under 100,000 keys: ms", "ratio", "of keys"]
    table("Claiming 100 tasks", headings, rows)


def _claims(store: Store, times: int) -> float:
    clock, worker = Clock(), Instance("bench", "bench")
    took = []
    for _ in range(times):
        began = time.perf_counter()
        claimed = store.claim(worker, {"benchapp.nothing"}, 100, clock.now())
        took.append(time.perf_counter() - began)
        assert len(claimed.tasks) == 100
    return statistics.median(took)


def cpu(found: Stores) -> None:
    """What CPU workers cost, how much of the machine they give, and what they leave to the hub."""
    cores = os.cpu_count() or 1
    words = [sys.executable, "-m", "tests.bench.farm", str(cores)]
    worker_pool = json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
    table(
        "CPU workers",
        ["empty p50 µs", "p99 µs", "new worker ms", f"{cores} plain processes s", "workers s", "of plain"],
        [[*worker_pool.values(), worker_pool["plain"] / worker_pool["workers"]]],
    )
    rows = [["idle", connections, *_beside_workers(connections, 0)] for connections in (1, 32)]
    rows += [["all busy", connections, *_beside_workers(connections, cores)] for connections in (1, 32)]
    table("HTTP beside CPU workers", ["workers", "connections", "accepted/s", "p50 ms", "p99 ms"], rows)


def _beside_workers(connections: int, busy: int) -> list[object]:
    from benchapp import burn

    with place() as folder:
        config = write_config(folder, "sqlite")
        with daemon(config) as server:
            monqbus.connect(config)
            for _ in range(busy):
                burn.post(HTTP_SECONDS + 3.0)
            time.sleep(2.0)  # until the workers are there
            measured = loaded(server, connections)
    return [measured["rate"], measured["p50"], measured["p99"]]


def start(found: Stores) -> None:
    """From the command to its answer, warm: `version`, and `run` until a request is answered."""
    programs = {"from source": (sys.executable, str(ROOT / "monqbus.py"))}
    if (binary := ROOT / "dist" / "monqbus").is_file():
        programs["the executable"] = (str(binary),)
    rows = [[name, *_starts(words)] for name, words in programs.items()]
    table("Start", ["program", "version ms", "run ms"], rows)


def _starts(words: tuple[str, ...]) -> tuple[float, float]:
    versions, runs = [], []
    for _ in range(STARTS + 1):  # the first one is cold
        began = time.perf_counter()
        subprocess.run([*words, "version"], check=True, capture_output=True)
        versions.append(time.perf_counter() - began)
        with (
            place() as folder,
            _listening([*words, "run", "--config", str(write_config(folder, "sqlite"))]) as taken,
        ):
            runs.append(taken)
    return statistics.median(versions[1:]) * 1000, statistics.median(runs[1:]) * 1000


@contextlib.contextmanager
def _listening(words: list[str]) -> Iterator[float]:
    """The seconds until the daemon that *words* start says that it listens; stopped at the end."""
    began = time.perf_counter()
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        while b"daemon.started" not in (line := process.stderr.readline()):
            assert line, "the daemon has ended"
        taken = time.perf_counter() - began
        try:
            yield taken
        finally:
            process.terminate()
            process.stderr.read()


def schedules(found: Stores) -> None:
    """What ten thousand schedules cost."""
    rows = []
    for name, store in found.items():

        def measured(of, *more):
            with place() as folder:
                return of(folder, store(of.__name__), *more)  # noqa: B023 - called in this turn alone

        none = measured(planned.share, 0, planned.HOUR)
        quiet = measured(planned.share, planned.COUNT, 100 * planned.DAY)
        hourly = measured(planned.share, planned.COUNT, planned.HOUR)
        took, cpu = measured(planned.at_once, _ended)
        rows.append([name, none, quiet, hourly, took, cpu, *measured(planned.missed, _ended)])
    table(
        "10,000 schedules",
        [
            "store", "none: CPU %", "none comes: CPU %", "each hour: CPU %", "all at once: s", "CPU s",
            "all missed: listens s", "have run s", "CPU s",
        ],
        rows,
    )  # fmt: skip


def _ended(config: Path) -> int:
    return int(_admin(config).count(Filter()).get("complete", 0))


def hooks(found: Stores) -> None:
    """What rules with the delivery log, and the proof of the sender, add to a delivery."""
    head = ["store", "without: µs CPU a delivery", "with rules and log", "ratio", "middle half of pairs"]
    table("A hook with rules and log", head, [costs_of_rules(lambda server: loaded(server, 8))])
    table("Verifying 1 KiB", ["sender", "bytes", "µs CPU"], costs_of_proofs())


MEASUREMENTS = {
    "http": http, "hooks": hooks, "drain": drain, "post": post, "wake": wake, "idle": idle, "claim": claim,
    "cpu": cpu, "start": start, "schedules": schedules, "trips": trips, "collisions": collisions,
}  # fmt: skip
BY_NAME_ALONE = {"growth": growth, "scale": scale, "peers": peers}
"""What takes minutes, or asks PyPI."""


def main(names: list[str]) -> None:
    """Run the measurements called *names*, all but those BY_NAME_ALONE when there is none."""
    known = {**MEASUREMENTS, **BY_NAME_ALONE}
    sys.path.append(str(Path(__file__).parent / "apps"))
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    print(f"monqbus {monqbus.__version__}, Python {platform.python_version()}, {today}")
    with stores() as found:
        for name in names or MEASUREMENTS:
            known[name](found)


if __name__ == "__main__":
    main(sys.argv[1:])
