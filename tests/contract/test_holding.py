"""Hold: a lease says that a daemon lives; what a dead one held is found, oldest first."""

from __future__ import annotations

import pytest

from bus.model import COMPLETE, Instance, Report
from bus.process.identity import ProcessIdentity
from bus.store.contract import Store

from .samples import ONE, TWO, a_task, held, post


def test_a_task_of_an_instance_without_a_lease_is_an_orphan(store: Store) -> None:
    """A daemon renews before it claims: who never renewed is dead."""
    (task,) = held(store, instance=ONE)

    assert [task] == store.orphans(TWO, 10)


def test_an_instances_own_tasks_are_never_its_orphans(store: Store) -> None:
    """It knows best what it runs."""
    held(store, instance=ONE)

    assert [] == store.orphans(ONE, 10)


def test_orphans_come_oldest_first_and_not_more_than_asked(store: Store) -> None:
    """A rescue is a bounded batch."""
    ids = [task.id for task in held(store, 5, instance=ONE)]

    assert sorted(ids)[:3] == [task.id for task in store.orphans(TWO, 3)]
    assert [] == store.orphans(TWO, 0)


def test_only_busy_tasks_are_orphans(store: Store) -> None:
    """Waiting and ended tasks are nobody's."""
    waiting = a_task()
    (ended,) = held(store, instance=ONE)
    store.report([Report(ended.claim, {"state": COMPLETE})])
    post(store, waiting)

    assert [] == store.orphans(TWO, 10)


def test_an_orphan_is_taken_back_by_a_report_on_its_claim(store: Store) -> None:
    """Two rescuers, or a rescuer and a late holder: one of them succeeds."""
    (task,) = held(store, instance=ONE)
    (orphan,) = store.orphans(TWO, 10)

    assert [True] == store.report([Report(orphan.claim, {"state": "ready", "worker": None, "crashes": 1})])
    assert [False] == store.report([Report(task.claim, {"state": COMPLETE})])
    assert [] == store.orphans(TWO, 10)


@pytest.mark.needs("shared")
def test_a_living_lease_protects(store: Store) -> None:
    """While a daemon renews, nobody takes its tasks."""
    store.renew(ONE, 60)
    held(store, instance=ONE)

    assert [] == store.orphans(TWO, 10)


@pytest.mark.needs("shared")
def test_zero_seconds_end_a_lease_at_once(store: Store) -> None:
    """A daemon that stops in order lets go without anybody waiting for its lease to run out."""
    store.renew(ONE, 60)
    (task,) = held(store, instance=ONE)
    store.renew(ONE, 0)

    assert [task] == store.orphans(TWO, 10)


@pytest.mark.needs("shared")
def test_a_lease_can_be_renewed_after_its_end(store: Store) -> None:
    """A daemon that was cut off for a while is alive again."""
    store.renew(ONE, 0)
    store.renew(ONE, 60)
    held(store, instance=ONE)

    assert [] == store.orphans(TWO, 10)


@pytest.mark.needs("shared")
def test_the_living_and_the_dead_are_told_apart(store: Store) -> None:
    """One daemon's death is not the others'."""
    dead, living = Instance("dead", "host"), Instance("living", "host")
    store.renew(dead, 0)
    store.renew(living, 60)
    lost = held(store, 2, instance=dead)
    held(store, 2, instance=living)

    assert {task.id for task in lost} == {task.id for task in store.orphans(TWO, 10)}


def test_an_instances_words_are_only_text(store: Store) -> None:
    """Host names come from outside."""
    instance = Instance("$$NOW", "$$ROOT {'$add': 1}")
    store.renew(instance, 60)
    (task,) = held(store, instance=instance)

    assert (instance.id, instance.process) == (task.worker, task.process)


def test_an_instance_is_told_the_claims_it_holds(store: Store) -> None:
    """Those, and not what waits, has ended, or is another's."""
    mine = held(store, 3, instance=ONE)
    held(store, instance=TWO)
    post(store, a_task())
    store.report([Report(mine[0].claim, {"state": COMPLETE})])

    assert {task.claim for task in mine[1:]} == set(store.held(ONE))


@pytest.mark.needs("shared")
def test_the_instances_with_a_lease_are_known_by_their_process(store: Store) -> None:
    """Whoever lives on the same machine can see whether they still do."""
    born = Instance("worker-born", "monqbus/$here pid 3", ProcessIdentity("boot", "pid:[1]", 3, 77))
    store.renew(born, 60)
    store.renew(ONE, 60)
    store.renew(TWO, 0)

    assert {born, ONE} == set(store.instances())


@pytest.mark.needs("shared")
def test_anybody_can_end_the_lease_of_a_dead_instance(store: Store) -> None:
    """Its tasks are orphans from then on."""
    store.renew(TWO, 60)
    (task,) = held(store, instance=TWO)
    (other,) = store.instances()
    store.renew(other, 0)

    assert [] == store.instances()
    assert [task] == store.orphans(ONE, 10)
