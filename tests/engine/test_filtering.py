"""Rules where events become tasks: who gets one, what is told of it, and what a replay says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bus.config import Hook
from bus.errors import NotFound
from bus.model import UNREAD, Event, Filter
from bus.posting import PostOffice
from bus.rules import OF_A_DELIVERY, compiled
from bus.strict_json import PIECE_BYTES

OPENED = {"action": "opened"}


@pytest.fixture
def office(engine) -> PostOffice:
    """A post office of a process that runs nothing itself."""
    return PostOffice(engine.store, lambda: engine.registry, engine.clock)


def delivery(engine, body: Any = OPENED, number: str | None = None, **fields: Any) -> Event:
    clock = engine.clock
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Event(clock.new_id(), "a", clock.now(), hook="x", delivery=number, body=raw, **fields)


def names(engine) -> list[str]:
    """Whose tasks are stored."""
    return sorted(task.task_name for task in engine.store.find(Filter(), 99))


def declare(engine, name: str, when: str = "") -> None:
    engine.declare(lambda *_, **__: None, name, topic="a", when=when)


def test_a_handler_gets_no_task_of_an_event_for_which_its_rule_does_not_hold(engine, office, facts):
    """The others do."""
    declare(engine, "all")
    declare(engine, "opened", 'body.action == "opened"')
    declare(engine, "closed", 'body.action == "closed"')
    receipt = office.deliver(delivery(engine))

    assert ["all", "opened"] == names(engine)
    assert 2 == len(receipt.task_ids)
    assert "event.received" in facts.names
    assert not engine.store.event(receipt.event_id).is_filtered


def test_an_event_that_no_handler_takes_is_filtered_and_not_unhandled(engine, office, facts):
    """Nobody forgot to declare a handler: no warning, and it can be replayed."""
    declare(engine, "closed", 'body.action == "closed"')
    receipt = office.deliver(delivery(engine))

    assert [] == names(engine)
    assert engine.store.event(receipt.event_id).is_filtered
    assert (["event.filtered"], []) == (facts.names, facts.of("event.unhandled"))


def test_a_published_event_is_asked_for_its_arguments(engine, office, facts):
    """`args.0`, `kwargs.name`: as the handler gets them, behind the topic."""
    declare(engine, "large", 'args.0 > 100 and kwargs.currency == "EUR"')
    declare(engine, "any")
    office.publish("a", [7], {"currency": "EUR"})
    office.publish("a", [700], {"currency": "EUR"})

    assert ["any", "any", "large"] == names(engine)


def test_a_rule_for_deliveries_does_not_hold_for_what_is_published(engine, office):
    declare(engine, "main", 'body.ref == "refs/heads/main"')
    declare(engine, "published", 'kind == "published"')
    office.publish("a", [{"ref": "refs/heads/main"}], {})

    assert ["published"] == names(engine)


@pytest.mark.parametrize("rows", [10, PIECE_BYTES])
def test_each_handler_reads_what_it_asks_for_of_a_long_body(engine, office, rows):
    """One parse serves all rules; the hub turns between its pieces."""
    turns = []
    office = PostOffice(
        engine.store, lambda: engine.registry, engine.clock, pause=lambda: turns.append("turned")
    )
    body = {"first": {"deep": [1, 2]}, "rows": [{"n": n} for n in range(rows)], "last": "z"}
    declare(engine, "first", "body.first.deep.1 == 2")
    declare(engine, "rows", f"length(body.rows) == {rows} and body.rows.{min(rows - 1, 10)}.n >= 9")
    declare(engine, "last", 'body.last == "z"')
    declare(engine, "none", "body.rows.0.n == 1")
    office.deliver(delivery(engine, body))

    assert ["first", "last", "rows"] == names(engine)
    assert bool(turns) == (rows > 10)


def test_what_the_door_has_parsed_is_not_parsed_again_and_not_kept(engine, office):
    """Objects of a body take thirty times its size, and the event waits in memory with its task."""
    declare(engine, "opened", 'body.action == "opened"')
    event = delivery(engine, b"no JSON at all", parsed=OPENED)
    office.deliver(event)

    assert ["opened"] == names(engine)
    assert event.parsed is UNREAD


def test_a_handler_may_have_another_rule_for_each_topic(engine, office):
    task = engine.declare(lambda *_: None, "h", topic="a", when="args.0 == 1")
    engine.registry.subscribe(task, ["b"])
    for topic in "ab":
        for number in (1, 2):
            office.publish(topic, [number], {})

    assert ["a", "b", "b"] == sorted(task.topic or "" for task in engine.store.find(Filter(), 9))


def test_a_test_of_the_sender_that_is_filtered_is_a_test(engine, office, facts):
    """GitHub's ping has no ref."""
    declare(engine, "main", 'body.ref == "refs/heads/main"')
    office.deliver(delivery(engine, is_test=True))

    assert ["hook.tried"] == facts.names


