"""Whether a call fits what is declared, before anything is stored."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from bus.apps import registry
from bus.apps.options import Options
from bus.apps.poster import bind
from bus.apps.registry import Registry, event_handler, task
from bus.apps.signature import Parameters
from bus.clock import FrozenClock
from bus.errors import BadCall, BadDeclaration
from bus.model import MonQTask, Receipt
from bus.posting import prepare


class Clerk:
    """A poster that counts what it was asked for."""

    posts = 0

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        self.posts += 1
        return prepare(FrozenClock(), name, args, kwargs, options, {})

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        raise AssertionError


@pytest.fixture(autouse=True)
def clerk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clerk]:
    monkeypatch.setattr(registry, "_registry", Registry())
    clerk = Clerk()
    bind(clerk)
    yield clerk
    bind(None)


def two(a, b, *, c=0): ...


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function("session", *args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        (
            (1,),
            {},
            "missing a required argument: 'b'; it is declared as (a, b, *, c=…) and called with 1 posit",
        ),
        ((1, 2, 3), {}, "too many positional arguments; it is declared as (a, b, *, c=…) and called with 3"),
        (
            (1, 2),
            {"d": "secret"},
            "unexpected keyword argument 'd'; it is declared as (a, b, *, c=…) and called",
        ),
        ((1,), {"a": 2}, "multiple values for argument 'a'"),
    ],
)
def test_a_post_that_the_function_does_not_take_is_refused(args, kwargs, words, clerk):
    """It was stored and tried eight times over 50 minutes. The values stay out of the message."""
    declared = task(name="x")(two)

    for post in (declared.post, declared.options(delay=5).post):
        with pytest.raises(BadCall) as caught:
            post(*args, **kwargs)

        assert words in str(caught.value)
        assert str(caught.value).startswith("task x: ")
        assert "secret" not in str(caught.value)
        assert isinstance(caught.value, TypeError)
    assert 0 == clerk.posts


def test_a_post_that_fits_is_stored(clerk):
    declared = task(name="x")(two)

    declared.post(1, 2)
    declared.post(1, b=2, c=3, __task_delay=60)

    assert 2 == clerk.posts


def test_what_a_wrapper_hands_on_is_its_own_affair(clerk):
    """It may add an argument of its own: the signature of the function inside would refuse what works."""

    @task(name="x")
    @logged
    def save(session, n): ...

    save.post(1)

    assert 1 == clerk.posts


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda a, /, b, *, c: None, "(a, /, b, *, c)"),
        (lambda a, /: None, "(a, /)"),
        (lambda *args, c, **more: None, "(*args, c, **more)"),
        (lambda password="hunter2": None, "(password=…)"),
        (dict.get, "(self, key, default=…, /)"),
    ],
)
def test_parameters_are_shown_without_their_defaults(function, text):
    assert text == str(Parameters(function))


def test_a_callable_that_hides_its_signature_takes_everything():
    class Hidden:
        @property
        def __signature__(self) -> Any:
            raise RuntimeError("not yours")

        def __call__(self, n: int) -> None: ...

    parameters = Parameters(Hidden())

    assert (None, True, "(...)") == (parameters.misfit((), {}), parameters.takes_a_topic, str(parameters))


@pytest.mark.parametrize("function", [lambda: None, lambda *, n: None, lambda **more: None])
def test_an_event_handler_without_a_place_for_the_topic_is_refused(function):
    """No event could ever be handed to it."""
    with pytest.raises(BadDeclaration, match=r"x\(.*\) takes no topic; write it as \(topic, event\) for"):
        event_handler("t", name="x")(function)


@pytest.mark.parametrize("function", [lambda topic: None, lambda *args: None, lambda topic, *, n: None])
def test_an_event_handler_that_some_event_fits_is_declared(function):
    """One topic may have published events and deliveries: only a call tells which it is."""
    assert ("t",) == event_handler("t", name="x")(function).topics
