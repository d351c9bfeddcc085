"""Serial keys where work comes in and ends: which key a task has, and how the next one begins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bus.apps.options import Options
from bus.config import Hook
from bus.errors import BadDeclaration, NoSerialKey
from bus.model import Event, Filter
from bus.posting import PostOffice
from bus.rules import OF_AN_EVENT, key_path

BY_SHOP = Options(serial_by="args.0")


def delivery(engine, body: Any, hook: str = "x") -> Event:
    clock = engine.clock
    return Event(clock.new_id(), "a", clock.now(), hook=hook, body=json.dumps(body).encode())


def keys(engine) -> dict[str, Any]:
    """The serial key of each stored task's name."""
    return {task.task_name: task.serial for task in engine.store.find(Filter(), 99)}


def office_of(engine, **hooks: Hook) -> PostOffice:
    return PostOffice(engine.store, lambda: engine.registry, engine.clock, hooks=lambda: hooks)


def test_a_call_has_the_key_that_its_arguments_have(engine):
    """With its name, so that tasks of other names have keys of their own; 1 and "1" are two."""
    engine.declare(print, "one", serial_by="args.0.shop")
    engine.declare(print, "two", serial_by="kwargs.shop")
    engine.office.post("one", [{"shop": 1}], {}, engine.registry.tasks["one"].defaults)
    engine.office.post("two", [], {"shop": "1"}, engine.registry.tasks["two"].defaults)

    assert {"one": "one 1", "two": 'two "1"'} == keys(engine)


def test_a_call_without_a_value_there_has_no_key(engine):
    """It waits for nobody."""
    engine.office.post("held", [None], {}, BY_SHOP)
    engine.office.post("held", [], {}, BY_SHOP)

    assert {"held": None} == keys(engine)


def test_a_long_value_is_a_short_key(engine):
    """Of any length, and of any kind."""
    engine.office.post("held", ["x" * 5000], {}, BY_SHOP)

    (key,) = keys(engine).values()
    assert key.startswith("held sha256:")
    assert 100 > len(key)


def test_a_delivery_has_the_key_of_its_handler_before_that_of_its_hook(engine):
    """A hook's key stands for the tasks of this hook alone."""
    hook = Hook("x", "none", serial_by=key_path("body.ref", OF_AN_EVENT))
    engine.declare(print, "own", topic="a", serial_by="body.repository.id")
    engine.declare(print, "plain", topic="a")
    office_of(engine, x=hook).deliver(delivery(engine, {"ref": "main", "repository": {"id": 7}}))

    assert {"own": "own 7", "plain": 'plain hook:x "main"'} == keys(engine)


def test_the_keys_of_all_handlers_are_read_from_one_body(engine):
    """Beside rules that read another part of it."""
    engine.declare(print, "one", topic="a", when="body.n == 1", serial_by="body.a.b")
    engine.declare(print, "two", topic="a", serial_by="body.c")
    office_of(engine).deliver(delivery(engine, {"n": 1, "a": {"b": "x"}, "c": "y"}))

    assert {"one": 'one "x"', "two": 'two "y"'} == keys(engine)


def test_a_delivery_without_a_value_waits_for_nobody_unless_its_hook_refuses_it(engine):
    """Never an error after it was accepted; a replay of a stored one is not refused."""
    hook = Hook("x", "none", serial_by=key_path("body.ref", OF_AN_EVENT))
    strict = Hook("y", "none", serial_by=key_path("body.ref", OF_AN_EVENT), missing="refuse")
    office = office_of(engine, x=hook, y=strict)
    stored = delivery(engine, {}, "y")
    office.deliver(stored)
    engine.declare(print, "plain", topic="a")
    office.deliver(delivery(engine, {}))
    with pytest.raises(NoSerialKey, match=r"body\.ref"):
        office.deliver(delivery(engine, {}, "y"))
    office.replay(stored.id)

    assert [None, None] == [task.serial for task in engine.store.find(Filter(), 9)]


def test_a_published_event_has_a_key_by_its_arguments(engine):
    """As rules see them: without the topic."""
    engine.declare(print, "plain", topic="a", serial_by="args.0")
    engine.office.publish("a", [7], {})

    assert {"plain": "plain 7"} == keys(engine)


def test_the_next_one_begins_when_the_one_before_it_has_ended(engine):
    """The end wakes the claimer, whatever it was about to wait for."""
    began = []
    engine.declare(began.append, "note", serial_by="args.0")
    for _ in range(3):
        engine.office.post("note", ["k"], {}, engine.registry.tasks["note"].defaults)
    counts = []
    for _ in range(3):
        engine.claimer.tick()
        engine.pool.drain(5)
        engine.claimer.tick()
        counts.append(len(began))
        engine.recorder.tick()

    assert [1, 2, 3] == counts


def test_an_end_tells_its_lane_that_there_may_be_more(engine):
    """Of a task with a key; others' ends wake nobody."""
    told = []
    engine.recorder.waiting_again = told.extend
    engine.declare(lambda _: None, "note")
    engine.perform(engine.waiting("k", name="note"))
    before = list(told)
    engine.perform(engine.waiting("k", name="note", serial_by="args.0"))

    assert ([], ["note"]) == (before, [name for name, _ in told])


def test_a_task_with_a_key_does_not_begin_as_it_is_stored(engine):
    """Only the store knows whether one of its key runs."""
    engine.claimer.tick()

    assert "ready" == engine.office.post("held", ["k"], {}, BY_SHOP).state


def test_no_post_chooses_another_path(engine):
    """The order would depend on who posts."""
    task = engine.registry.tasks["held"]

    with pytest.raises(BadDeclaration, match="serial_by"):
        task.options(serial_by="args.1")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("args.", "expected a name or a number behind ."),
        ("bdy.id", "did you mean body?"),
        ("body.a == 1", "expected the end of the path"),
        ("'x'", "expected a path"),
        (7, "expected a path in quotes"),
    ],
)
def test_a_path_that_is_none_is_refused_where_it_is_declared(path, sentence):
    """With what was expected and the remedy."""
    with pytest.raises(BadDeclaration) as refusal:
        Options(serial_by=path)

    assert "serial_by" in str(refusal.value)
    assert sentence in str(refusal.value)
