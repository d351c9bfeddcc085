"""Bell: a ring is a hint that wakes the other daemons, and only a hint."""

from __future__ import annotations

from collections.abc import Collection

import gevent
import pytest

from bus.store.contract import Store
from tests.conftest import NewStore

from .samples import NAME, PATIENCE, a_task, post, together

pytestmark = pytest.mark.needs("shared")


@pytest.fixture
def other(store: Store, new_store: NewStore) -> Store:
    """Another daemon on the same data."""
    return new_store()


def test_who_begins_to_listen_may_have_missed_rings(store: Store) -> None:
    """So the first answer is "lost": make a full claim pass."""
    assert "lost" == store.listen(0.1).word


def test_silence_is_quiet(store: Store) -> None:
    """Nobody rang, nothing was missed."""
    store.listen(0.1)

    assert ["quiet", "quiet"] == [store.listen(0.05).word, store.listen(0.05).word]


def test_a_ring_of_another_daemon_is_heard(store: Store, other: Store) -> None:
    """Also when it came between two calls of listen."""
    store.listen(0.1)
    other.ring()

    assert "rang" == store.listen(PATIENCE).word


def test_a_ring_wakes_who_is_listening(store: Store, other: Store) -> None:
    """It does not wait until the time is over."""
    store.listen(0.1)
    heard, _ = together(lambda: store.listen(PATIENCE / 3).word, other.ring)

    assert "rang" == heard


def test_a_daemon_does_not_hear_itself(store: Store, other: Store) -> None:
    """It wakes its own claimer without a round trip."""
    store.listen(0.1)
    other.listen(0.1)
    store.ring()

    assert "rang" == other.listen(PATIENCE).word  # the ring has arrived
    assert "quiet" == store.listen(0.05).word


def test_a_process_without_greenlets_rings_too(store: Store, new_store: NewStore) -> None:
    """A command or a web application posts and rings."""
    store.listen(0.1)
    new_store(daemon=False).ring()

    assert "rang" == store.listen(PATIENCE).word


def test_many_rings_merge(store: Store, other: Store) -> None:
    """A thousand posts are not a thousand wake-ups."""
    store.listen(0.1)
    for _ in range(1000):
        other.ring()

    heard = [store.listen(PATIENCE).word]
    while (answer := store.listen(0.2).word) != "quiet":
        heard.append(answer)

    assert {"rang"} == set(heard)
    assert len(heard) <= 3


def test_ringing_does_not_block(store: Store) -> None:
    """The daemon's post does not wait for a hint to be written."""
    switched: list[bool] = []
    gevent.spawn(switched.append, True)

    store.ring()

    assert [] == switched


def test_listening_stops_nobody_else(store: Store, other: Store) -> None:
    """A listener waits in its own greenlet."""
    store.listen(0.1)
    listener = gevent.spawn(store.listen, PATIENCE / 3)

    post(store, a_task())
    other.ring()

    assert "rang" == listener.get(timeout=PATIENCE).word


@pytest.mark.parametrize("daemon", [True, False])
def test_a_ring_says_for_which_names_it_is(store: Store, new_store: NewStore, daemon: bool) -> None:
    """Who runs none of them need not look: each look of each daemon is a question to the server."""
    store.listen(0.1)
    new_store(daemon=daemon).ring({NAME, "shop.count"})
    heard = store.listen(PATIENCE)

    assert "rang" == heard.word
    assert [True, True, False] == [heard.is_about(name) for name in (NAME, "shop.count", "shop.other")]


@pytest.mark.parametrize("rings", [[()], [{NAME}, ()], [(), {NAME}], [{f"shop.n{n}" for n in range(100)}]])
def test_a_ring_without_names_or_with_too_many_is_for_all(
    store: Store, other: Store, rings: list[Collection[str]]
) -> None:
    """A hint too much costs a look, one too few the time until the poll."""
    store.listen(0.1)
    for names in rings:
        other.ring(names)
    heard = [store.listen(PATIENCE)]
    while (more := store.listen(0.2)).word != "quiet":
        heard.append(more)

    assert any(one.is_about("shop.other") for one in heard)


def test_rings_that_merge_are_for_the_names_of_each(store: Store, other: Store) -> None:
    """While one hint is on its way the next ones gather, and none of them is forgotten."""
    names = [f"shop.n{number}" for number in range(10)]
    store.listen(0.1)
    for name in names:
        other.ring({name})
    heard = [store.listen(PATIENCE)]
    while (more := store.listen(0.2)).word != "quiet":
        heard.append(more)

    assert names == [name for name in names if any(one.is_about(name) for one in heard)]
    assert not any(one.is_about("shop.other") for one in heard)
