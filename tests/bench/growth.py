"""What each verb of a store costs beside more and more that is stored.

Counted is what does not depend on other work of the machine: the CPU time of this process and of the
database's server, and how much that looks at (see tests.plans). ``GROWTH=7`` goes on to ten million ended.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from bus.clock import Clock
from bus.model import COMPLETE, ERROR, READY, SKIPPED, Event, Filter, Instance, MonQTask, Posting, Report
from bus.store import Store
from tests.plans import work

from .daemons import cpu_ns, place, server_pid, write_config
from .filled import Stores, opened
from .tables import table

SMALLEST, LARGEST = 3, int(os.environ.get("GROWTH", "6"))
MOST_WAITING = 1_000_000
CHUNK = 2_000
NAMES = [f"benchapp.name{number}" for number in range(10)]
WORKER = Instance("bench", "bench")
CLOCK = Clock()
RETENTION = timedelta(days=30)


def growth(found: Stores) -> None:
    """CPU and looks of each verb with 10^3 and more ended tasks, then with as many waiting."""
    for name, store in found.items():
        with place() as folder:
            config = write_config(folder, store("growth"))
            opened_ = opened(config)
            columns = [_measured(opened_, name, title) for title in _filled(opened_)]
            size = sum(path.stat().st_size for path in folder.rglob("monqbus.db*"))
            opened_.close()
        titles = [title for title, _ in columns]
        rows = [[verb, *(figures[verb] for _, figures in columns)] for verb in columns[0][1]]
        table(f"Growth, {name}: µs of CPU (and looked at)", ["verb", *titles], rows)
        if size:
            print(f"\nFiles at the end: {size / 2**20:,.0f} MiB")


def _filled(store: Store) -> Iterator[str]:
    """Fill step by step; the name of each step when it is there."""
    there = 0
    for exponent in range(SMALLEST, LARGEST + 1):
        _end(store, 10**exponent - there)
        there = 10**exponent
        yield f"{there:,} ended"
    waiting = min(10**LARGEST, MOST_WAITING)
    for tasks in _chunks(waiting, READY):
        store.post([Posting(tasks)])
    yield f"and {waiting:,} waiting"


def _end(store: Store, count: int) -> None:
    """Store *count* ended tasks, every tenth failed and every tenth with a delivery of its own."""
    for tasks in _chunks(count, COMPLETE):
        events = [_delivery(number, task) for number, task in enumerate(tasks[::10])]
        for number, task in enumerate(tasks[5::10]):
            task.state, task.result = ERROR, f"OSError: [Errno {number % 7}] refused"
        store.post([Posting([task for task in tasks if task.event_id is None]), *events])


def _delivery(number: int, task: MonQTask) -> Posting:
    event = Event(CLOCK.new_id(), "bench.push", task.time_queue, hook="bench", delivery=str(task.id))
    event.expire_at, event.body, event.task_ids = task.expire_at, b"x" * 200, [task.id]
    task.event_id, task.topic = event.id, event.topic
    return Posting([task], event)


def _chunks(count: int, state: str) -> Iterator[list[MonQTask]]:
    now = CLOCK.now()
    for start in range(0, count, CHUNK):
        yield [_task(number, state, now) for number in range(start, min(count, start + CHUNK))]


def _task(number: int, state: str, now: datetime) -> MonQTask:
    task = MonQTask(CLOCK.new_id(), NAMES[number % len(NAMES)], [number], {}, now, state=state)
    if state != READY:
        task.time_start = task.time_stop = now
        task.expire_at = now + RETENTION
    return task


class _Uses:
    """The verbs as a daemon and an operator use them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._claimed: list[MonQTask] = []

    def prepare(self) -> None:
        """Tasks to claim for each round, and nothing that is due to be forgotten."""
        self._store.post([Posting([_task(number, READY, CLOCK.now()) for number in range(2_000)])])

    def post(self) -> None:
        self._store.post([Posting([_task(0, READY, CLOCK.now())])])

    def deliver(self) -> None:
        self._store.post([_delivery(0, _task(0, READY, CLOCK.now()))])

    def claim(self) -> None:
        self._claimed = list(self._store.claim(WORKER, NAMES, 10, CLOCK.now()).tasks)
        assert len(self._claimed) == 10

    def end(self) -> None:
        fields = {"state": COMPLETE, "time_stop": CLOCK.now(), "expire_at": CLOCK.now() + RETENTION}
        assert all(self._store.report([Report(task.claim, fields) for task in self._claimed]))

    def page(self) -> None:
        self._store.find(Filter(), 50, brief=True)

    def page_of_failed(self) -> None:
        self._store.find(Filter(states=(ERROR,)), 50, brief=True)

    def page_of_a_rare_name(self) -> None:
        self._store.find(Filter(states=(ERROR,), name="benchapp.never"), 50, brief=True)

    def count(self) -> None:
        self._store.count(Filter())

    def count_of_failed_by_name(self) -> None:
        self._store.count(Filter(states=(ERROR,)), "name")

    def depth(self) -> None:
        self._store.depth(100_000)

    def waiting(self) -> None:
        self._store.waiting()

    def prune_nothing(self) -> None:
        self._store.prune(CLOCK.now(), 500)

    def spoil(self) -> None:
        """What the next call of `prune` takes."""
        gone = [_task(number, SKIPPED, CLOCK.now()) for number in range(500)]
        for task in gone:
            task.expire_at = CLOCK.now() - timedelta(seconds=5)
        self._store.post([Posting(gone)])

    def prune(self) -> None:
        assert self._store.prune(CLOCK.now(), 500) == 500


