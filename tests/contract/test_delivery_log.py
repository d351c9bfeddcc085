"""The delivery log: what stored nothing has a record, strangers push out only each other, and old ones go."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from bus.delivery_record import Delivery, DeliveryFilter, Keep
from bus.errors import BadFilter
from bus.model import EventFilter, Posting
from bus.store.contract import Store

from .samples import CLOCK, NOW, a_delivery, a_fan_out, a_task, later, together

EVERYTHING = DeliveryFilter()
ALL_STAYS = Keep(later(-1e6), 1000, 2**30)


def refused(**fields: Any) -> Delivery:
    """A record of a refused delivery."""
    known = {"received": NOW, "outcome": "refused", "status": 401, "hook": "github", "code": "not_verified"}
    return Delivery(id=CLOCK.new_id(), **{**known, **fields})


def repeated(**fields: Any) -> Delivery:
    return refused(**{"outcome": "repeated", "status": 200, "code": "", **fields})


def all_of(store: Store, which: DeliveryFilter = EVERYTHING) -> list[Delivery]:
    return store.deliveries(which, 5000)


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    """Whatever bytes a stranger sent, and under whatever header."""
    whole = refused(
        method="POST", path="/hooks/github", peer="2001:db8::7", reason="bad \x1b[31m", seconds=0.25, size=7,
        request="r-1", delivery="d-1", headers={"$odd.name": "\u202e", "user-agent": "x"}, parameters=["a.b"],
        body=b"\x00\xff", omitted=12,
    )  # fmt: skip
    plain = repeated(event_id=CLOCK.new_id())
    store.log_deliveries([whole, plain])

    assert [plain, whole] == all_of(store)
    assert (whole, None) == (store.delivery(whole.id), store.delivery(CLOCK.new_id()))


def test_records_of_one_call_asked_again_stand_once(store: Store) -> None:
    """The answer of the first try may have been lost."""
    records = [refused(), refused()]
    store.log_deliveries(records[:1])
    store.log_deliveries(records)

    assert records[::-1] == all_of(store)


def test_nothing_to_log_changes_nothing(store: Store) -> None:
    """A daemon without refusals asks only for what is old."""
    assert (0, []) == (store.log_deliveries([], ALL_STAYS), all_of(store))


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({}, "edcba"),
        ({"hook": "github"}, "dcba"),
        ({"status": 413}, "b"),
        ({"outcome": "repeated"}, "c"),
        ({"outcome": "accepted"}, ""),
        ({"delivery": "d-7"}, "dc"),
        ({"older": later(2)}, "ba"),
        ({"newer": later(1)}, "edc"),
        ({"newer": later(0), "older": later(3), "outcome": "refused"}, "b"),
    ],
)
def test_records_are_found_by_each_part_of_a_filter(
    store: Store, which: dict[str, Any], expected: str
) -> None:
    """Newest first, every given part must match."""
    named = {
        "a": refused(received=later(0)),
        "b": refused(received=later(1), status=413),
        "c": repeated(received=later(2), delivery="d-7"),
        "d": refused(received=later(3), delivery="d-7"),
        "e": refused(received=later(4), hook=""),
    }
    store.log_deliveries(list(named.values()))
    names = {record.id: name for name, record in named.items()}

    assert expected == "".join(names[one.id] for one in all_of(store, DeliveryFilter(**which)))


def test_pages_continue_behind_their_last_record(store: Store) -> None:
    """So that no log is in memory whole."""
    records = [refused() for _ in range(7)]
    store.log_deliveries(records)
    pages, cursor = [], None
    while page := store.deliveries(EVERYTHING, 3, cursor):
        pages.append(page)
        cursor = page[-1].id

    assert [3, 3, 1] == [len(page) for page in pages]
    assert records[::-1] == [one for page in pages for one in page]


def test_a_ring_keeps_the_newest_of_each_kind(store: Store) -> None:
    """A flood of refused deliveries pushes out only refused ones."""
    mine = [repeated() for _ in range(3)]
    store.log_deliveries(mine)
    flood = [refused() for _ in range(50)]
    gone = store.log_deliveries(flood, Keep(later(-10), 5, 2**30))

    assert 45 == gone
    assert [*flood[:-6:-1], *mine[::-1]] == all_of(store)


def test_a_ring_keeps_as_many_bytes_as_it_may(store: Store) -> None:
    """Bodies are what takes room; the newest stay."""
    bodies = [refused(body=b"x" * 10_000) for _ in range(10)]
    small = repeated()
    store.log_deliveries([small, *bodies])
    store.log_deliveries([], Keep(later(-10), 1000, 35_000))

    assert [small, *bodies[:-4:-1]] == all_of(store)


def test_what_is_older_than_it_may_be_goes(store: Store) -> None:
    """Of both rings, whatever room there is."""
    old = [refused(received=later(-20)), repeated(received=later(-20))]
    new = [refused(received=later(-5)), repeated(received=later(-5))]
    store.log_deliveries([*old, *new])
    gone = store.log_deliveries([], Keep(later(-10), 1000, 2**30))

    assert (2, new[::-1]) == (gone, all_of(store))


def test_nothing_stays_of_a_ring_without_room(store: Store) -> None:
    """The log may be turned off later."""
    store.log_deliveries([refused(), repeated()])

    assert (2, []) == (store.log_deliveries([], Keep(later(-10), 0, 0)), all_of(store))


def test_records_are_neither_events_nor_tasks(store: Store) -> None:
    """What stored nothing is not replayed, counted or run."""
    store.log_deliveries([refused()])

    assert ([], {}, 0) == (store.events(9), store.waiting(), store.depth(9))


def test_many_write_at_once(store: Store) -> None:
    """Several daemons share one log, as far as a store is shared."""
    records = [refused() for _ in range(40)]
    together(*(lambda one=one: store.log_deliveries([one], ALL_STAYS) for one in records))

    assert {one.id for one in records} == {one.id for one in all_of(store)}


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({"outcome": "unhandled"}, ["c", "a"]),
        ({"outcome": "handled"}, ["b"]),
        ({"outcome": "filtered"}, ["d"]),
        ({"outcome": "accepted"}, ["c", "b", "a"]),
        ({"delivery": "a"}, ["a"]),
        ({"delivery": "b", "hook": "other"}, []),
        ({"newer": NOW, "older": NOW + timedelta(seconds=2)}, ["b"]),
        ({"older": later(1), "hook": "github"}, ["a"]),
    ],
)
def test_events_are_found_by_outcome_delivery_and_time(
    store: Store, which: dict[str, Any], expected: list[str]
) -> None:
    """As an operator remembers them; an accepted repetition has its delivery's id too."""
    events = [a_delivery(word, is_filtered=word == "d") for word in "abcd"]
    for number, event in enumerate(events):
        event.received = later(number)
    handled = a_fan_out(events[1], a_task())
    store.post([Posting([], events[0]), handled, Posting([], events[2]), Posting([], events[3])])

    assert expected == [event.delivery for event in store.events(9, filter=EventFilter(**which))]


