"""Which callables become tasks, and what is said about the others."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from bus.apps import registry
from bus.apps.callables import unfinished
from bus.apps.registry import Registry, event_handler, task
from bus.errors import BadDeclaration


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry in place of the process's."""
    empty = Registry()
    monkeypatch.setattr(registry, "_registry", empty)
    return empty


def add(a: int, b: int = 0) -> int:
    return a + b


async def fetch(n: int) -> int:
    return n


async def stream(n: int) -> AsyncIterator[int]:
    yield n


def rows(n: int) -> Iterator[int]:
    yield n


@functools.wraps(fetch)
def fetch_here(n: int) -> int:
    return asyncio.run(fetch(n))


class Sender:
    def __call__(self, n: int) -> int:
        return n + 1

    def send(self, n: int) -> int:
        return n + 2

    @classmethod
    def made(cls, n: int) -> int:
        return n + 3

    async def fetch(self, n: int) -> int:
        return n

    @staticmethod
    async def static_fetch(n: int) -> int:
        return n


class AsyncSender:
    async def __call__(self, n: int) -> int:
        return n


class Promise:
    def __await__(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (add, 1),
        (lambda n: n, 1),
        (functools.partial(add, 1), 2),
        (functools.lru_cache(add), 1),
        (Sender(), 2),
        (Sender().send, 3),
        (Sender.made, 4),
        (staticmethod(add), 1),
        (abs, 1),
        (fetch_here, 1),
    ],
)
def test_whatever_has_run_when_it_returns_is_a_task_under_a_name(given, result):
    """A plain function around a coroutine function too: it runs it to its end."""
    assert result == task(name="x")(given)(1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            fetch,
            "the coroutine function fetch; make it a plain function that calls asyncio.run(...), with cpu",
        ),
        (stream, "the async generator function stream; make it a plain function"),
        (rows, "the generator function rows; loop inside a plain function, or let one return list(...)"),
        (functools.partial(fetch, 1), "the coroutine function functools.partial("),
        (functools.partial(rows, 1), "the generator function functools.partial("),
        (Sender().fetch, "the coroutine function Sender.fetch"),
        (Sender.__dict__["static_fetch"], "the coroutine function Sender.static_fetch"),
        (AsyncSender(), "the coroutine function <tests.unit.test_callables.AsyncSender"),
        (Sender, "got <class 'tests.unit.test_callables.Sender'>; declare a function that makes the object"),
        (
            Sender.send,
            "the method Sender.send, whose 'self' no post can give; leave it out and write @static",
        ),
        (Sender.__dict__["made"], "the class method Sender.made; make it a static method"),
        (Sender.__dict__["made"].__func__, "the method Sender.made, whose 'cls' no post can give"),
        (property(add), "expected a function, got <property object"),
        ([].append, "got <built-in method append of list object"),
        (3, "expected a function, got 3"),
    ],
)
def test_whatever_cannot_run_is_refused_by_name_with_the_remedy(given, words, fresh):
    """Coroutines and generators were `complete` without having run, methods failed eight times."""
    for declare in (task(name="x"), task(name="x", cpu=True), event_handler("t", name="x")):
        with pytest.raises(BadDeclaration) as caught:
            declare(given)

        assert words in str(caught.value)
    assert {} == fresh.tasks


def test_a_static_method_without_a_receiver_stays_a_task_in_its_class(fresh):
    class Feed:
        @staticmethod
        @task(name="inner")
        def inner(n: int) -> int:
            return n

        @task(name="outer")
        @staticmethod
        def outer(self: int) -> int:  # noqa: PLW0211 - its own name for what it is given
            return self

    assert ["inner", "outer"] == list(fresh.tasks)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fetch(1), "it returned a coroutine, whose work has not run; make it a plain function"),
        (lambda: stream(1), "it returned an async generator, whose work has not run"),
        (lambda: rows(1), "it returned a generator, whose work has not run; loop inside"),
        (lambda: map(add, [1]), "it returned a map object, whose work has not run"),
        (lambda: filter(add, [1]), "it returned a filter object, whose work has not run"),
        (Promise, "it returned an awaitable Promise, whose work may not have run"),
    ],
)
def test_work_that_has_not_run_is_no_result(make, words):
    assert str(unfinished(make())).startswith(words)


@pytest.mark.parametrize(
    "value", [None, 3, "x", [rows(1)], {}, object(), range(3), itertools.count(), Sender]
)
def test_every_other_value_is_a_result(value: Any):
    assert unfinished(value) is None


@pytest.mark.filterwarnings("error")
def test_a_coroutine_that_was_returned_is_closed():
    """Python would complain in the log, some time later, that nobody has awaited it."""
    returned = fetch(1)

    unfinished(returned)

    assert inspect.CORO_CLOSED == inspect.getcoroutinestate(returned)