def _measured(store: Store, name: str, title: str) -> tuple[str, dict[str, str]]:
    uses = _Uses(store)
    uses.prepare()
    pid = server_pid(_address(store)) if name == "mongodb" else None
    figures = {
        "post one": _cost(store, pid, uses.post),
        "a delivery with its task": _cost(store, pid, uses.deliver),
        "claim 10": _cost(store, pid, uses.claim, behind=uses.end),
        "end 10": _cost(store, pid, uses.end, before=uses.claim),
        "newest 50": _cost(store, pid, uses.page),
        "newest 50 failed": _cost(store, pid, uses.page_of_failed),
        "failed of a name that none has": _cost(store, pid, uses.page_of_a_rare_name, times=3),
        "count by state": _cost(store, pid, uses.count, times=3),
        "count failed by name": _cost(store, pid, uses.count_of_failed_by_name, times=3),
        "depth, up to 100,000": _cost(store, pid, uses.depth, times=3),
        "waiting, by name": _cost(store, pid, uses.waiting, times=3),
        "prune, nothing due": _cost(store, pid, uses.prune_nothing),
        "prune 500": _cost(store, pid, uses.prune, before=uses.spoil, times=5),
    }
    return title, figures


def _nothing() -> None:
    pass


def _cost(
    store: Store,
    server: int | None,
    call: Callable[[], None],
    *,
    before: Callable[[], None] = _nothing,
    behind: Callable[[], None] = _nothing,
    times: int = 30,
) -> str:
    """CPU of one *call* in µs, of this process + of the server, and what was looked at for it."""
    own = server_own = 0
    for number in range(times + 1):
        before()
        began, server_began = time.process_time_ns(), cpu_ns(server) if server else 0
        call()
        if number:  # the first one prepares statements and plans
            own += time.process_time_ns() - began
            server_own += cpu_ns(server) - server_began if server else 0
        behind()
    before()
    looked_at = work(store, call)
    behind()
    shares = [f"{share / times / 1000:,.0f}" for share in ([own, server_own] if server else [own])]
    return f"{' + '.join(shares)} ({looked_at:,})"


def _address(store: Store) -> str:
    return store._connection._address
