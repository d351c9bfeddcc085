"""Claim: ready and due, highest priority then oldest, each task to exactly one caller."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from bson import ObjectId

from bus.model import BUSY, Event, FairShare, Instance, Report
from bus.store.contract import Store

from .samples import (
    CLOCK,
    NAME,
    NOW,
    ONE,
    TWO,
    a_delivery,
    a_fan_out,
    a_task,
    depths,
    held,
    later,
    post,
    together,
)


def args_of(store: Store, limit: int = 100, names: Any = (NAME,)) -> list[Any]:
    return [task.args[0] for task in store.claim(ONE, set(names), limit, NOW).tasks]


def test_a_claimed_task_is_held_by_its_instance(store: Store) -> None:
    """It is busy in this instance's name, and this run is counted."""
    post(store, a_task())

    (task,) = store.claim(ONE, {NAME}, 10, NOW).tasks

    assert (BUSY, ONE.id, ONE.process, NOW) == (task.state, task.worker, task.process, task.time_start)
    assert (1, 1) == (task.attempt, task.generation)
    assert task == store.get(task.id)


def test_a_claimed_task_is_not_claimed_again(store: Store) -> None:
    """Each task goes to exactly one caller."""
    held(store)

    assert [] == store.claim(TWO, {NAME}, 10, NOW).tasks


def test_higher_priority_goes_first_then_the_older_one(store: Store) -> None:
    """Priority, then `time_queue`, then the order of posting."""
    post(
        store,
        a_task(args=["low"], priority=1, time_queue=later(-900)),
        a_task(args=["new"], time_queue=later(-1)),
        a_task(args=["old"], time_queue=later(-100)),
        a_task(args=["old, posted later"], time_queue=later(-100)),
        a_task(args=["high"], priority=50, time_queue=later(0)),
        a_task(args=["negative"], priority=-5, time_queue=later(-999)),
    )

    assert ["high", "old", "old, posted later", "new", "low", "negative"] == args_of(store)


def test_the_order_holds_across_names_and_claims(store: Store) -> None:
    """A name has no turn of its own: the queue is one."""
    for n in range(30):
        post(store, a_task(f"shop.{n % 3}", args=[n], priority=n % 5, time_queue=later(-n)))
    expected = sorted(range(30), key=lambda n: (-(n % 5), -n))

    names = ["shop.0", "shop.1", "shop.2"]

    assert expected == args_of(store, 7, names) + args_of(store, 11, names) + args_of(store, 12, names)


def test_the_order_holds_across_more_names_than_one_query_takes(store: Store) -> None:
    """An application may declare hundreds of tasks."""
    names = [f"shop.task_{n:03}" for n in range(400)]
    post(store, *(a_task(name, args=[n], time_queue=later(-n)) for n, name in enumerate(names)))

    assert list(range(399, 379, -1)) == args_of(store, 20, names)


def test_never_more_than_the_limit_are_claimed(store: Store) -> None:
    """The limit is the number of free slots."""
    post(store, *(a_task() for _ in range(5)))

    sizes = [len(store.claim(ONE, {NAME}, limit, NOW).tasks) for limit in (0, 2, 2, 2)]

    assert [0, 2, 2, 1] == sizes


def test_without_names_nothing_is_claimed(store: Store) -> None:
    """A daemon that knows no task leaves all of them."""
    post(store, a_task())

    assert ([], None) == store.claim(ONE, set(), 10, NOW)


def test_unknown_names_wait(store: Store) -> None:
    """A name that this daemon does not know is parked for one that does."""
    post(store, a_task("other.task", priority=99), a_task(args=["mine"]))

    assert ["mine"] == args_of(store)
    assert {"other.task": 1} == depths(store.waiting())


def test_a_delayed_task_is_claimed_at_its_time_and_not_before(store: Store) -> None:
    """`time_queue` means "not before"."""
    (task,) = post(store, a_task(time_queue=later(10)))

    assert [] == store.claim(ONE, {NAME}, 10, later(9.999)).tasks
    assert [task.id] == [found.id for found in store.claim(ONE, {NAME}, 10, later(10)).tasks]


