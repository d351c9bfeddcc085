"""Whatever a handler's exception does when it is looked at, its task fails and its worker lives."""

from __future__ import annotations

import pytest

from .conftest import New


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("misplace", "SyntaxError: bad template"),
        ("evade", "could not be sent to the daemon"),
        ("delay", "could not be sent to the daemon"),
    ],
)
def test_an_exception_that_cannot_be_told_is_a_failure_and_no_crash(new_laboratory: New, name, says):
    """It counts as an attempt, and the error is named as far as it goes."""
    laboratory = new_laboratory(modules=("unruly",))
    stored = laboratory.ended(*laboratory.begin_task(laboratory.waiting(name=f"unruly.{name}")))

    assert ("error", 1, 0) == (stored.state, stored.attempt, stored.crashes)
    assert says in stored.history[0]["error"]
