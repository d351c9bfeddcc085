"""How the databases answer: every query has an index, and what has ended makes the hot path no dearer."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getmembers, isfunction
from typing import Any, cast

import pytest

from bus.delivery_record import REFUSED, REPEATED, Delivery, DeliveryFilter, Keep
from bus.limits import Limit
from bus.model import (
    BUSY,
    COMPLETE,
    ERROR,
    EVENT_OUTCOMES,
    READY,
    SKIPPED,
    STATES,
    EventFilter,
    FairShare,
    Filter,
    Posting,
    Record,
    Report,
)
from bus.store.contract import Archive, Leases, Queue, Records, Store
from tests.conftest import NewStore
from tests.plans import asked, work

from .samples import CLOCK, NAME, NOW, ONE, TWO, a_delivery, a_fan_out, a_task, later, post

OTHER = "shop.count"
LIMITED = "shop.line"
FEW, MANY = 300, 3_000


def a_record(outcome: Any, number: int) -> Delivery:
    return Delivery(CLOCK.new_id(), NOW, outcome, 401, hook="github", delivery=str(number), size=10)


def fill(store: Store, ended: int, since: int = 0) -> None:
    """Ended tasks of two names, the events of some, and a record of the delivery log for each ten."""
    tasks = [
        a_task(
            (NAME, OTHER)[i % 2],
            state=(COMPLETE, COMPLETE, ERROR)[i % 3],
            time_stop=NOW,
            topic="github.push",
            expire_at=later(86_400),
            result="no such host" if i % 3 == 2 else None,
        )
        for i in range(ended)
    ]
    store.post([Posting([task]) for task in tasks])
    ids = range(since // 10, (since + ended) // 10)
    posted = [a_fan_out(a_delivery(f"old-{i}", expire_at=later(86_400)), a_task()) for i in ids]
    for posting in posted:
        posting.tasks[0].state = COMPLETE
    store.post(posted)
    store.log_deliveries([a_record((REFUSED, REPEATED)[i % 2], i) for i in ids])


# what is asked, by the name of the verb


def of_the_queue(store: Store) -> None:
    post(store, a_task(), a_task(OTHER, time_queue=later(50)), a_task(key="only-one"), a_task(key="only-one"))
    store.post([a_fan_out(a_delivery("new"), a_task()), a_fan_out(a_delivery("old-3"), a_task())])
    store.post([Posting([], a_delivery("nobody"))])
    store.post([a_fan_out(a_delivery("nobody"), a_task())])
    store.post([a_fan_out(a_delivery("guarded", guard="seal"), a_task())])
    store.post([a_fan_out(a_delivery("replayed", guard="seal"), a_task())])
    (first,) = store.claim(ONE, {NAME, OTHER}, 1, NOW).tasks
    fair = FairShare(most=1, held={NAME: 1}, aged=1, aged_before=NOW)
    rest = store.claim(ONE, {NAME, OTHER}, 2, NOW, fair).tasks
    store.report([Report(first.claim, {"progress": {"done": 1}})])
    store.report(
        [Report(first.claim, {"state": COMPLETE}), *(Report(one.claim, {"state": READY}) for one in rest)]
    )
    store.report([Report(first.claim, {"state": COMPLETE})])
    (last,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    followers = [a_fan_out(a_delivery("behind"), a_task(key="follower")), Posting([a_task()])]
    store.report([Report(last.claim, {"state": COMPLETE}, followers)])
    store.depth(1_000)
    store.waiting()


def of_the_leases(store: Store) -> None:
    store.renew(ONE, 60)
    post(store, a_task())
    store.claim(TWO, {NAME}, 1, NOW)
    store.held(ONE)
    store.instances()
    store.orphans(ONE, 10)


FILTERS = [
    Filter(),
    *(Filter(states=(state,)) for state in STATES),
    Filter(states=(READY, ERROR)),
    Filter(name=NAME),
    Filter(name="shop.*"),
    Filter(states=(ERROR,), name="*mail"),
    Filter(names=(NAME, OTHER)),
    Filter(topic="github.push"),
    Filter(states=(ERROR,), error="such"),
    Filter(older=later(-1), newer=later(-3600)),
    Filter(states=(COMPLETE,), ended_older=later(1), ended_newer=later(-60)),
]
EVENT_FILTERS = [
    EventFilter(),
    EventFilter(topic="github.push"),
    EventFilter(hook="github"),
    EventFilter(delivery="old-7"),
    EventFilter(kind="delivery"),
    EventFilter(older=later(1), newer=later(-60)),
    *(EventFilter(outcome=outcome) for outcome in EVENT_OUTCOMES),
]
RECORD_FILTERS = [
    DeliveryFilter(),
    DeliveryFilter(hook="github"),
    DeliveryFilter(delivery="7"),
    DeliveryFilter(outcome=REFUSED),
    DeliveryFilter(status=401),
    DeliveryFilter(older=later(1), newer=later(-60)),
]


def of_the_archive(store: Store) -> None:
    (kept, gone, old) = post(store, a_task(), a_task(), a_task(expire_at=later(-1), state=COMPLETE))
    store.get(kept.id)
    for filter in FILTERS:
        (*_, last) = [*store.find(filter, 5, brief=True), kept]
        store.find(filter, 5, last.id)
        store.ids(filter, 5)
        store.count(filter)
        store.count(filter, "name")
    store.find(Filter(ids=(kept.id, gone.id)), 5)
    store.move([kept.id], [READY], {"state": BUSY})
    store.delete([gone.id], [READY])
    event = a_delivery("past", expire_at=later(-1))
    store.post([a_fan_out(event, a_task())])
    store.event(event.id)
    for of_events in EVENT_FILTERS:
        store.events(5, None, of_events)
        store.events(5, event.id, of_events)
    record = a_record(REFUSED, 1)
    store.log_deliveries([record], Keep(later(-60), 1_000, 1_000_000))
    store.log_deliveries([], Keep(later(-60), 5, 20))
    store.delivery(record.id)
    for of_records in RECORD_FILTERS:
        store.deliveries(of_records, 5)
        store.deliveries(of_records, 5, record.id)
    store.prune(NOW, 100)
    store.adopt([old], [event])


def of_the_records(store: Store) -> None:
    store.keep_records([Record("schedule", "nightly", {"at": 1}, 0)])
    store.keep_records([Record("schedule", "nightly", {"at": 2}, 1)])
    store.records("schedule")
    store.keep_records([Record("schedule", "nightly", {}, 2)])


def of_the_limits(store: Store) -> None:
    post(store, *(a_task(LIMITED, serial="one line", priority=99) for _ in range(4)))
    (first,) = store.claim(ONE, {LIMITED}, 1, NOW, bound=Limit(2, 1.0, 5)).tasks
    store.line("one line", 2)
    store.line("one line", 2, newest=True)
    store.report([Report(first.claim, {"state": COMPLETE}, serial=first.serial)])
    (second,) = store.claim(ONE, {LIMITED}, 2, NOW, bound=Limit(2, 1.0, 5)).tasks
    store.report([Report(second.claim, {"state": READY}, serial=second.serial)])
    store.move([second.id], [READY], {"state": SKIPPED})
    store.delete([second.id], [SKIPPED])


ASKED = [of_the_queue, of_the_leases, of_the_archive, of_the_records, of_the_limits]


@pytest.mark.parametrize("ask", ASKED)
def test_every_query_has_an_index(store: Store, ask: Callable[[Store], None]) -> None:
    """No verb reads a table or a collection from its beginning to its end without one."""
    fill(store, FEW)
    with asked(store) as statements:
        ask(store)

    assert [] == [statement for statement in statements if statement.reads_all]
    assert statements


ELSEWHERE = {"backup", "listen", "post_within", "ring"}
"""Verbs that ask for no task, event or record by what it holds, or in the caller's session."""