def test_a_filtered_event_that_got_tasks_is_handled(store: Store) -> None:
    """A rule lets through what it had filtered: a list of either kind has it at once."""
    store.post([Posting([], a_delivery("a", is_filtered=True))])
    store.post([a_fan_out(a_delivery("a"), a_task())])
    found = {
        word: len(store.events(9, filter=EventFilter(outcome=word)))
        for word in ("filtered", "unhandled", "handled", "accepted")
    }

    assert {"filtered": 0, "unhandled": 0, "handled": 1, "accepted": 1} == found


def test_strangers_who_shake_hands_push_out_each_other_alone(store: Store) -> None:
    """An answered handshake may have been anybody's."""
    mine = repeated()
    store.log_deliveries([mine, *(refused(outcome="answered", status=200) for _ in range(20))])
    store.log_deliveries([], Keep(later(-10), 5, 2**30))

    assert [("answered", 5), ("repeated", 1)] == sorted(Counter(one.outcome for one in all_of(store)).items())


def test_an_accepted_repetition_is_found_by_its_id(store: Store) -> None:
    """Its key has the event's id behind a line feed, so that it is no other's."""
    first, again = a_delivery("a"), a_delivery("a")
    again.key = f"github:a\n{again.id}"
    store.post([Posting([], first), Posting([], again), Posting([], a_delivery("ab"))])

    assert [again.id, first.id] == [one.id for one in store.events(9, filter=EventFilter(delivery="a"))]


@pytest.mark.parametrize(
    "which",
    [{"status": 7}, {"status": True}, {"outcome": "lost"}, {"hook": 1}, {"newer": 5}, {"delivery": "\x00"}],
)
def test_a_filter_that_no_store_may_be_asked_is_refused(which: dict[str, Any]) -> None:
    """By its part's name."""
    (part,) = which
    with pytest.raises(BadFilter, match=f"^{part}: expected"):
        DeliveryFilter(**which)
