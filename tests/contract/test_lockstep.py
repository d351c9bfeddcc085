"""Both stores and a model of their contract take the same steps and never give different answers.

Hypothesis chooses the steps. A short run, the same each time, belongs to the suite; with
MONQBUS_TEST_LONG=1 it looks at random and for minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pymongo.database import Database

from bus.model import (
    BUSY,
    COMPLETE,
    ENDED,
    ERROR,
    LEGAL_MOVES,
    READY,
    SKIPPED,
    STATES,
    Claim,
    Event,
    Filter,
    Instance,
    MonQTask,
    Posting,
    Report,
)
from bus.store.contract import Store
from bus.store.mongo import MongoStore
from bus.store.sqlite.store import MEMORY, SqliteStore
from tests.mongod import Deployment

from .pretend import Pretend
from .samples import NOW

IS_LONG = bool(os.environ.get("MONQBUS_TEST_LONG"))
PROFILE = settings(
    max_examples=2_000 if IS_LONG else 40,
    stateful_step_count=60 if IS_LONG else 40,
    derandomize=not IS_LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
ALL = 1_000

INSTANCES = [
    Instance("worker-one", "here pid 1"),
    Instance("worker-two", "there pid 2"),
    Instance("three", "pid 3"),
]
NAMES = ["shop.mail", "shop.bill", "other.task"]
RESULTS: list[Any] = [None, 0, "", "ValueError: no", [], {}, {"a": [1.5, None]}, b"\0", "$$ROOT"]

instances = st.sampled_from(INSTANCES)
names = st.sampled_from(NAMES)
keys = st.sampled_from([None, None, "a", "b"])
seconds = st.sampled_from([0, 0, 5, 60])
booleans = st.booleans()


class Sketch(NamedTuple):
    """What a task is made of; *starter* is who begins it at once."""

    name: str
    key: str | None
    delay: int
    priority: int
    starter: Instance | None


sketches = st.builds(Sketch, names, keys, seconds, st.integers(-1, 2), st.none() | instances)


class Lockstep(RuleBasedStateMachine):
    """The machine. Its stores are emptied, not made anew, for each example."""

    tasks: Bundle[ObjectId] = Bundle("tasks")
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self, mongo: Store, database: Database[dict[str, Any]]) -> None:
        super().__init__()
        self.model = Pretend()
        self.sqlite = SqliteStore(MEMORY, daemon=False)
        self.sqlite.open()
        self.stores: Mapping[str, Store] = {"sqlite": self.sqlite, "mongo": mongo}
        for collection in ("monq_task", "monq_event", "monq_worker"):
            database[collection].delete_many({})
        self.now = NOW
        self.made = 0
        self.postings: list[Posting] = []
        self.posted: set[ObjectId] = set()
        self.before: dict[ObjectId, MonQTask] = {}
        self.may_forget = False

    def teardown(self) -> None:
        self.sqlite.close()

    def ask(self, verb: str, *call: Any) -> Any:
        """The answer of all three to one question."""
        expected = getattr(self.model, verb)(*call)
        for name, store in self.stores.items():
            self.same(name, expected, getattr(store, verb)(*call))
        return expected

    def report(self, reports: list[Report]) -> None:
        expected = self.model.report(reports)
        for name, store in self.stores.items():
            answers = store.report(reports)
            known = [said if told is None else told for told, said in zip(expected, answers, strict=True)]
            self.same(name, known, answers)

    def same(self, name: str, expected: Any, answer: Any) -> None:
        assert expected == answer, f"{name} says {answer}, expected {expected}"

    def later(self, delay: float) -> datetime:
        return self.now + timedelta(seconds=delay)

    def new_id(self) -> ObjectId:
        self.made += 1
        return ObjectId(f"{self.made:024x}")

    def task(self, sketch: Sketch, event: Event | None = None) -> MonQTask:
        task = MonQTask(self.new_id(), sketch.name, [self.made], {}, self.later(sketch.delay))
        task.key, task.priority = sketch.key, sketch.priority
        if event is not None:
            task.event_id, task.topic = event.id, event.topic
        if sketch.starter is not None and not sketch.delay:
            task.state, task.time_start = BUSY, self.now
            task.worker, task.process = sketch.starter.id, sketch.starter.process
            task.attempt = task.generation = 1
        return task

    # steps: in

    @initialize(target=tasks, given=st.lists(sketches, min_size=3, max_size=6))
    def begin(self, given: list[Sketch]) -> Any:
        """With some tasks, and an id that is nowhere stored."""
        stored = self.store(*(Posting([self.task(sketch)]) for sketch in given))
        return multiple(*stored, ObjectId(b"nowhere12345"))

    @rule(target=tasks, given=st.lists(sketches, min_size=1, max_size=4))
    def post(self, given: list[Sketch]) -> Any:
        return multiple(*self.store(*(Posting([self.task(sketch)]) for sketch in given)))

    @rule(
        target=tasks,
        delivery=st.sampled_from([None, "1", "2"]),
        keep=st.sampled_from([10, 40]),
        given=st.lists(sketches, max_size=3),
        is_hook=booleans,
    )
    def post_event(self, delivery: str | None, keep: int, given: list[Sketch], is_hook: bool) -> Any:
        hook, delivery = ("shop", delivery) if is_hook else (None, None)
        event = Event(self.new_id(), "order.paid", self.now, hook=hook, delivery=delivery, body=b"{}")
        event.expire_at = self.later(keep)
        tasks = [self.task(sketch, event) for sketch in given]
        event.task_ids = [task.id for task in tasks]
        return multiple(*self.store(Posting(tasks, event)))

    @rule(place=st.integers(0, 20))
    def post_again(self, place: int) -> None:
        """The poster did not hear the first answer. What was forgotten since would be stored anew."""
        posting = self.postings[place % len(self.postings)]
        if all(task.id in self.model.tasks for task in posting.tasks):
            self.store(posting)

    def store(self, *postings: Posting) -> list[ObjectId]:
        self.postings += postings
        stored = [task_id for receipt in self.ask("post", postings) for task_id in receipt.task_ids]
        own = {task.id for posting in postings for task in posting.tasks}
        self.posted.update(own.intersection(stored))  # a receipt may name what is forgotten by now
        return stored

    def has(self, *states: str) -> bool:
        """Whether a task is stored in one of *states*: without one, some steps would be wasted."""
        return any(task.state in states for task in self.model.tasks.values())

    # steps: claim, hold and end

    @precondition(lambda self: self.has(READY))
    @rule(
        target=claims,
        instance=instances,
        wanted=st.sampled_from([set(NAMES), set(NAMES[:2]), {NAMES[2]}, set()]),
        limit=st.integers(0, 4),
    )
    def claim(self, instance: Instance, wanted: set[str], limit: int) -> Any:
        return multiple(*self.claimed(instance, wanted, limit))

    @precondition(lambda self: self.has(READY))
    @rule(
        target=claims,
        instance=instances,
        states=st.lists(st.sampled_from([COMPLETE, ERROR]), min_size=1, max_size=4),
    )
    def run(self, instance: Instance, states: list[str]) -> Any:
        """Claim and end at once: the shortest way to ended tasks, whose claims are stale from then on."""
        claims = self.claimed(instance, set(NAMES), len(states))
        self.every_change_was_allowed()
        ends = [self.ended(state, "ValueError: no") for state in states]
        self.report([Report(claim, fields) for claim, fields in zip(claims, ends, strict=False)])
        return multiple(*claims)

    def claimed(self, instance: Instance, wanted: set[str], limit: int) -> list[Claim]:
        expected = self.model.claim(instance, wanted, limit, self.now)
        for name, store in self.stores.items():
            answer = store.claim(instance, wanted, limit, self.now)
            self.same(name, expected, answer)
            self.same(name, [task.event for task in expected.tasks], [task.event for task in answer.tasks])
        return [task.claim for task in expected.tasks]

    @precondition(lambda self: self.has(BUSY))
    @rule(target=claims, instance=instances)
    def hold(self, instance: Instance) -> Any:
        """Also what was begun by being posted."""
        expected = sorted(self.model.held(instance))
        for name, store in self.stores.items():
            self.same(name, expected, sorted(store.held(instance)))
        return multiple(*expected)

    @rule(
        claim=claims,
        other=instances,
        step=st.sampled_from([-1, 1]),
        which=st.sampled_from(["worker", "turn"]),
    )
    def report_in_anothers_name(self, claim: Claim, other: Instance, step: int, which: str) -> None:
        false = (
            claim._replace(worker=other.id)
            if which == "worker"
            else claim._replace(generation=claim.generation + step)
        )
        self.report([Report(false, self.ended(COMPLETE, "stolen"))])

    @rule(claim=claims, state=st.sampled_from(sorted(ENDED)), result=st.sampled_from(RESULTS), again=booleans)
    def end(self, claim: Claim, state: str, result: Any, again: bool) -> None:
        """*again*: the answer was lost, so it is asked a second time."""
        for _ in range(1 + again):
            self.report([Report(claim, self.ended(state, result))])

    @rule(some=st.lists(claims, min_size=2, max_size=4, unique=True))
    def end_some_alike(self, some: list[Claim]) -> None:
        self.report([Report(claim, self.ended(COMPLETE, None)) for claim in some])

    @rule(claim=claims, delay=seconds, counted=booleans)
    def try_later(self, claim: Claim, delay: int, counted: bool) -> None:
        task = self.model.tasks.get(claim.id)
        attempt = max(0, (task.attempt if task else 1) - (not counted))
        history = [{"attempt": attempt, "at": self.now, "error": "no"}]
        fields = {"state": READY, "worker": None, "time_queue": self.later(delay), "attempt": attempt}
        self.report([Report(claim, {**fields, "result": "ValueError: no", "history": history})])

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        self.report([Report(claim, {"state": READY, "worker": None, "attempt": 0})])

    @rule(claim=claims, ends=booleans)
    def tell_progress(self, claim: Claim, ends: bool) -> None:
        """With *ends* note and end come in one call, as the recorder writes them."""
        note = Report(claim, {"progress": {"fraction": 0.5, "text": "half"}})
        end = Report(claim, {**self.ended(COMPLETE, 1), "output": "lines\n"})
        self.report([note, end] if ends else [note])

    def ended(self, state: str, result: Any) -> dict[str, Any]:
        keep = None if result == "" else self.later(30)
        return {"state": state, "result": result, "time_stop": self.now, "expire_at": keep}

    @rule(instance=instances, lives=booleans)
    def renew(self, instance: Instance, lives: bool) -> None:
        """A lease of the server's clock cannot be waited for: it is ended by word."""
        self.model.renew(instance, 600 if lives else 0)
        for store in self.stores.values():
            store.renew(instance, 600 if lives else 0)

    @precondition(lambda self: self.has(BUSY))
    @rule(target=claims, instance=instances, limit=st.integers(1, 3))
    def rescue(self, instance: Instance, limit: int) -> Any:
        """Where a lock is the lease, whoever asks is the only one who lives."""
        everything = self.model.orphans(instance, limit, living=())
        orphans = self.model.orphans(instance, limit, living=self.model.living)
        self.same("sqlite", everything, self.sqlite.orphans(instance, limit))
        self.same("mongo", orphans, self.stores["mongo"].orphans(instance, limit))
        crash = {"state": READY, "worker": None, "crashes": 1, "attempt": 0}
        self.report([Report(task.claim, crash) for task in orphans])
        return multiple(*(task.claim for task in orphans))

    # steps: operate and forget

    @precondition(lambda self: self.has(ERROR, SKIPPED))
    @rule(some=st.lists(tasks, min_size=1, max_size=8, unique=True))
    def retry_by_hand(self, some: list[ObjectId]) -> None:
        gone = dict.fromkeys(
            ("worker", "result", "output", "progress", "time_start", "time_stop", "expire_at")
        )
        fields = {"state": READY, "time_queue": self.now, "attempt": 0, "crashes": 0, **gone}
        self.ask("move", some, (ERROR, SKIPPED), fields)

    @rule(some=st.lists(tasks, min_size=1, max_size=4, unique=True))
    def cancel(self, some: list[ObjectId]) -> None:
        self.ask("move", some, (READY, BUSY), self.ended(SKIPPED, "cancelled by an operator"))

    @precondition(lambda self: self.has(*ENDED))
    @rule(some=st.lists(tasks, min_size=1, max_size=8, unique=True))
    def purge(self, some: list[ObjectId]) -> None:
        self.may_forget = True
        self.ask("delete", some, tuple(ENDED))

    @rule(delay=st.sampled_from([0, 31]))
    def prune(self, delay: int) -> None:
        self.now = self.later(delay)
        self.may_forget = True
        pruned = self.model.prune(self.now)
        for name, store in self.stores.items():
            self.same(name, pruned, store.prune(self.now, ALL))

    @rule(delay=st.sampled_from([0.001, 5, 31, 1000]))
    def time_passes(self, delay: float) -> None:
        self.now = self.later(delay)

    # steps: see

    @rule(
        states=st.lists(st.sampled_from(STATES), max_size=2, unique=True).map(tuple),
        name=st.sampled_from(["", "shop.", "shop.*", "shop.mail", "*hop*", "s*o*.*i*", "*.mail"]),
        topic=st.sampled_from(["", "order.paid"]),
        error=st.sampled_from(["", "", "^Value", "oper.tor"]),
        is_older=booleans,
        limit=st.integers(0, 3),
        before=tasks,
    )
    def look(  # noqa: PLR0917 - the parts of a filter
        self, states: Any, name: str, topic: str, error: str, is_older: bool, limit: int, before: ObjectId
    ) -> None:
        bounds: dict[str, Any] = {"older": self.now} if is_older else {"newer": self.now}
        which = Filter((), states, name, topic, error, **bounds)
        self.ask("find", which, limit)
        self.ask("find", Filter(states=states, name=name), limit, before)
        self.ask("count", which)
        self.ask("waiting")
        self.ask("depth", limit + 1)
        self.ask("get", before)

    # laws

    @invariant()
    def all_stores_hold_the_same(self) -> None:
        self.ask("find", Filter(), ALL)
        for event_id in self.model.events:
            self.ask("event", event_id)

    @invariant()
    def every_change_was_allowed(self) -> None:
        after = {task.id: task for task in self.sqlite.find(Filter(), ALL)}
        for task_id, old in self.before.items():
            if task_id not in after:
                assert self.may_forget and old.state in ENDED, f"lost: {old}"
                self.posted.discard(task_id)
                continue
            new = after[task_id]
            assert new.state in {old.state} | LEGAL_MOVES[old.state], f"{old.state} became {new.state}"
            assert new.generation == old.generation + (new.state == BUSY != old.state)
        assert set(after) == self.posted
        self.before, self.may_forget = after, False

    @invariant()
    def a_key_has_one_holder(self) -> None:
        held = [task.key for task in self.sqlite.find(Filter(states=(READY, BUSY)), ALL) if task.key]
        assert len(held) == len(set(held))


@pytest.fixture
def mongo(standalone: Deployment) -> Iterator[tuple[Store, Database[dict[str, Any]]]]:
    """A store that does not wait for the disk: what is compared here are answers."""
    name = f"monqbus_test_{uuid4().hex[:12]}"
    address = standalone.address(name)
    with closing(MongoStore(f"{address}?journal=false", daemon=False)) as store:
        store.open()
        yield store, standalone.client[name]
    standalone.client.drop_database(name)


def test_both_stores_and_the_model_stay_in_step(mongo: tuple[Store, Database[dict[str, Any]]]) -> None:
    """Whatever is done in whatever order: equal answers, legal moves, nothing lost."""
    run_state_machine_as_test(lambda: Lockstep(*mongo), settings=PROFILE)
