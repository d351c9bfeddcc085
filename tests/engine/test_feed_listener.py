"""Hints from other daemons wake the claimer; a lost feed means one full claim pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from bus.errors import StoreUnavailable
from bus.maintenance.feed_listener import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Listener
from bus.store import Store
from bus.store.contract import Heard, hint_of


class Feed:
    """A store of which only the bell is there."""

    def __init__(self, *heard: Any) -> None:
        self.heard = list(heard)
        self.woken = 0
        self.listener = Listener(cast(Store, self), self.wake)

    def listen(self, seconds: float) -> Any:
        heard = self.heard.pop(0)
        if isinstance(heard, Exception):
            raise heard
        return heard if isinstance(heard, Heard) else Heard(heard)

    def wake(self, is_about: Callable[[str], bool]) -> None:
        self.woken += 1
        self.is_about = is_about

    def ticks(self) -> list[float]:
        """The pauses asked for, one for each thing that was heard."""
        return [self.listener.tick() for _ in list(self.heard)]


def test_a_ring_wakes_and_is_listened_for_again_at_once(facts):
    feed = Feed("rang", "rang")

    assert [0, 0] == feed.ticks()
    assert (2, []) == (feed.woken, facts.names)


def test_a_ring_wakes_those_that_it_is_for():
    """A lost feed is for all: what it was about is lost with it."""
    feed = Feed(Heard("rang", frozenset({hint_of("a.b")})), "lost")
    feed.listener.tick()
    rang = [feed.is_about(name) for name in ("a.b", "a.c")]
    feed.listener.tick()

    assert [True, False] == rang
    assert feed.is_about("a.c")


def test_silence_wakes_nobody():
    feed = Feed("quiet", "quiet")

    assert [0, 0] == feed.ticks()
    assert 0 == feed.woken


def test_a_lost_feed_wakes_and_is_reopened_with_back_off(facts):
    """Rings may have been missed, so one pass each time; but a dead server is not hammered."""
    feed = Feed(*["lost"] * 9)
    pauses = feed.ticks()

    assert [FIRST_PAUSE_SECONDS * 2**n for n in range(7)] + [LONGEST_PAUSE_SECONDS] * 2 == pauses
    assert (9, ["feed.reopened"] * 9) == (feed.woken, facts.names)


def test_a_store_that_fails_is_a_lost_feed(facts):
    feed = Feed(StoreUnavailable("away"))

    assert [FIRST_PAUSE_SECONDS] == feed.ticks()
    assert (1, ["feed.reopened"]) == (feed.woken, facts.names)


def test_the_first_ring_ends_the_back_off():
    """Silence does not: it may come from a feed that is about to die again."""
    feed = Feed("lost", "lost", "quiet", "lost", "rang", "lost")

    assert [0.05, 0.1, 0, 0.2, 0, 0.05] == feed.ticks()
