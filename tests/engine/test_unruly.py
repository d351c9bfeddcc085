"""Whatever a handler does to its own end, the end is recorded and the others are not held up."""

from __future__ import annotations

import sys

import gevent
import pytest

from bus.errors import Cancel


class Unreadable:
    """Does what it likes when it is looked at."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __repr__(self) -> str:
        raise self._error

    __str__ = __repr__


class Unprintable(Exception):
    """An exception whose text ends the program."""

    def __str__(self) -> str:
        return str(sys.exit(4))


class Evasive(Exception):
    """An exception of which nothing can be asked."""

    def __getattribute__(self, name: str) -> object:
        raise KeyError(name)


class Annotated(Exception):
    """An exception whose notes cannot be read."""

    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError


def misplaced() -> SyntaxError:
    """What a template engine raises, with bytes where a line should be."""
    return SyntaxError("bad template", ("t.html", 3, 5, b"{% x"))


def growing(values):
    """Returns a list that turns unstorable before it is recorded."""
    gevent.spawn(values.append, object())
    return values


def raising(error):
    """Raises *error*."""
    raise error


@pytest.mark.parametrize(
    ("act", "state"),
    [
        (lambda: raising(Cancel("\ud800")), "skipped"),
        (lambda: raising(Cancel(object())), "skipped"),
        (lambda: growing([1]), "complete"),
        (lambda: Unreadable(KeyboardInterrupt), "complete"),
        (lambda: Unreadable(SystemExit), "complete"),
        (lambda: raising(Unprintable()), "error"),
        (lambda: sys.stdout.write(b"bytes"), "error"),
        (lambda: raising(Evasive()), "error"),
        (lambda: raising(Annotated()), "error"),
        (lambda: raising(misplaced()), "error"),
    ],
    ids=[
        "surrogate",
        "object",
        "growing",
        "repr interrupts",
        "repr exits",
        "str exits",
        "bytes printed",
        "evasive",
        "annotated",
        "misplaced",
    ],
)
def test_an_unruly_end_costs_only_its_own_task(engine, act, state, monkeypatch):
    """The task has an end, and the task after it has one too."""
    from bus.engine.output import Router

    monkeypatch.setattr(sys, "stdout", Router(sys.stdout))
    engine.declare(act, "unruly", max_attempts=1)
    engine.declare(lambda: 7, "quiet")
    unruly = engine.waiting(name="unruly")

    assert state == engine.perform(unruly).state
    assert 7 == engine.perform(engine.waiting(name="quiet")).result


def test_what_turns_unstorable_late_is_replaced(engine, facts):
    """A history that a handler has filled with objects does not stop the recorder."""
    from monqbus import c

    def spoil():
        c.task.history.append({"error": object()})
        raise ValueError("spoilt")

    engine.declare(spoil, "spoil", max_attempts=1)

    assert "error" == engine.perform(engine.waiting(name="spoil")).state
    assert 1 == len(facts.of("task.unstorable"))
