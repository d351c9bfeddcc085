"""Awkward values from `.post()` to the record: stored equal, or refused where they were given.

Every value goes the whole way through posting, claim, executor and recorder on every store, in all
places where an application can put one. What is expected is the same table for each store, so what
they store is equal to each other, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import gevent
import pytest

from bus import telemetry
from bus.apps.context import c
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import FrozenClock
from bus.engine.executor import Executor
from bus.engine.recorder import Recorder
from bus.engine.run import Run
from bus.errors import Cancel, NotStorable
from bus.model import Event, Instance, MonQTask, Receipt
from bus.posting import PostOffice
from bus.retry import ERROR_LINE_LIMIT, Policy
from bus.store.contract import Store
from bus.store.mongo import MongoStore
from bus.store.sqlite.store import MEMORY, SqliteStore

from .awkward import BY_NAME, KINDS, LARGE, TABLE, Awkward, as_result, as_stored, differs

PATIENCE = 60
SMALL = [value for value in TABLE if not value.large]


class Line:
    """The engine's parts on one store, without loops: `settle` claims, runs and records all there is."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FrozenClock()
        self.instance = Instance(uuid4().hex, "monqbus/here pid 1")
        self.registry = Registry()
        self.recorder = Recorder(store, self.clock)
        self.executor = Executor(lambda: self.registry, self.recorder, self.clock, Policy(max_attempts=1))
        self.office = PostOffice(store, lambda: self.registry, self.clock)
        self.got: dict[Any, tuple[tuple[Any, ...], dict[str, Any], Any]] = {}
        self.runs: list[MonQTask] = []
        for function in (self.keep, self.give, self.show, self.fail, self.cancel):
            self.registry.add(Task(function, function.__name__, Options()))
        self.registry.subscribe(self.registry.tasks["keep"], ["kept"])

    # handlers; those that need a value make it when they run

    def keep(self, *args: Any, **kwargs: Any) -> None:
        self.got[c.task.id] = (args, kwargs, c.project)

    def give(self, name: str) -> Any:
        return BY_NAME[name].make()

    def show(self, name: str) -> None:
        c.task.progress(0.5, BY_NAME[name].make())

    def fail(self, name: str) -> None:
        raise ValueError(BY_NAME[name].make())

    def cancel(self, name: str) -> None:
        raise Cancel(BY_NAME[name].make())

    # verbs

    def post(self, name: str, *args: Any, **kwargs: Any) -> MonQTask:
        return self.office.post(name, args, kwargs, Options())

    def settle(self) -> None:
        while claimed := self.store.claim(self.instance, self.registry.tasks, 100, self.clock.now()).tasks:
            self.runs += claimed
            running = [gevent.spawn(self.executor.run, Run(task, 0.0)) for task in claimed]
            gevent.joinall(running, timeout=PATIENCE, raise_error=True)
            while self.recorder.tick() is not None:
                pass

    def now(self, task: MonQTask) -> MonQTask:
        stored = self.store.get(task.id)
        assert stored is not None
        return stored

    def end_of(self, name: str, values: list[Awkward]) -> dict[Awkward, MonQTask]:
        """Let the task *name* make each of *values*; how each of its tasks stands when it is over."""
        tasks = _together({value: partial(self.post, name, value.name) for value in values})
        first = len(self.runs)
        self.settle()
        assert sorted(task.id for task in tasks.values()) == sorted(task.id for task in self.runs[first:])
        return {value: self.now(task) for value, task in tasks.items()}


