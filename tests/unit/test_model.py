"""The states and the moves between them."""

from __future__ import annotations

import pytest
from bson import ObjectId

from bus.admin import Admin
from bus.clock import FrozenClock
from bus.errors import Cancel, Retry, Snooze
from bus.model import ENDED, LEGAL_MOVES, STATES, Event, Filter, Instance, MonQTask, Posting
from bus.retry import Crashed, Overdue, Policy, Raised, Returned, Stopped, decide
from bus.store import open_memory_store

NOW = FrozenClock().now()
ENDINGS = [
    Returned(1),
    Raised(ValueError("no"), "Traceback"),
    Raised(Retry(), ""),
    Raised(Snooze(), ""),
    Raised(Cancel(), ""),
    Overdue(1.0, ""),
    Stopped("Drained"),
    Crashed("gone"),
]


def a_task(**fields: object) -> MonQTask:
    return MonQTask(ObjectId(), "t", [], {}, NOW, **fields)  # type: ignore[arg-type]


def test_every_state_says_where_it_may_go():
    """Allura's five and no other; nothing leads out of `complete`."""
    assert set(STATES) == set(LEGAL_MOVES)
    assert frozenset() == LEGAL_MOVES["complete"]
    assert {"complete", "error", "skipped"} == ENDED
    for targets in LEGAL_MOVES.values():
        assert targets <= set(STATES)


@pytest.mark.parametrize("crashes", [0, 2])
@pytest.mark.parametrize("attempt", [1, 8])
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: type(ending).__name__)
def test_whatever_ends_a_run_leads_along_a_legal_move(ending, attempt, crashes):
    task = a_task(state="busy", attempt=attempt, crashes=crashes)

    outcome = decide(task, ending, NOW, Policy())

    assert outcome.fields["state"] in LEGAL_MOVES["busy"]


def test_the_endings_reach_every_state_that_a_busy_task_may_reach():
    """No move stands in the drawing that nothing makes."""
    reached = {
        decide(a_task(attempt=attempt), ending, NOW, Policy()).fields["state"]
        for ending in ENDINGS
        for attempt in (1, 8)
    }

    assert LEGAL_MOVES["busy"] == reached


@pytest.mark.parametrize("act", ["retry", "cancel"])
@pytest.mark.parametrize("state", STATES)
def test_an_operator_moves_tasks_along_legal_moves_only(state, act):
    """A move that is not drawn changes nothing."""
    store = open_memory_store()
    task = a_task(state=state, worker="w", generation=1)
    store.post([Posting([task])])
    target = {"retry": "ready", "cancel": "skipped"}[act]
    allowed = target in LEGAL_MOVES[state] and (act, state) != ("retry", "busy")  # only its holder may

    done = getattr(Admin(store, FrozenClock()), act)(Filter()).done
    moved = store.get(task.id)
    store.close()

    assert moved is not None
    assert int(allowed) == done
    assert (target if allowed else state) == moved.state


def test_a_claim_moves_ready_tasks_and_no_others():
    store = open_memory_store()
    store.post([Posting([a_task(state=state, worker="w") for state in STATES])])

    claimed = store.claim(Instance("me", "me"), ["t"], 10, NOW).tasks
    counts = store.count(Filter())
    store.close()

    assert ["busy"] == [task.state for task in claimed]
    assert {"busy": 2, "complete": 1, "error": 1, "skipped": 1} == counts


def test_the_fence_of_a_task_names_its_holder_and_its_turn():
    """The token for outside effects grows with every claim; the idempotency key never changes."""
    task = a_task(worker="w", generation=3)

    assert (task.id, "w", 3) == task.claim
    assert f"{task.id}:3" == task.token
    assert str(task.id) == task.idempotency_key


def test_only_a_posted_task_can_be_joined():
    with pytest.raises(RuntimeError, match=r"expected one that \.post\(\) has stored"):
        a_task().join()


def test_a_delivery_is_known_again_by_its_hook_and_the_senders_id():
    """The same id from another hook is another delivery; without an id every one is new."""
    keys = [
        Event(ObjectId(), "t", NOW, hook=hook, delivery=delivery).key
        for hook, delivery in [("a", "1"), ("b", "1"), ("a", None)]
    ]

    assert ["a:1", "b:1", None] == keys


def test_the_json_of_an_event_is_parsed_strictly():
    event = Event(ObjectId(), "t", NOW, body=b'{"n": 1, "n": 2}')

    with pytest.raises(ValueError, match="key 'n' stands twice"):
        _ = event.json


def test_a_filter_without_parts_means_everything():
    assert Filter().is_empty
    assert not Filter(topic="x").is_empty
