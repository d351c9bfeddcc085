"""A daemon reduced to its farm. ``python -m tests.bench.farm WORKERS`` prints one JSON object."""

from bus.cpu import zygote

if __name__ == "__main__":
    zygote.start()  # as `monqbus run` does: before anything else
    from gevent import monkey

    monkey.patch_all()

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import gevent

from bus.apps.calls import prepare
from bus.apps.options import Options
from bus.clock import Clock
from bus.cpu.app_version import Apps
from bus.cpu.worker_handle import WorkItem
from bus.cpu.worker_pool import PoolOptions, WorkerPool

APPS = Path(__file__).parent / "apps"
ROOT = Path(__file__).parents[2]
ROUNDS = 5_000
LAPS = 20_000_000
TURNS = 3
PLAIN = f"""\
import time
from bus.cpu.child_setup import be_expendable
be_expendable()
def count_up(number):
    started = time.monotonic()
    for _ in range(number):
        pass
    return time.monotonic() - started
print(count_up({LAPS}))
"""


def item(name: str, *args: object) -> WorkItem:
    """A item for the farm that asks for nothing."""
    return WorkItem(prepare(Clock(), f"benchapp.{name}", args, {}, Options(), {}), None, lambda _: None)


def round_trips(worker_pool: WorkerPool) -> list[float]:
    """Seconds of each empty item, one after the other, a warm worker."""
    worker_pool.perform(item("nothing_elsewhere"))
    taken = []
    for _ in range(ROUNDS):
        one = item("nothing_elsewhere")
        began = time.perf_counter()
        worker_pool.perform(one)
        taken.append(time.perf_counter() - began)
    return sorted(taken)


def starts(worker_pool: WorkerPool) -> float:
    """Seconds from wanting a new worker to its first end: the median of some."""
    taken = []
    for _ in range(20):
        one = item("nothing_elsewhere")
        began = time.perf_counter()
        worker_pool.perform_alone(one)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def in_workers(worker_pool: WorkerPool, workers: int) -> float:
    """Seconds until every worker has counted to LAPS, all at once."""
    gevent.joinall([gevent.spawn(worker_pool.perform, item("nothing_elsewhere")) for _ in range(workers)])
    began = time.perf_counter()
    gevent.joinall([gevent.spawn(worker_pool.perform, item("count_up", LAPS)) for _ in range(workers)])
    return time.perf_counter() - began


def in_plain_processes(workers: int) -> float:
    """The same in plain processes, as nice as workers: the longest of what each has measured itself."""
    words = [sys.executable, "-c", PLAIN]
    processes = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
        for _ in range(workers)
    ]
    return max(float(process.communicate()[0]) for process in processes)


def main(workers: int) -> None:
    """Measure, alternating, so that both meet the same machine."""
    worker_pool = WorkerPool(zygote.connection() or -1, Apps(("benchapp",), (APPS,)), PoolOptions(workers))
    worker_pool.warm_up()
    trips = round_trips(worker_pool)
    pairs = [(in_plain_processes(workers), in_workers(worker_pool, workers)) for _ in range(TURNS)]
    figures = {
        "p50": trips[ROUNDS // 2] * 1e6,
        "p99": trips[ROUNDS * 99 // 100] * 1e6,
        "start": starts(worker_pool) * 1e3,
        "plain": min(plain for plain, _ in pairs),
        "workers": min(ours for _, ours in pairs),
    }
    worker_pool.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]))
