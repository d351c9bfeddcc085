"""An engine whose loops tick by hand: a frozen clock, a store in memory that can be told to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import gevent
import pytest
from gevent.event import Event as Signal

from bus import telemetry
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import Clock, FrozenClock
from bus.engine.claimer import Claimer
from bus.engine.executor import Executor
from bus.engine.health import Health
from bus.engine.lanes import Lane, Lanes
from bus.engine.pool import Pool
from bus.engine.recorder import Recorder
from bus.engine.run import Run
from bus.model import Instance, MonQTask, Posting
from bus.posting import PostOffice, prepare
from bus.process import identity
from bus.retry import Policy
from bus.rules import OF_AN_EVENT, compiled
from bus.store import Store, open_memory_store
from bus.testing import FaultyStore

PATIENCE = 5.0


class Facts:
    """What was told while a test ran."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        self._news = Signal()

    def __call__(self, fact: str, fields: Mapping[str, Any]) -> None:
        self.told.append((fact, fields))
        self._news.set()

    @property
    def names(self) -> list[str]:
        """The facts in order."""
        return [fact for fact, _ in self.told]

    def of(self, name: str) -> list[Mapping[str, Any]]:
        """The fields of every telling of *name*."""
        return [fields for fact, fields in self.told if fact == name]

    def wait_for(self, name: str, timeout: float = PATIENCE) -> Mapping[str, Any]:
        """The fields of the first telling of *name*, now or within *timeout* seconds."""
        with gevent.Timeout(timeout, AssertionError(f"{name} was not told within {timeout} s: {self.names}")):
            while not self.of(name):
                self._news.clear()
                self._news.wait()
        return self.of(name)[0]


def death_of(health: Health) -> Signal:
    """Is set when *health* hears that its part has died."""
    died, die = Signal(), health.die

    def heard(reason: object) -> None:
        die(reason)
        died.set()

    health.die = heard  # type: ignore[method-assign]
    return died


@pytest.fixture
def facts() -> Iterator[Facts]:
    """Every fact told during this test."""
    listener = Facts()
    forget = telemetry.listen(listener)
    yield listener
    forget()


class Engine:
    """One daemon's working parts, with nothing that moves by itself except its tasks."""

    def __init__(self, slots: int, clock: Any = None) -> None:
        self.clock = clock or FrozenClock()
        self.faulty = FaultyStore(open_memory_store())
        self.store = cast(Store, self.faulty)
        self.instance = Instance("w1", "monqbus/here pid 1", identity.of_this_process())
        self.registry = Registry()
        self.is_safe = True
        self.gate = Signal()
        self.recorder = Recorder(self.store, self.clock)
        self.executor = Executor(lambda: self.registry, self.recorder, self.clock, Policy())
        self.lanes = Lanes(self.instance, self.clock, self._new_pool, self._new_claimer)
        self.recorder.waiting_again = self.lanes.expect_at
        self.slots = {"greenlets": slots}
        self.names: dict[str, set[str]] = {"greenlets": set()}
        self._arrange()
        self.office = PostOffice(self.store, lambda: self.registry, self.clock, starter=self.lanes)

    def add_lane(self, title: str, slots: int) -> None:
        """One more lane; `pool` and `claimer` are its own from now on."""
        self.slots[title], self.names[title] = slots, set()
        self._arrange()

    def _arrange(self) -> None:
        self.lanes.arrange(
            {title: Lane(self.slots[title], frozenset(self.names[title])) for title in self.slots}
        )

    def _new_pool(self, slots: int) -> Pool:
        # its clock is a real one, so that its drain yields to the tasks
        self.pool = Pool(slots, self.executor.run, Clock())
        return self.pool

    def _new_claimer(self, pool: Pool, names: Callable[[], frozenset[str]]) -> Claimer:
        self.claimer = Claimer(
            self.store, self.instance, pool, self.recorder, self.clock,
            names=names, may_claim=lambda: self.is_safe,
        )  # fmt: skip
        return self.claimer

    def declare(
        self,
        function: Callable[..., Any],
        name: str = "t",
        *,
        topic: str = "",
        when: str = "",
        lane: str = "greenlets",
        **options: Any,
    ) -> Task[..., Any]:
        """Register *function* as a task of *lane*, with *topic* as a handler of those *when* holds for."""
        task: Task[..., Any] = Task(function, name, Options().but(options))
        self.registry.add(task)
        self.names[lane].add(name)
        self._arrange()
        if topic:
            self.registry.subscribe(task, [topic], compiled(when, OF_AN_EVENT) if when else None)
        return task

    def waiting(self, *args: Any, name: str = "t", **options: Any) -> MonQTask:
        """A task stored as ready by somebody else, nobody told."""
        task = prepare(self.clock, name, args, {}, Options().but(options), {})
        self.store.post([Posting([task])])
        return task

    def perform(self, task: MonQTask) -> MonQTask:
        """Claim *task* (the only one that is due), run it, record its end; the task as stored then."""
        (claimed,) = self.store.claim(self.instance, self.registry.tasks, 1, self.clock.now()).tasks
        assert task.id == claimed.id
        self.run(Run(claimed, self.clock.monotonic()))
        self.recorder.tick()
        return self.now(task)

    def run(self, run: Run) -> None:
        """Let the executor carry out *run* in a greenlet, as the pool does."""
        greenlet = gevent.spawn(self.executor.run, run)
        greenlet.join(PATIENCE)
        assert greenlet.successful(), "the executor raised or did not end"

    def now(self, task: MonQTask) -> MonQTask:
        """*task* as it is stored."""
        stored = self.store.get(task.id)
        assert stored is not None
        return stored

    def close(self) -> None:
        """Let everything end that still waits at the gate."""
        self.gate.set()
        self.pool.drain(PATIENCE)
        self.store.close()


@pytest.fixture
def new_engine() -> Iterator[Callable[..., Engine]]:
    """Makes an engine with so many slots."""
    engines = []

    def new(slots: int, clock: Clock | None = None) -> Engine:
        engines.append(Engine(slots, clock))
        return engines[-1]

    yield new
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(new_engine: Callable[..., Engine]) -> Engine:
    """An engine with four slots. Its task `held` waits at `engine.gate`."""
    made = new_engine(4)
    made.declare(lambda *_: made.gate.wait(PATIENCE), "held")
    return made