@pytest.fixture(scope="module", params=["sqlite-file", "sqlite-memory", "standalone", "replica_set"])
def line(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """One line for each store and all values."""
    store: Store
    if request.param.startswith("sqlite"):
        path: Path | str = tmp_path_factory.mktemp("values") / "monqbus.db"
        store = SqliteStore(path if request.param == "sqlite-file" else MEMORY, daemon=True)
    else:
        deployment, database = request.getfixturevalue(request.param), f"monqbus_test_{uuid4().hex[:12]}"
        request.addfinalizer(lambda: deployment.client.drop_database(database))
        store = MongoStore(deployment.address(database), daemon=True)
    with closing(store):
        store.open()
        yield Line(store)


# given to .post() and post_event()


Parts = Mapping[str, Any]


class Place(NamedTuple):
    """Where a value can be given: how, what its refusal calls it, where it stands in what is stored."""

    give: Callable[[Line, Any], MonQTask | Receipt]
    path: str
    find: Callable[[Parts], Any]


def _in_context(line: Line, value: Any) -> MonQTask:
    c.project = value
    return line.post("keep")


PLACES: Mapping[str, Place] = {
    "an argument": Place(
        lambda line, value: line.post("keep", value), "args[0]", lambda parts: parts["args"][0]
    ),
    "inside an argument": Place(
        lambda line, value: line.post("keep", {"x": [1, value]}),
        "args[0]['x'][1]",
        lambda parts: parts["args"][0]["x"][1],
    ),
    "a keyword": Place(
        lambda line, value: line.post("keep", value=value),
        "kwargs['value']",
        lambda parts: parts["kwargs"]["value"],
    ),
    "the context": Place(  # None is as good as not set
        _in_context, "context['project_id']", lambda parts: parts["context"].get("project_id")
    ),
    "an event's argument": Place(
        lambda line, value: line.office.publish("kept", [value], {}),
        "args[0]",
        lambda parts: parts["args"][-1],
    ),
    "an event's keyword": Place(
        lambda line, value: line.office.publish("kept", [], {"v": value}),
        "kwargs['v']",
        lambda parts: parts["kwargs"]["v"],
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_given_is_stored_equal_or_refused(line: Line, place: str) -> None:
    """The refusal names the place and the remedy; what is stored reaches the handler, which runs once."""
    values = TABLE if place in ("an argument", "an event's argument") else SMALL
    give = PLACES[place].give
    answers = _together({value: partial(_give, line, give, value) for value in values})
    before = len(line.runs)
    line.settle()

    wrong = {value.name: _wrong(line, PLACES[place], value, answers[value]) for value in values}

    assert {} == {name: said for name, said in wrong.items() if said}
    assert len(line.runs) - before == sum(not value.refused for value in values)


def _give(line: Line, give: Callable[[Line, Any], Any], value: Awkward) -> Any:
    return give(line, value.make())


def _together(calls: Mapping[Awkward, Callable[[], Any]]) -> dict[Awkward, Any]:
    """The answer or the error of each call, all made at the same time."""

    def answer(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - which one it is decides the test
            return error

    greenlets = {value: gevent.spawn(answer, call) for value, call in calls.items()}
    gevent.joinall(list(greenlets.values()), timeout=PATIENCE)
    return {value: greenlet.get(block=False) for value, greenlet in greenlets.items()}


def _wrong(line: Line, place: Place, value: Awkward, answer: Any) -> str:
    """What is wrong about the *answer* to the giving of *value*; "" when it is as the table says."""
    if value.refused:
        return _wrongly_refused(place, value, answer)
    if isinstance(answer, Exception):
        return f"refused: {answer!r:.200}"
    task = line.store.get(answer.task_ids[0] if isinstance(answer, Receipt) else answer.id)
    if task is None or (task.state, task.attempt) != ("complete", 1):
        return f"did not run as it should: {task!r:.200}"
    args, kwargs, project = line.got[task.id]
    places: list[Parts] = [
        {"args": task.args, "kwargs": task.kwargs, "context": task.context},
        {"args": args, "kwargs": kwargs, "context": {"project_id": project}},
    ]
    if isinstance(answer, Receipt) and (event := line.store.event(task.event_id or task.id)) is not None:
        places.append({"args": event.args, "kwargs": event.kwargs})
    expected = as_stored(value.make())
    return next(filter(None, (differs(expected, place.find(parts)) for parts in places)), "")


def _wrongly_refused(place: Place, value: Awkward, answer: Any) -> str:
    if type(answer) is not NotStorable:
        return f"not refused: {answer!r:.200}"
    text = str(answer)
    is_named = text.startswith("arguments: " if value.kind == LARGE else place.path[:20])
    return "" if is_named and value.refused.replace("@", place.path) in text and len(text) < 400 else text


# left behind by a handler


def test_a_result_is_stored_equal_or_a_marker_takes_its_place(line: Line) -> None:
    """The task is over after one run, and complete unless what it returned is work that has not run."""
    wrong = {}
    for value, task in line.end_of("give", TABLE).items():
        state = "error" if value.result == "unfinished" else "complete"
        if (task.state, task.attempt, task.crashes) != (state, 1, 0):
            wrong[value.name] = f"{task.state}, attempt {task.attempt}"
        elif value.result == "kept" and (said := differs(as_result(value.make()), task.result)):
            wrong[value.name] = said
        elif value.result == "marker" and not _is_marker(value, task.result):
            wrong[value.name] = f"{task.result!r:.200}"

    assert {} == wrong


def _is_marker(value: Awkward, result: Any) -> bool:
    return (
        isinstance(result, dict)
        and result["not_storable"] == type(value.make()).__name__
        and 0 < len(result["why"]) < 400
        and len(result.get("repr", "")) <= 2048
    )


@pytest.mark.parametrize("handler, state", [("fail", "error"), ("cancel", "skipped")])
def test_whatever_an_exception_says_its_task_ends(line: Line, handler: str, state: str) -> None:
    """What is stored of it is text, bounded, and the same that was decided."""
    decided: dict[Any, Any] = {}

    def note(fact: str, told: Mapping[str, Any]) -> None:
        if "outcome" in told:
            decided[told["task"].id] = told["outcome"]

    forget = telemetry.listen(note)
    ends = line.end_of(handler, SMALL)
    forget()

    wrong = {
        value.name: f"{task.state}: {task.result!r:.100}"
        for value, task in ends.items()
        if (task.state, task.attempt) != (state, 1)
        or not isinstance(task.result, str)
        or not 0 < len(task.result) < 40_000
        or task.result != decided[task.id].fields["result"]
        or any(len(entry["error"]) > ERROR_LINE_LIMIT for entry in task.history)
    }

    assert {} == wrong


def test_whatever_a_progress_says_its_task_goes_on(line: Line) -> None:
    """Its text is kept in 200 characters; one whose `str` fails is the handler's own mistake."""
    wrong = {}
    for value, task in line.end_of("show", SMALL).items():
        try:
            text = str(value.make())[:200].encode("utf-8", "backslashreplace").decode()
        except (RuntimeError, ValueError):
            expected = ("error", None)
        else:
            expected = ("complete", text)
        found = (task.state, task.progress["text"] if task.progress else None)
        if found != expected and not (" at 0x" in (expected[1] or "") and task.state == "complete"):
            wrong[value.name] = f"{found!r:.200}"

    assert {} == wrong


def test_what_was_given_or_returned_may_change_afterwards(line: Line) -> None:
    """What is stored is a copy, taken at that moment."""
    given: dict[str, list[int]] = {"x": [1]}
    returned: list[list[int]] = [[1]]

    def change(value: dict[str, list[int]]) -> list[list[int]]:
        value["x"].append(2)
        return returned

    line.registry.add(Task(change, "change", Options()))
    task = line.post("change", given)
    given["x"].append(3)
    (claimed,) = line.store.claim(line.instance, ["change"], 1, line.clock.now()).tasks
    gevent.spawn(line.executor.run, Run(claimed, 0.0)).join(PATIENCE)
    returned[0].append(4)
    line.recorder.tick()

    assert ([{"x": [1]}], [[1]]) == (line.now(task).args, line.now(task).result)


# deliveries


def _bodies() -> dict[str, bytes]:
    """Every text and every bytes of the table, as a stranger may send them."""
    made = {value.name: value.make() for value in SMALL}
    texts = {name: as_stored(text) for name, text in made.items() if issubclass(type(text), (str, bytes))}
    return {
        name: text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        for name, text in texts.items()
    }


def test_a_delivery_reaches_its_handler_byte_for_byte(line: Line) -> None:
    """Body and headers are bytes of strangers, whatever they mean; nothing is read as a key or a command."""
    events = {}
    for name, body in _bodies().items():
        event = Event(line.clock.new_id(), "kept", line.clock.now(), hook="h", delivery=name, body=body)
        event.headers = {"x-strange": body[:1000].decode("latin-1")}
        events[line.office.deliver(event).task_ids[0]] = event
    line.settle()

    given = {event.id: (event.body, event.headers) for event in events.values()}
    got = {task_id: line.got[task_id][0][1] for task_id in events}
    assert given == {event.id: (event.body, event.headers) for event in got.values()}
    assert list(events.values()) == [line.store.event(event.id) for event in events.values()]


# the table itself


def test_every_kind_of_value_has_examples() -> None:
    """And every value its kind; a name is used once."""
    assert set(KINDS) == {value.kind for value in TABLE}
    assert len(BY_NAME) == len(TABLE) >= 120
