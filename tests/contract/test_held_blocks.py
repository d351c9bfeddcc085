"""Blocks of `hold()`: whatever is posted, nested and raised, what is stored is what the model has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import monqbus
from bus.api.client import ApiClient
from bus.apps.options import Options
from bus.apps.poster import bind
from bus.apps.registry import Registry, Task
from bus.clock import Clock
from bus.connecting import InboxPoster
from bus.errors import BadCall
from bus.model import Filter
from bus.posting import PostOffice
from bus.store.contract import Store
from bus.store.inbox.postings import from_payload
from bus.store.inbox.reader import InboxReader
from bus.store.inbox.writer import InboxWriter

TOPIC = "held.happened"
Stored = Callable[[], list[tuple[str, int]]]
Program = list[Any]
_numbers = count()


class Broken(Exception):
    """What a program raises."""


def note(number: int) -> None:
    """A task."""


def heard(topic: str, number: int) -> None:
    """A handler."""


NOTE: Task[[int], None] = Task(note, "held.note", Options())

# One step: a post, an event, some posts in one call (the last of which may be bad), a raise, a block, or
# steps whose error is caught.
_LEAF = st.one_of(
    st.just(("post",)),
    st.just(("event",)),
    st.tuples(st.just("many"), st.integers(0, 3), st.booleans()),
    st.just(("raise",)),
)
PROGRAMS = st.lists(
    st.recursive(
        _LEAF,
        lambda steps: st.tuples(st.sampled_from(["hold", "try"]), st.lists(steps, max_size=5)),
        max_leaves=15,
    ),
    max_size=6,
)


def run(program: Program, into: list[tuple[str, int]]) -> None:
    """Do what *program* says, and what the model does: a block gives what it has at its end."""
    for verb, *more in program:
        if verb == "post":
            into.append((NOTE.name, number := next(_numbers)))
            NOTE.post(number)
        elif verb == "event":
            into.append((TOPIC, number := next(_numbers)))
            monqbus.post_event(TOPIC, number)
        elif verb == "many":
            many(*more, into)
        elif verb == "raise":
            raise Broken
        elif verb == "try":
            with suppress(Broken, BadCall):
                run(more[0], into)
        else:
            inner: list[tuple[str, int]] = []
            with monqbus.hold():
                run(more[0], inner)
            into += inner


def many(size: int, is_bad: bool, into: list[tuple[str, int]]) -> None:
    """All of them or, with a bad one among them, none."""
    calls: list[tuple[int, ...]] = [(next(_numbers),) for _ in range(size)]
    NOTE.post_many([*calls, ()] if is_bad else calls)
    into += [(NOTE.name, call[0]) for call in calls]


@pytest.fixture
def known() -> Registry:
    """A registry with a task and a handler."""
    made = Registry()
    handler: Task[..., None] = Task(heard, TOPIC, Options())
    made.add(NOTE)
    made.add(handler)
    made.subscribe(handler, [TOPIC])
    return made


@pytest.fixture
def stored(store: Store, known: Registry) -> Iterator[Stored]:
    """What came since the last call into a store of each kind, in order; posts of this process go there."""
    seen: set[Any] = set()
    bind(PostOffice(store, lambda: known, Clock()))

    def new() -> list[tuple[str, int]]:
        found = [task for task in store.find(Filter(), 1000) if task.id not in seen]
        seen.update(task.id for task in found)
        return sorted(((task.task_name, task.args[-1]) for task in found), key=lambda one: one[1])

    yield new
    bind(None)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Stored]:
    """As *stored*, in the inbox of an embedded store whose daemon does not run."""
    clock = Clock()
    poster = InboxPoster(InboxWriter(tmp_path / "data"), ApiClient(tmp_path / "none.sock", clock), clock)
    bind(poster)
    reader = InboxReader(tmp_path / "data")

    def new() -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for piece in reader.pieces():
            for record in piece.records:
                batch = from_payload(record.payload, clock.now())
                found += [(task.task_name, task.args[0]) for task in batch.tasks]
                found += [(made.event.topic, made.event.args[0]) for made in batch.events]
            reader.taken(piece.name, piece.records[-1].end)
        return sorted(found, key=lambda one: one[1])

    yield new
    bind(None)
    reader.close()
    poster.close()


def agrees(program: Program, stored: Stored) -> None:
    """Run *program*, and compare."""
    expected: list[tuple[str, int]] = []
    with suppress(Broken, BadCall):
        run(program, expected)

    assert expected == stored()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=PROGRAMS)
def test_a_store_has_what_the_model_of_held_blocks_has(stored: Stored, program: Program) -> None:
    """Nothing of a block that has raised, all of one that has ended, on every store."""
    agrees(program, stored)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=PROGRAMS)
def test_the_inbox_has_what_the_model_of_held_blocks_has(inbox: Stored, program: Program) -> None:
    """The same, where the daemon comes later."""
    agrees(program, inbox)


def test_a_block_in_a_block_counts_for_both(inbox: Stored) -> None:
    """What is too much for the outer one is refused at the end of the inner one: nothing of it is kept."""
    with monqbus.hold():
        NOTE.post_many([(number,) for number in range(4000)])
        with pytest.raises(monqbus.NotStorable, match="at most 5000 posts in one block"), monqbus.hold():
            NOTE.post_many([(number,) for number in range(1001)])

    assert 4000 == len(inbox())
