"""Several daemons look at the same tasks: who is late gets the rest, and asks little to learn of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bus.model import Filter
from bus.store.contract import Store
from bus.store.mongo.claims import Claims
from tests.conftest import NewStore
from tests.plans import asked

from .samples import NAME, NOW, ONE, TWO, a_task, post

pytestmark = pytest.mark.needs("shared")
COUNT = 10


@pytest.fixture
def beaten_to(store: Store, new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets another daemon take so many of what *store* has found due, before it takes them itself."""
    other, take = new_store(), Claims._take

    def beat(count: int) -> None:
        def late(claims: Claims, *args: Any) -> Any:
            monkeypatch.setattr(Claims, "_take", take)
            assert count == len(other.claim(TWO, {NAME}, count, NOW).tasks)
            return take(claims, *args)

        monkeypatch.setattr(Claims, "_take", late)

    return beat


def test_who_is_beaten_to_some_tasks_gets_the_others(store: Store, beaten_to: Callable[[int], None]) -> None:
    """Each task goes to one of them, and the late one knows which are its own."""
    ids = [task.id for task in post(store, *(a_task() for _ in range(COUNT)))]
    beaten_to(4)

    assert ids[4:] == [task.id for task in store.claim(ONE, {NAME}, COUNT, NOW).tasks]
    assert {"busy": COUNT} == store.count(Filter())


@pytest.mark.parametrize("count", [1, COUNT])
def test_a_lost_race_costs_no_more_than_a_look(
    store: Store, beaten_to: Callable[[int], None], count: int
) -> None:
    """Look, take nothing, look again, ask for the next due: others have taken all of it as a rule."""
    post(store, *(a_task() for _ in range(count)))
    beaten_to(count)
    with asked(store) as statements:
        store.claim(ONE, {NAME}, count, NOW)
    looks, takes = (sum(f" {kind} " in one.words for one in statements) for kind in ("query", "update"))

    assert 2 == takes  # the other daemon's, and the one that took nothing
    assert 4 == looks  # the other daemon's, two, and the one for the next due
