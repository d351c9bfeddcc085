"""Run handlers in a test, without daemon, database or sleep.

::

    def test_a_mail_goes_out_after_a_minute():
        with Bench() as bench:
            send_mail.options(delay=60).post("a@b", "hi")
            assert [] == bench.run_ready()

            bench.advance(60)
            (task,) = bench.run_ready()

        assert "complete" == task.state

Tasks go through the daemon's own claimer, executor and recorder, on an embedded store in memory;
only the clock stands still, and one task runs at a time. Patches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import gevent

from .apps import registry
from .apps.poster import Poster, bind, poster
from .clock import UTC, FrozenClock
from .engine.claimer import Claimer
from .engine.executor import Executor
from .engine.pool import Pool
from .engine.recorder import Recorder
from .engine.run import Run
from .errors import JoinTimeout, MonqbusError, NotBound, NotFound, StoreUnavailable
from .model import READY, Event, Filter, Instance, MonQTask, Receipt, State
from .posting import PostOffice
from .retry import Policy
from .store import Store, open_memory_store

__all__ = ["Bench", "FaultyStore", "FrozenClock"]

MOST_RUNS: Final = 10_000
PAGE: Final = 1000


class Bench:
    """In its `with` block every `.post()` and `post_event()` of this process ends up here.

    Nothing runs by itself: `run_ready`, `drain` and a task's `join()` let it. `clock` stands at
    *start* until `advance`. Back-off has no jitter. `store` can be made to fail, see FaultyStore.
    """

    def __init__(
        self, *, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), policy: Policy | None = None
    ) -> None:
        self.clock: FrozenClock = _BenchClock(start, self._run_something)
        self._policy = policy or Policy()

    def __enter__(self) -> Bench:
        self.store = FaultyStore(open_memory_store())
        store, known = cast(Store, self.store), registry.registry
        self._recorder = Recorder(store, self.clock)
        self._recorder.keep_failed = self._policy.keep_failed
        executor = Executor(known, self._recorder, self.clock, self._policy)
        self._pool = _OneAtATime(1, executor.run, self.clock)
        self._claimer = Claimer(
            store, Instance("bench", "bench"), self._pool, self._recorder, self.clock,
            names=lambda: known().tasks, may_claim=lambda: True,
        )  # fmt: skip
        self._office = PostOffice(store, known, self.clock)
        self._poster_before = _bound_poster()
        bind(self._office)
        return self

    def __exit__(self, *error: object) -> None:
        bind(self._poster_before)
        self.store.close()

    def run_ready(self) -> list[MonQTask]:
        """Run everything that is due, also what that posts; the task of every run, as it stands now.

        In the daemon's order: priority, then age. Raises MonqbusError when there is no end to it.
        """
        first = len(self._pool.begun)
        while self._step():
            pass
        return [self.look(task) for task in self._pool.begun[first:]]

    def drain(self) -> list[MonQTask]:
        """As `run_ready`, advancing the clock to whatever is due later, until no known task waits."""
        first = len(self._pool.begun)
        self.run_ready()
        while (due := self._next_due()) is not None:
            self.advance((due - self.clock.now()).total_seconds())
            self.run_ready()
        return [self.look(task) for task in self._pool.begun[first:]]

    def advance(self, seconds: float) -> None:
        """Move the clock forward. Runs nothing; inside a handler, it makes the handler slow."""
        self.clock.advance(seconds)

    def deliver(
        self,
        topic: str,
        body: object = b"",
        headers: Mapping[str, str] | None = None,
        *,
        hook: str = "bench",
        delivery: str | None = None,
        query: Mapping[str, str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Store a webhook delivery, as if it had been verified, for the handlers of *topic*.

        *body* is bytes, or a value that becomes JSON. The same *delivery* id twice is a duplicate.
        *attributes* are those of a CloudEvent.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        event = Event(self.clock.new_id(), topic, self.clock.now(), hook=hook, delivery=delivery, body=raw)
        event.headers = {name.lower(): value for name, value in (headers or {}).items()}
        event.query, event.attributes = dict(query or {}), dict(attributes or {})
        return self._office.deliver(event)

    def tasks(self, *states: State, name: str = "") -> list[MonQTask]:
        """The stored tasks in one of *states* (any, when none is given), in order of posting.

        *name* is a whole one, in which each ``*`` stands for any text.
        """
        filter = Filter(states=states, name=name)
        found: list[MonQTask] = []
        while page := self.store.find(filter, PAGE, found[-1].id if found else None):
            found += page
        return found[::-1]

    def look(self, task: MonQTask) -> MonQTask:
        """*task* as it is stored now. Raises NotFound."""
        if (stored := self.store.get(task.id)) is None:
            raise NotFound(f"bench: task {task.id} {task.task_name} is not stored here")
        return stored  # type: ignore[no-any-return]

    def _step(self) -> bool:
        """Run at most one task and record its end; whether one ran."""
        before = len(self._pool.begun)
        if before >= MOST_RUNS:
            raise MonqbusError(f"bench: {before} tasks ran and there is no end; does one post itself?")
        self._claimer.tick()
        self._recorder.tick()
        return len(self._pool.begun) > before

    def _next_due(self) -> datetime | None:
        known = registry.registry().tasks
        return min((task.time_queue for task in self.tasks(READY) if task.task_name in known), default=None)

    def _run_something(self) -> None:
        """What passes the time while somebody waits in `join`."""
        if not self._step() and self._next_due() is None:
            raise JoinTimeout("bench: the awaited task has not ended and nothing is left to run")


class FaultyStore:
    """A store that fails when told to: every verb raises StoreUnavailable while it sleeps."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_asleep = False
        self._faults: dict[str, bool] = {}

    def sleep(self) -> None:
        """Answer nothing from now on."""
        self._is_asleep = True

    def wake(self) -> None:
        """Answer again."""
        self._is_asleep = False

    def fail_next(self, verb: str, *, after: bool = False) -> None:
        """Let the next call of *verb* fail, before its work or, with *after*, when it is done."""
        self._faults[verb] = after

    def close(self) -> None:
        """Close the store, asleep or not."""
        self._store.close()

    def __getattr__(self, verb: str) -> Any:
        work = getattr(self._store, verb)
        if not callable(work):
            return work

        def call(*args: Any, **kwargs: Any) -> Any:
            after = self._faults.pop(verb, None)
            if self._is_asleep or after is False:
                raise StoreUnavailable(f"faulty store: {verb} was told to fail")
            answer = work(*args, **kwargs)
            if after:
                raise StoreUnavailable(f"faulty store: {verb} was done, its answer was told to get lost")
            return answer

        return call


class _OneAtATime(Pool):
    """A pool whose `start` returns when the task is over. A task that joins another one makes room for it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.begun: list[MonQTask] = []

    @property
    def free(self) -> int:
        return 1

    def start(self, tasks: Iterable[MonQTask]) -> None:
        for task in tasks:
            self.begun.append(task)
            run = self.running[task.claim] = Run(task, self._clock.monotonic())
            gevent.spawn(self._run, run, None).join()


class _BenchClock(FrozenClock):
    """Sleeping lets the bench work, so that `join()` ends."""

    def __init__(self, start: datetime, work: Any) -> None:
        super().__init__(start)
        self._work = work

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        self._work()


def _bound_poster() -> Poster | None:
    try:
        return poster()
    except NotBound:
        return None
