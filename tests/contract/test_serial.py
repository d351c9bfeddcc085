"""Serial keys: of the unfinished tasks with one key only the first may run, in the order they were stored."""

from __future__ import annotations

from typing import Any

from bus.model import (
    BUSY,
    COMPLETE,
    ERROR,
    READY,
    SKIPPED,
    Claim,
    FairShare,
    Filter,
    MonQTask,
    Posting,
    Report,
    fresh_start,
    ready_again,
)
from bus.store.contract import Store

from .samples import NAME, NOW, ONE, TWO, a_delivery, a_fan_out, a_task, later, post, together

KEY = f"{NAME} 1"


def line(store: Store, *marks: Any, key: str = KEY, **fields: Any) -> list[MonQTask]:
    """Tasks of one serial key, stored in the order of their *marks*."""
    return post(store, *(a_task(args=[mark], serial=key, **fields) for mark in marks))


def begun(store: Store, limit: int = 100) -> list[Any]:
    """What may run now, by its mark."""
    return [task.args[0] for task in store.claim(ONE, {NAME}, limit, NOW).tasks]


def ended(store: Store, task: MonQTask, generation: int = 1, **fields: Any) -> bool:
    """End the run of *task* by *fields*, by default as complete."""
    report = Report(Claim(task.id, ONE.id, generation), fields or {"state": COMPLETE}, serial=task.serial)
    return store.report([report])[0]


def test_of_one_serial_key_only_the_first_runs(store: Store) -> None:
    """However many slots are free."""
    line(store, 1, 2, 3)

    assert [1] == begun(store)
    assert ([], None) == store.claim(ONE, {NAME}, 9, NOW)


def test_those_of_different_keys_and_those_without_one_run_side_by_side(store: Store) -> None:
    """A key is nobody else's business."""
    line(store, "a")
    line(store, "b", key=f"{NAME} 2")
    post(store, a_task(args=["c"]), a_task(args=["d"]))

    assert {"a", "b", "c", "d"} == set(begun(store))


def test_they_run_in_the_order_in_which_they_were_stored(store: Store) -> None:
    """Neither priority nor age changes it."""
    first, second, third, fourth = (line(store, n, priority=n, time_queue=later(-n))[0] for n in (1, 2, 3, 4))
    order = []
    for task in (first, second, third, fourth):
        order += begun(store)
        ended(store, task)

    assert [1, 2, 3, 4] == order


def test_a_retry_keeps_its_place(store: Store) -> None:
    """Those behind it wait until it has ended, also while it waits for its next attempt."""
    first, second = line(store, 1, 2)
    begun(store)
    ended(store, first, **ready_again(1, time_queue=later(60)))

    assert [] == begun(store)
    assert [first.id] == [task.id for task in store.claim(TWO, {NAME}, 9, later(60)).tasks]
    assert READY == store.get(second.id).state  # type: ignore[union-attr]


def test_an_end_in_error_lets_the_next_one_go_on(store: Store) -> None:
    """Whatever the end is."""
    first, _ = line(store, 1, 2)
    begun(store)
    ended(store, first, state=ERROR, result="no")

    assert [2] == begun(store)


def test_a_task_that_is_given_back_keeps_its_place(store: Store) -> None:
    """A rescue or a drain makes it ready again; it alone may begin."""
    first, _ = line(store, 1, 2)
    begun(store)
    ended(store, first, **ready_again(0))

    assert [1] == begun(store)


def test_a_late_report_lets_nobody_go_on(store: Store) -> None:
    """Its claim is another's by now, who still runs."""
    first, _ = line(store, 1, 2)
    begun(store)
    ended(store, first, **ready_again(0))
    begun(store)

    assert not ended(store, first, 1)
    assert [] == begun(store)


def test_a_cancelled_head_lets_the_next_one_go_on(store: Store) -> None:
    """Waiting or running."""
    first, second, _ = line(store, 1, 2, 3)
    store.move([first.id], [READY], {"state": SKIPPED})
    after_ready = begun(store)
    store.move([second.id], [BUSY], {"state": SKIPPED})

    assert ([2], [3]) == (after_ready, begun(store))


def test_a_cancelled_task_in_the_middle_lets_nobody_overtake(store: Store) -> None:
    """The first one still holds the key, and the order of the others stays."""
    first, second, _ = line(store, 1, 2, 3)
    begun(store)
    store.move([second.id], [READY], {"state": SKIPPED})
    meanwhile = begun(store)
    ended(store, first)

    assert ([], [3]) == (meanwhile, begun(store))


def test_a_deleted_head_lets_the_next_one_go_on(store: Store) -> None:
    """A task that is gone holds nothing."""
    first, _ = line(store, 1, 2)
    store.delete([first.id], [READY])

    assert [2] == begun(store)


def test_a_retried_task_waits_for_the_one_that_runs_and_then_goes_first(store: Store) -> None:
    """It was stored before those that still wait."""
    first, second, _ = line(store, 1, 2, 3)
    begun(store)
    ended(store, first, state=ERROR)
    running = begun(store)
    store.move([first.id], [ERROR], fresh_start(NOW))
    meanwhile = begun(store)
    ended(store, second)

    assert ([2], [], [1]) == (running, meanwhile, begun(store))


def test_a_retried_task_runs_at_once_where_nothing_of_its_key_is_left(store: Store) -> None:
    """Nothing is before it."""
    (first,) = line(store, 1)
    begun(store)
    ended(store, first, state=ERROR)

    assert 1 == store.move([first.id], [ERROR], fresh_start(NOW))
    assert [1] == begun(store)


