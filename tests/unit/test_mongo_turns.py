"""Two claimers of one MongoDB store: each has its turn, and none waits without end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from bus.errors import StoreUnavailable
from bus.store.mongo import claims
from bus.store.mongo.claims import Claims

PATIENCE = 5.0


class Away:
    """A connection whose calls hang for a moment each, in the order in which they begin."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.caller = ""

    @contextmanager
    def call(self) -> Iterator[Any]:
        self.called.append(gevent.getcurrent().name)
        gevent.idle()
        raise StoreUnavailable("away")
        yield


def test_one_that_asks_again_at_once_does_not_keep_the_other_from_its_turn() -> None:
    """Woken while it was away, a claimer asks for its turn in the moment in which it ends one."""
    connection = Away()
    both = Claims(connection, lambda *_: None)  # type: ignore[arg-type]

    def ask() -> None:
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                both.give_back()

    askers = [gevent.Greenlet(ask) for _ in range(2)]
    for number, asker in enumerate(askers):
        asker.name = str(number)  # type: ignore[attr-defined]
        asker.start()
    gevent.joinall(askers, timeout=PATIENCE, raise_error=True)

    assert ["0", "1"] * 3 == connection.called


def test_a_turn_that_does_not_come_is_the_stores_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each verb of a store answers in time."""
    monkeypatch.setattr(claims, "CALL_SECONDS", 0.01)
    waiting = Claims(Away(), lambda *_: None)  # type: ignore[arg-type]

    with waiting._turn, pytest.raises(StoreUnavailable, match=r"a claim has waited 0\.01 s for another one"):
        waiting.give_back()
