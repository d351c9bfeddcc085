"""Every error survives the way from one process to another, whoever sends it there."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from bus import errors
from bus.errors import ConfigError, JoinTimeout, NotBound, Refused, Retry, TaskFailed

MADE = {
    ConfigError: lambda: ConfigError("a.ini:3: one", "a.ini:4: two"),
    NotBound: NotBound,
    TaskFailed: lambda: TaskFailed("task 1: failed", "Traceback:\n  ValueError"),
    Refused: lambda: Refused(503, "draining", "server: stopping", {"Retry-After": "2"}),
    Retry: lambda: Retry("slow down", delay=7.5),
}
"""Those whose constructors take more than a sentence; their heirs are made from one all the same."""

KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, BaseException) and kind.__module__ == errors.__name__
]


class Busy(Retry):
    """A verdict of an app, with a constructor of its own."""

    def __init__(self, *, host: str) -> None:
        super().__init__(f"{host} is busy", delay=5)
        self.host = host


def told(error: BaseException) -> tuple[object, ...]:
    """All that there is about *error*."""
    return type(error), str(error), error.args, vars(error)


def sent(error: BaseException) -> BaseException:
    """*error* as another process reads it."""
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, as multiprocessing sends them


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_goes_through_a_pipe_and_comes_out_as_it_was(kind):
    """The parent of a pool reads what its child has raised; one it cannot read is waited for without end."""
    error = MADE.get(kind, lambda: kind("something: expected one thing, got another"))()

    assert told(error) == told(sent(error))
    assert told(error) == told(copy.copy(error))


def test_an_error_of_an_app_that_is_made_otherwise_goes_through_too():
    """Handlers subclass what they raise."""
    error = Busy(host="db1")

    assert ("db1 is busy", 5, "db1") == (error.reason, error.delay, error.host)
    assert told(error) == told(sent(error))


def test_what_an_error_was_told_later_goes_along():
    """Notes and attributes that a caller has added."""
    error = JoinTimeout("task 1: still busy after 5 s")
    error.__notes__ = ["while the shop was closing"]

    assert ["while the shop was closing"] == sent(error).__notes__