def test_the_same_delivery_again_is_asked_for_the_rules_there_are_now(engine, office, facts):
    """Filtered again; after a change it gets its tasks, once, and is filtered no more."""
    declare(engine, "h", 'body.action == "closed"')
    first = office.deliver(delivery(engine, number="1"))
    again = office.deliver(delivery(engine, number="1"))
    assert ([], True, first.event_id) == (again.task_ids, again.duplicate, again.event_id)
    declare(engine, "i", 'body.action == "opened"')
    changed = office.deliver(delivery(engine, number="1"))
    last = office.deliver(delivery(engine, number="1"))

    assert ["i"] == names(engine)
    assert (True, True) == (changed.replayed, last.duplicate)
    assert not engine.store.event(first.event_id).is_filtered
    told = [name for name in facts.names if name.startswith("event.")]
    assert ["event.filtered", "event.repeated", "event.replayed", "event.repeated"] == told


def test_a_replay_is_asked_for_the_rules_of_handlers_there_are_now(engine, office):
    declare(engine, "h", 'body.action == "closed"')
    event_id = office.deliver(delivery(engine)).event_id
    with pytest.raises(NotFound, match=r"filtered, the rule \(`when`\) of no handler for topic a holds"):
        office.replay(event_id)
    assert engine.store.event(event_id).is_filtered
    declare(engine, "i", 'body.action == "opened"')
    office.replay(event_id)

    assert ["i"] == names(engine)
    assert not engine.store.event(event_id).is_filtered


def test_a_replay_is_asked_for_the_rule_of_its_hook_that_there_is_now(engine):
    """From what is stored: of the request that is what the rule read when the delivery came."""
    hooks: dict[str, Hook] = {}
    office = PostOffice(engine.store, lambda: engine.registry, engine.clock, hooks=lambda: hooks)
    declare(engine, "h")
    rules = ['body.action == "closed"', 'ip in "192.0.2.0/24"', 'sender == "github" and method == "PUT"']

    def hook(rule: str) -> Hook:
        return Hook(name="x", verify="github", when=compiled(rule, OF_A_DELIVERY))

    event = delivery(engine, is_filtered=True, request={"ip": "198.51.100.7"})
    event_id = office.deliver(event).event_id
    for rule in rules:
        hooks["x"] = hook(rule)
        with pytest.raises(NotFound, match=r"filtered, the rule \(`when`\) of \[hook:x\] does not hold"):
            office.replay(event_id)
    assert [] == names(engine)
    hooks["x"] = hook('ip in "198.51.100.0/24" and sender == "github" and body.action == "opened"')
    office.replay(event_id)

    assert ["h"] == names(engine)


def test_a_filtered_delivery_whose_hook_is_gone_may_be_replayed(engine, office):
    """There is no rule any more."""
    declare(engine, "h")
    event_id = office.deliver(delivery(engine, is_filtered=True)).event_id
    office.replay(event_id)

    assert ["h"] == names(engine)


def test_what_a_hook_has_filtered_no_handler_is_asked_for(engine, office, facts):
    declare(engine, "h")
    receipt = office.deliver(delivery(engine, is_filtered=True))

    assert ([], []) == (receipt.task_ids, names(engine))
    assert ["event.filtered"] == facts.names
    assert "x" == facts.of("event.filtered")[0]["hook"]
