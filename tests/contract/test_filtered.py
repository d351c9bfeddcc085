"""A filtered event is stored as such, and is not once it has tasks."""

from __future__ import annotations

from bus.model import Posting
from bus.store.contract import Store

from .samples import a_delivery, a_fan_out, a_task


def test_a_filtered_event_reads_as_it_was_stored(store: Store) -> None:
    """With what it keeps of its request; other events keep nothing of theirs."""
    filtered = a_delivery("1", is_filtered=True, request={"ip": "2001:db8::1", "method": "POST"})
    plain = a_delivery("2")
    store.post([Posting([], filtered), Posting([], plain)])

    assert [filtered, plain] == [store.event(event.id) for event in (filtered, plain)]
    assert [plain, filtered] == store.events(9)


def test_the_same_delivery_filtered_again_changes_nothing(store: Store) -> None:
    first = a_delivery(is_filtered=True)
    store.post([Posting([], first)])
    (receipt,) = store.post([Posting([], a_delivery(is_filtered=True))])

    assert (True, first.id, []) == (receipt.duplicate, receipt.event_id, receipt.task_ids)
    assert first == store.event(first.id)


def test_a_filtered_event_that_gets_tasks_is_filtered_no_more(store: Store) -> None:
    """By the same delivery again, under rules that let it through."""
    first = a_delivery(is_filtered=True)
    store.post([Posting([], first)])
    (receipt,) = store.post([a_fan_out(a_delivery(), a_task())])
    found = store.event(first.id)

    assert receipt.replayed
    assert found is not None
    assert (False, receipt.task_ids) == (found.is_filtered, found.task_ids)


def test_an_event_with_tasks_is_not_filtered_by_a_later_rule(store: Store) -> None:
    """What has run has run: the answer has the first ids."""
    first = a_fan_out(a_delivery(), a_task())
    store.post([first])
    (receipt,) = store.post([Posting([], a_delivery(is_filtered=True))])
    found = store.event(first.event.id if first.event else receipt.task_ids[0])

    assert (True, [first.tasks[0].id]) == (receipt.duplicate, receipt.task_ids)
    assert found is not None
    assert not found.is_filtered
