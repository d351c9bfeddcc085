"""Limits of a name: how many run at once and begin in a time, whoever claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bus.limits import KIND, UNTIL, Limit, limit_of
from bus.model import BUSY, COMPLETE, READY, SKIPPED, Claimed, Filter, Record, Report, ready_again
from bus.store.contract import Store

from .samples import NAME, NOW, ONE, TWO, a_task, later, post, together

TWO_AT_ONCE = Limit(2)
TEN_A_SECOND = Limit(every=0.1, burst=2)


def claim(store: Store, bound: Limit, limit: int = 10, at: float = 0, worker: Any = ONE) -> Claimed:
    """What may begin *at* so many seconds after NOW."""
    return store.claim(worker, {NAME}, limit, later(at), bound=bound)


def some(store: Store, count: int, **fields: Any) -> None:
    post(store, *(a_task(args=[n], time_queue=later(n - 60), **fields) for n in range(count)))


def marks(claimed: Claimed) -> list[Any]:
    return [task.args[0] for task in claimed.tasks]


def test_never_more_run_at_once_than_the_limit_says(store: Store) -> None:
    """By whichever daemon; the first ones in the order of claiming."""
    some(store, 5)

    assert [0] == marks(claim(store, TWO_AT_ONCE, 1))
    assert [1] == marks(claim(store, TWO_AT_ONCE, worker=TWO))
    assert ([], []) == (marks(claim(store, TWO_AT_ONCE)), marks(claim(store, TWO_AT_ONCE, worker=TWO)))


@pytest.mark.parametrize(
    "fields", [{"state": COMPLETE}, ready_again(1, time_queue=later(60)), ready_again(0)]
)
def test_a_place_is_free_when_its_claim_is(store: Store, fields: dict[str, Any]) -> None:
    """By its end, by a retry, or when it is given back, as a rescue does."""
    some(store, 3)
    first, _ = claim(store, TWO_AT_ONCE).tasks
    store.report([Report(first.claim, fields)])

    assert 1 == len(claim(store, TWO_AT_ONCE, worker=TWO).tasks)
    assert {BUSY: 2} == store.count(Filter(states=(BUSY,)))


def test_a_cancelled_or_deleted_task_frees_its_place(store: Store) -> None:
    """Whatever still runs of it is cut short."""
    some(store, 4)
    first, second = claim(store, TWO_AT_ONCE).tasks
    store.move([first.id], [BUSY], {"state": SKIPPED})
    store.delete([second.id], [BUSY])

    assert [2, 3] == marks(claim(store, TWO_AT_ONCE))


def test_a_lower_limit_waits_until_enough_have_ended(store: Store) -> None:
    """And one that is taken away leaves nothing behind."""
    some(store, 6)
    running = claim(store, Limit(3)).tasks
    after_lowering = claim(store, Limit(1))
    store.report([Report(task.claim, ready_again(0)) for task in running])

    assert [] == after_lowering.tasks
    assert 6 == len(store.claim(TWO, {NAME}, 10, NOW).tasks)


def test_what_was_begun_without_a_limit_takes_places_too(store: Store) -> None:
    """A limit counts from the moment it is declared."""
    some(store, 3)
    store.claim(ONE, {NAME}, 1, NOW)

    assert [1] == marks(claim(store, TWO_AT_ONCE))


def test_other_names_take_no_places(store: Store) -> None:
    """A limit is that of one name."""
    post(store, *(a_task("other.name") for _ in range(3)))
    store.claim(ONE, {"other.name"}, 3, NOW)
    some(store, 2)

    assert [0, 1] == marks(claim(store, TWO_AT_ONCE))


def test_however_many_claim_at_the_same_time_the_limit_holds(store: Store) -> None:
    """A unique index, or one writer, decides."""
    some(store, 20)

    taken = together(
        *(lambda worker=worker: claim(store, Limit(3), worker=worker) for worker in (ONE, TWO) * 4)
    )

    assert 3 == sum(len(claimed.tasks) for claimed in taken)
    assert {BUSY: 3, READY: 17} == store.count(Filter())


def test_as_many_begin_at_once_as_the_burst_says_and_then_one_at_a_time(store: Store) -> None:
    """`next_due` says when."""
    some(store, 9)
    first = claim(store, TEN_A_SECOND)
    early = claim(store, TEN_A_SECOND, at=0.05)
    then = claim(store, TEN_A_SECOND, at=0.1)

    assert ([0, 1], later(0.1)) == (marks(first), first.next_due)
    assert ([], later(0.1)) == (marks(early), early.next_due)
    assert [2] == marks(then)


def test_a_rate_is_that_of_all_daemons_together(store: Store) -> None:
    """Over any time no more begin than it says, and a burst more."""
    some(store, 60)
    begun = sum(
        len(claim(store, TEN_A_SECOND, at=n / 50, worker=worker).tasks)
        for n in range(100)
        for worker in (ONE, TWO)
    )

    assert 2 + 19 == begun


def test_a_daemon_whose_clock_is_behind_begins_nothing_too_early(store: Store) -> None:
    """Two clocks are never the same."""
    some(store, 9)
    claim(store, TEN_A_SECOND)
    claim(store, TEN_A_SECOND, at=0.1)
    behind = claim(store, TEN_A_SECOND, at=0.05, worker=TWO)

    assert ([], later(0.2)) == (marks(behind), behind.next_due)


def test_what_was_not_used_is_kept_up_to_the_burst(store: Store) -> None:
    """A pause does not save up more than that."""
    some(store, 9)
    claim(store, TEN_A_SECOND)

    assert [2, 3] == marks(claim(store, TEN_A_SECOND, at=600))


def test_where_nothing_is_due_no_start_is_used_up(store: Store) -> None:
    """Looking costs nothing, and writes nothing."""
    for n in range(5):
        claim(store, TEN_A_SECOND, at=n / 100)
    some(store, 3)

    assert [0, 1] == marks(claim(store, TEN_A_SECOND, at=0.05))


def test_a_clock_that_was_set_back_stops_nobody_for_long(store: Store) -> None:
    """And a record that cannot be read stops nobody at all."""
    some(store, 5)
    claim(store, TEN_A_SECOND, 1, at=86400)
    back = [len(claim(store, TEN_A_SECOND, at=at).tasks) for at in (0, 0.1)]
    (record,) = store.records(KIND)
    store.keep_records([replace(record, fields={UNTIL: "soon"})])

    assert [1, 1] == back
    assert 2 == len(claim(store, TEN_A_SECOND, at=0.1).tasks)
    assert isinstance(record, Record)


def test_both_limits_hold_together(store: Store) -> None:
    """The lower one decides."""
    some(store, 9)
    both = Limit(1, 0.1, 5)

    assert [0] == marks(claim(store, both))
    assert [] == marks(claim(store, both, at=9))


def test_a_delayed_task_of_a_limited_name_is_awaited(store: Store) -> None:
    """As without a limit."""
    some(store, 1)
    post(store, a_task(time_queue=later(30)))

    assert later(30) == claim(store, TEN_A_SECOND).next_due
    assert later(30) == claim(store, Limit(5)).next_due


@pytest.mark.parametrize(
    ("rate", "burst", "every", "most"),
    [("10/s", None, 0.1, 10), ("30/min", None, 2.0, 1), ("2/h", 5, 1800.0, 5), ("100/s", 1, 0.01, 1)],
)
def test_a_rate_is_read_as_it_is_written(rate: str, burst: int | None, every: float, most: int) -> None:
    """Without a burst as many may begin at once as begin in a second."""
    assert Limit(None, every, most) == limit_of(None, rate, burst)


@pytest.mark.parametrize("rate", ["", "10", "10/d", "0/s", "-1/s", "1.5/s", "100001/s", "٣/s", "10 / s"])
def test_what_is_no_rate_is_refused(rate: str) -> None:
    """Whole numbers a second, minute or hour."""
    with pytest.raises(ValueError):
        limit_of(None, rate, None)