def test_next_due_is_the_first_delayed_task_of_a_known_name(store: Store) -> None:
    """The claimer sleeps until then."""
    post(
        store,
        a_task(),
        a_task(time_queue=later(30)),
        a_task(time_queue=later(20), priority=1),
        a_task("shop.other", time_queue=later(25)),
        a_task("unknown.task", time_queue=later(5)),
    )

    claimed = store.claim(ONE, {NAME, "shop.other"}, 10, NOW)

    assert (1, later(20)) == (len(claimed.tasks), claimed.next_due)


def test_next_due_is_none_when_nothing_is_delayed(store: Store) -> None:
    """Then only a post can bring work."""
    post(store, a_task())

    assert store.claim(ONE, {NAME}, 10, NOW).next_due is None


def test_next_due_stays_empty_while_the_limit_is_reached(store: Store) -> None:
    """Who got all it asked for looks again anyway."""
    post(store, a_task(), a_task(time_queue=later(20)))

    assert store.claim(ONE, {NAME}, 1, NOW).next_due is None


def test_a_delivery_comes_along_with_each_of_its_tasks(store: Store) -> None:
    """A webhook's handler gets headers and the exact bytes."""
    event = a_delivery(headers={"x-a": "b"})
    store.post([a_fan_out(event, a_task("a.one"), a_task("a.two"))])

    tasks = store.claim(ONE, {"a.one", "a.two"}, 10, NOW).tasks

    assert [event, event] == [task.event for task in tasks]


def test_a_published_event_does_not_come_along(store: Store) -> None:
    """Its values are in the task's arguments already."""
    event = Event(CLOCK.new_id(), "order.paid", NOW)
    store.post([a_fan_out(event, a_task())])

    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks

    assert (event.id, None) == (task.event_id, task.event)


def test_every_run_of_a_task_has_a_higher_generation(store: Store) -> None:
    """The generation is the fence: it never goes back, whatever happens to `attempt`."""
    (first,) = held(store)
    store.report([Report(first.claim, {"state": "ready", "worker": None, "attempt": 0})])

    (second,) = store.claim(TWO, {NAME}, 1, NOW).tasks

    assert (1, 1, 2) == (first.generation, second.attempt, second.generation)


def test_a_claim_begins_with_a_clean_stop_time(store: Store) -> None:
    """`time_stop` of the last attempt does not belong to this one."""
    (first,) = held(store)
    store.report([Report(first.claim, {"state": "ready", "worker": None, "time_stop": NOW})])

    (second,) = store.claim(ONE, {NAME}, 1, NOW).tasks

    assert second.time_stop is None


def test_many_claimers_share_all_tasks_and_none_twice(store: Store) -> None:
    """The concurrency law: what was claimed is what was posted, as a multiset."""
    posted = Counter(task.id for task in post(store, *(a_task(priority=n % 4) for n in range(300))))

    def claim_all(instance: Instance, limit: int) -> list[ObjectId]:
        mine: list[ObjectId] = []
        while True:
            claimed = store.claim(instance, {NAME}, limit, NOW)
            mine += [task.id for task in claimed.tasks]
            if not claimed.tasks and claimed.next_due is None:
                return mine

    shares = together(*(partial(claim_all, Instance(f"w{n}", ""), 3 + 2 * n) for n in range(8)))

    assert posted == Counter(task_id for share in shares for task_id in share)


def test_claims_at_once_in_one_instances_name_share_no_task(store: Store) -> None:
    """Even who claims twice at the same time gets no task twice."""
    posted = Counter(task.id for task in post(store, *(a_task() for _ in range(60))))

    answers = together(*(partial(store.claim, ONE, {NAME}, 10, NOW) for _ in range(6)))

    assert posted == Counter(task.id for answer in answers for task in answer.tasks)