def test_one_that_was_cancelled_in_the_line_runs_when_it_is_retried(store: Store) -> None:
    """Whether it is given a new moment or keeps its own."""
    first, second = line(store, 1, 2)
    begun(store)
    store.move([second.id], [READY], {"state": SKIPPED})
    ended(store, first)
    store.move([second.id], [SKIPPED], {"state": READY})

    assert [2] == begun(store)


def test_one_that_is_delayed_holds_up_those_behind_it(store: Store) -> None:
    """The order is strict."""
    line(store, 1, time_queue=later(60))
    line(store, 2)

    claimed = store.claim(ONE, {NAME}, 9, NOW)

    assert ([], later(60)) == claimed
    assert [1] == [task.args[0] for task in store.claim(ONE, {NAME}, 9, later(60)).tasks]


def test_a_task_that_waits_behind_another_shows_its_own_moment(store: Store) -> None:
    """What keeps it from being found is the store's business."""
    line(store, 1, 2)

    waiting = store.find(Filter(states=(READY,)), 9)

    assert {later(-60)} == {task.time_queue for task in waiting}
    assert {later(-60)} == {task.time_queue for task in store.find(Filter(), 9, brief=True)}
    assert {KEY} == {task.serial for task in waiting}


def test_those_that_wait_are_found_by_their_own_moment(store: Store) -> None:
    """As operators filter; the end of time is nobody's."""
    line(store, 1, 2)

    assert 2 == len(store.ids(Filter(older=later(-30)), 9))
    assert 2 == len(store.ids(Filter(newer=later(-90), older=NOW), 9))
    assert [] == store.ids(Filter(newer=NOW), 9)


def test_where_all_wait_behind_others_none_is_the_oldest(store: Store) -> None:
    """Nothing is late that must not run yet."""
    line(store, 1, 2)
    before = store.waiting()[NAME]
    begun(store)

    assert (2, later(-60)) == before
    assert (1, None) == store.waiting()[NAME]


def test_those_that_wait_are_counted_as_ready(store: Store) -> None:
    """They are work that is not done."""
    line(store, 1, 2, 3)

    assert (3, {READY: 3}) == (store.depth(10), store.count(Filter()))
    assert 3 == store.waiting()[NAME].depth


def test_they_wait_in_every_way_of_sharing_places(store: Store) -> None:
    """Also where age gives a place."""
    line(store, 1, 2, 3)
    fair = FairShare(most=1, held={}, aged=2, aged_before=NOW)

    assert [1] == [task.args[0] for task in store.claim(ONE, {NAME}, 2, NOW, fair).tasks]


def test_the_tasks_of_an_event_and_of_a_report_wait_too(store: Store) -> None:
    """Every way in leads into the line."""
    (first,) = line(store, 1)
    begun(store)
    store.post([a_fan_out(a_delivery(), a_task(args=[2], serial=KEY))])
    end = Report(
        Claim(first.id, ONE.id, 1),
        {"state": COMPLETE},
        [Posting([a_task(args=[3], serial=KEY)])],
        serial=KEY,
    )
    held = store.report([end])
    second = begun(store)

    assert ([True], [2], []) == (held, second, begun(store))


def test_a_posting_that_is_repeated_changes_no_order(store: Store) -> None:
    """Asked again under its own ids, it is where it was."""
    first, second = line(store, 1, 2)
    (receipt,) = store.post([Posting([second])])
    begun(store)
    ended(store, first)

    assert receipt.repeated
    assert [2] == begun(store)


def test_adopted_tasks_stand_in_line(store: Store) -> None:
    """What comes from another store comes with its keys."""
    running = a_task(args=[1], serial=KEY, state=BUSY, worker=ONE.id, generation=1, attempt=1, time_start=NOW)
    store.adopt([running, a_task(args=[2], serial=KEY)], [])
    meanwhile = begun(store)
    ended(store, running)

    assert ([], [2]) == (meanwhile, begun(store))


def test_of_those_posted_and_ended_at_the_same_time_never_two_run(store: Store) -> None:
    """Posters, ends and claims that race keep one of a key at a time, and lose none."""
    tasks = [a_task(args=[n], serial=KEY) for n in range(12)]
    order: list[Any] = []
    together(*(lambda task=task: store.post([Posting([task])]) for task in tasks))

    def work(worker: Any) -> list[int]:
        at_once = []
        for _ in range(40):
            mine = store.claim(worker, {NAME}, 5, NOW).tasks
            at_once.append(len(mine))
            order.extend(mine)
            ends = [Report(task.claim, {"state": COMPLETE}, serial=KEY) for task in mine]
            busy = store.count(Filter(states=(BUSY,))).get(BUSY, 0)
            at_once.append(busy)
            store.report(ends)
        return at_once

    most = max(number for counts in together(lambda: work(ONE), lambda: work(TWO)) for number in counts)

    assert 1 == most
    assert sorted(task.id for task in tasks) == sorted(task.id for task in order)
    assert {COMPLETE: 12} == store.count(Filter())


def test_a_line_is_shown_in_its_order(store: Store) -> None:
    """Who may run, and who comes behind it; from its end, too."""
    first, second, third, fourth = line(store, 1, 2, 3, 4)
    waiting = store.line(KEY, 2)
    begun(store)
    running = store.line(KEY, 0)
    ended(store, first)

    assert (first.id, [second.id, third.id]) == waiting
    assert (first.id, []) == running
    assert (second.id, [fourth.id]) == store.line(KEY, 1, newest=True)
    assert (None, []) == store.line("another key", 9)