class Noted:
    """A store that notes which of its verbs are called."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.called: set[str] = set()

    def __getattr__(self, verb: str) -> Any:
        self.called.add(verb)
        return getattr(self._store, verb)


def test_every_verb_is_asked_here(store: Store) -> None:
    """A new one needs its place among them, or nobody reads its plan."""
    fill(store, FEW)
    noted = Noted(store)
    for ask in ASKED:
        ask(cast(Store, noted))
    groups = (Queue, Leases, Archive, Records)
    verbs = {name for group in groups for name, _ in getmembers(group, isfunction) if name[0] != "_"}

    assert verbs - ELSEWHERE == noted.called & verbs


def post_one(store: Store) -> None:
    post(store, a_task())


def deliver_one(store: Store) -> None:
    store.post([a_fan_out(a_delivery(str(CLOCK.new_id())), a_task())])


def claim_and_end_one(store: Store) -> None:
    (task,) = store.claim(ONE, {NAME, OTHER}, 1, NOW).tasks
    store.report([Report(task.claim, {"state": COMPLETE, "time_stop": NOW})])


def list_a_page(store: Store) -> None:
    store.find(Filter(), 20, brief=True)
    store.find(Filter(states=(ERROR,)), 20, brief=True)
    store.find(Filter(states=(READY, ERROR)), 20, brief=True)


def look_after_itself(store: Store) -> None:
    store.renew(ONE, 60)
    store.held(ONE)
    store.orphans(ONE, 10)
    store.prune(NOW, 500)
    store.depth(1_000)
    store.waiting()
    store.log_deliveries([a_record(REFUSED, 1)])


USES = [post_one, deliver_one, claim_and_end_one, list_a_page, look_after_itself]


@pytest.mark.parametrize("use", USES)
def test_what_has_ended_makes_nothing_dearer(new_store: NewStore, use: Callable[[Store], None]) -> None:
    """The database looks at as much for it beside ten times as many ended tasks: the law of the hot path."""
    store, looked_at = new_store(), []
    fill(store, FEW)
    for more in (0, MANY - FEW):
        fill(store, more, FEW)
        post(store, a_task(), a_task(OTHER))
        use(store)  # statements are prepared, and what is made once is made
        post(store, a_task())
        looked_at.append(work(store, lambda: use(store)))
    few, many = looked_at

    assert many <= 1.1 * few + 40
