"""What surrounds a task: captured where it is posted, restored around its run, gone afterwards."""

from __future__ import annotations

import threading

import gevent
import pytest

from bus.apps import context
from bus.apps.context import c, capture, carry, restored
from bus.errors import BadDeclaration


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """A `c` and a table of carried attributes that this test alone sees."""
    monkeypatch.setattr(context, "_carried", dict(context._carried))
    with restored({}):
        yield


class Project:
    """An application's object, known by its id."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_alluras_three_are_captured_under_alluras_names():
    """`project_id`, `app_config_id` and `user_id` are what Allura stores in `context`."""
    c.project, c.app, c.user, c.other = 1, 2, 3, 4

    assert {"project_id": 1, "app_config_id": 2, "user_id": 3} == capture()


def test_what_is_not_set_is_not_captured():
    """None means the same as nothing."""
    c.user, c.app = 3, None

    assert {"user_id": 3} == capture()


def test_a_captured_context_is_restored_around_a_run_and_gone_afterwards():
    c.project, c.user = "mine", "me"

    with restored({"project_id": "theirs"}, task="the task"):
        inside = (c.project, c.user, c.task)

    assert ("theirs", None, "the task") == inside
    assert ("mine", "me") == (c.project, c.user)
    with pytest.raises(AttributeError, match=r"c\.task: there is no running task here"):
        _ = c.task


def test_what_a_run_sets_never_reaches_the_next_one():
    with restored({}):
        c.user, c.secret = "first", "x"

    with restored({}):
        assert c.user is None
        assert {} == capture()
        with pytest.raises(AttributeError, match=r"c\.secret: nothing was set under this name"):
            _ = c.secret


def test_a_run_that_fails_leaves_nothing_behind():
    c.user = "me"

    with pytest.raises(ZeroDivisionError), restored({"user_id": "other"}):
        _ = 1 / 0

    assert "me" == c.user


def test_greenlets_never_see_each_others_context():
    """Also when they take turns in the middle of their runs, and when one has started the other."""
    turns = [gevent.event.Event(), gevent.event.Event()]
    seen = {}

    def run(n: int) -> None:
        with restored({"user_id": n}):
            c.mine = n
            turns[n].set()
            assert turns[1 - n].wait(5)
            seen[n] = (c.user, c.mine, capture())

    gevent.joinall([gevent.spawn(run, n) for n in (0, 1)], timeout=5, raise_error=True)

    assert {n: (n, n, {"user_id": n}) for n in (0, 1)} == seen


@pytest.mark.parametrize("start", ["greenlet", "thread"])
def test_what_a_task_starts_itself_has_a_context_of_its_own(start):
    """And cannot change the one of the task."""
    c.user = "parent"
    seen = []

    def child() -> None:
        seen.append(c.user)
        c.user = "child"

    if start == "greenlet":
        gevent.spawn(child).join(5)
    else:
        thread = threading.Thread(target=child)
        thread.start()
        thread.join(5)

    assert [None] == seen
    assert "parent" == c.user


def test_objects_travel_as_what_can_be_stored():
    """The application teaches a row both ways; the name of the field stays Allura's."""
    carry("project", store=lambda project: project.number, load=Project)
    c.project = Project(7)
    stored = capture()

    with restored(stored):
        assert (Project, 7) == (type(c.project), c.project.number)

    assert {"project_id": 7} == stored


def test_an_application_adds_rows_of_its_own():
    carry("trace_id")
    carry("locale", field="lang")
    c.trace_id, c.locale = "abc", "de"

    assert {"trace_id": "abc", "lang": "de"} == capture()
    with restored({"lang": "fr", "unknown": 1}):
        assert ("fr", None) == (c.locale, c.trace_id)


@pytest.mark.parametrize("name", ["task", "two words", ""])
def test_a_row_needs_a_name_that_c_can_have(name):
    with pytest.raises(BadDeclaration, match="carry: expected a name that c can have"):
        carry(name)


def test_an_attribute_can_be_taken_away():
    c.user = "me"
    del c.user
    del c.user

    assert c.user is None