def test_tasks_posted_while_others_claim_are_all_claimed(store: Store) -> None:
    """Posting and claiming at once loses nothing."""
    tasks = [a_task() for _ in range(200)]
    claimed: Counter[ObjectId] = Counter()

    def claim_until_all() -> None:
        while claimed.total() < len(tasks):
            claimed.update(task.id for task in store.claim(ONE, {NAME}, 20, NOW).tasks)

    together(claim_until_all, *(partial(post, store, *tasks[n::10]) for n in range(10)))

    assert Counter(task.id for task in tasks) == claimed


# fair shares


def a_share(most: int, held: Any = None, aged: int = 0) -> FairShare:
    """What is older than a minute and a half is old."""
    return FairShare(most, held or {}, aged, later(-90))


def first_of(store: Store, limit: int, fair: FairShare) -> list[Any]:
    return [task.args[0] for task in store.claim(ONE, {"a", "b", "c"}, limit, NOW, fair).tasks]


def test_a_name_with_its_share_makes_way_for_a_younger_one(store: Store) -> None:
    """Forty slow ones wait; the quick one behind them goes first, since the slow hold all they may."""
    post(store, *(a_task("a", args=[n], time_queue=later(n - 80)) for n in range(40)))
    post(store, a_task("b", args=["quick"], time_queue=later(-1)))

    assert ["quick", 0] == first_of(store, 2, a_share(5, {"a": 5}))


def test_what_a_claim_takes_counts_for_the_share(store: Store) -> None:
    """Of ten slots the first name gets its half, although it alone could fill all."""
    post(store, *(a_task("a", args=["a"], time_queue=later(-80)) for _ in range(40)))
    post(store, *(a_task("b", args=["b"], time_queue=later(-1)) for _ in range(40)))

    assert {"a": 5, "b": 5} == Counter(first_of(store, 10, a_share(5)))


def test_behind_two_names_with_their_shares_a_third_one_is_seen(store: Store) -> None:
    """However many names have their share, one that has nothing is found."""
    for name, seconds in (("a", -80), ("b", -70)):
        post(store, *(a_task(name, args=[name], time_queue=later(seconds)) for _ in range(40)))
    post(store, a_task("c", args=["c"], time_queue=later(-1)))

    assert {"a": 2, "b": 2, "c": 1} == Counter(first_of(store, 5, a_share(5, {"a": 3, "b": 3})))


def test_a_name_takes_every_place_while_no_other_waits(store: Store) -> None:
    """No slot stays empty for the sake of fairness; the order stays what it is."""
    post(store, *(a_task("a", args=[n], time_queue=later(n - 80)) for n in range(20)))
    post(store, a_task("b", args=["delayed"], time_queue=later(60)))

    assert list(range(10)) == first_of(store, 10, a_share(5, {"a": 5}))


def test_places_that_others_leave_go_to_the_name_that_has_its_share(store: Store) -> None:
    """Three of another name wait: the rest of ten places is filled."""
    post(store, *(a_task("a", args=["a"], time_queue=later(-80)) for _ in range(40)))
    post(store, *(a_task("b", args=["b"], time_queue=later(-1)) for _ in range(3)))

    assert {"a": 7, "b": 3} == Counter(first_of(store, 10, a_share(5)))


def test_an_aged_task_goes_before_any_priority(store: Store) -> None:
    """A stream of urgent ones does not hold it up for ever, of its own name or of another."""
    post(store, *(a_task("a", args=["urgent"], priority=50) for _ in range(20)))
    post(store, a_task("a", args=["old"], priority=1, time_queue=later(-100)))
    post(store, a_task("b", args=["older"], priority=2, time_queue=later(-200)))
    post(store, a_task("a", args=["young"], priority=0, time_queue=later(-80)))

    firsts = [first_of(store, 1, a_share(50, aged=1)) for _ in range(3)]

    assert [["older"], ["old"], ["urgent"]] == firsts


def test_only_so_many_places_go_to_the_aged(store: Store) -> None:
    """The others keep the order of priority."""
    post(store, *(a_task("a", args=["urgent"], priority=50) for _ in range(20)))
    post(store, *(a_task("a", args=["old"], priority=1, time_queue=later(-100)) for _ in range(20)))

    assert {"old": 2, "urgent": 8} == Counter(first_of(store, 10, a_share(50, aged=2)))
