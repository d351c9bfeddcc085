"""Hold and end: a report changes its task only while its claim still holds."""

from __future__ import annotations

from functools import partial

import pytest
from bson import ObjectId

from bus.model import BUSY, COMPLETE, ERROR, READY, Claim, Filter, MonQTask, Report
from bus.store.contract import Store

from .samples import NAME, NOW, ONE, TWO, a_task, held, later, post, together


def state_of(store: Store, task: MonQTask) -> str:
    found = store.get(task.id)
    assert found is not None
    return found.state


def test_the_holder_records_the_end_of_its_task(store: Store) -> None:
    """What was reported is stored, nothing else changes."""
    (task,) = held(store, args=[1], key="k")
    fields = {"state": COMPLETE, "result": {"sum": 3}, "time_stop": later(2), "expire_at": later(99)}

    assert [True] == store.report([Report(task.claim, fields)])
    for name, value in fields.items():
        setattr(task, name, value)
    assert task == store.get(task.id)


def test_nothing_to_report_is_answered_with_nothing(store: Store) -> None:
    """An empty call is no special case."""
    assert [] == store.report([])


def test_a_report_on_an_unknown_task_is_false(store: Store) -> None:
    """It may have been purged meanwhile."""
    assert [False] == store.report([Report(Claim(ObjectId(), ONE.id, 1), {"state": COMPLETE})])


@pytest.mark.parametrize("worker, step", [(ONE.id, 1), (ONE.id, -1), (TWO.id, 0), ("", 0)])
def test_a_lost_claim_cannot_report(store: Store, worker: str, step: int) -> None:
    """An instance whose task was taken over changes nothing and is told so."""
    (task,) = held(store)
    lost = Claim(task.id, worker, task.generation + step)

    assert [False] == store.report([Report(lost, {"state": COMPLETE, "result": "late"})])
    assert task == store.get(task.id)


def test_an_ended_task_cannot_be_ended_otherwise(store: Store) -> None:
    """The first end stands."""
    (task,) = held(store)
    store.report([Report(task.claim, {"state": ERROR, "result": "first"})])

    assert [False] == store.report([Report(task.claim, {"state": COMPLETE, "result": "second"})])
    assert ERROR == state_of(store, task)


def test_the_end_of_an_earlier_run_cannot_end_the_present_one(store: Store) -> None:
    """The same instance claiming again is another holder."""
    (first,) = held(store)
    store.report([Report(first.claim, {"state": READY, "worker": None})])
    (second,) = store.claim(ONE, {NAME}, 1, NOW).tasks

    assert [False] == store.report([Report(first.claim, {"state": COMPLETE})])
    assert [True] == store.report([Report(second.claim, {"state": COMPLETE})])


def test_each_report_of_a_batch_is_answered_exactly(store: Store) -> None:
    """Alike or not, held or lost: every place of the answer is that report's own."""
    tasks = held(store, 40)
    alike = {"state": COMPLETE, "result": None, "time_stop": NOW}
    reports = []
    for n, task in enumerate(tasks):
        claim = task.claim if n % 3 else task.claim._replace(generation=9)
        reports.append(Report(claim, alike if n % 2 else {**alike, "result": n}))

    held_still = store.report(reports)

    assert [n % 3 != 0 for n in range(40)] == held_still
    assert [COMPLETE if n % 3 else BUSY for n in range(40)] == [state_of(store, task) for task in tasks]


def test_alike_reports_with_one_lost_are_answered_exactly(store: Store) -> None:
    """The one that was taken over meanwhile is the one that is False."""
    tasks = held(store, 10)
    lost = tasks[4]
    store.move([lost.id], {BUSY}, {"state": READY, "worker": None})
    store.claim(TWO, {NAME}, 1, NOW)
    fields = {"state": COMPLETE, "time_stop": later(1)}

    answers = store.report([Report(task.claim, fields) for task in tasks])

    assert [task is not lost for task in tasks] == answers
    assert {"busy": 1, "complete": 9} == store.count(Filter())


def test_reports_of_many_greenlets_are_answered_each_with_its_own(store: Store) -> None:
    """Group commit mixes calls, never answers."""
    tasks = held(store, 60)
    late = {task.id for task in tasks[::5]}

    def end(task: MonQTask) -> bool:
        claim = task.claim._replace(worker=TWO.id) if task.id in late else task.claim
        return store.report([Report(claim, {"state": COMPLETE})])[0]

    answers = together(*(partial(end, task) for task in tasks))

    assert [task.id not in late for task in tasks] == answers


def test_a_released_task_can_be_claimed_again(store: Store) -> None:
    """A report may give back: ready, nobody's, with its attempt."""
    (task,) = held(store)

    store.report([Report(task.claim, {"state": READY, "worker": None, "attempt": 0})])

    found = store.get(task.id)
    assert found is not None
    assert (READY, None, 0) == (found.state, found.worker, found.attempt)
    assert [task.id] == [claimed.id for claimed in store.claim(TWO, {NAME}, 1, NOW).tasks]


def test_a_retried_task_waits_for_its_time(store: Store) -> None:
    """A retry is a report with a new `time_queue`."""
    (task,) = held(store)
    store.report([Report(task.claim, {"state": READY, "worker": None, "time_queue": later(30)})])

    assert ([], later(30)) == store.claim(ONE, {NAME}, 1, later(29))
    assert 1 == len(store.claim(ONE, {NAME}, 1, later(30)).tasks)


def test_progress_keeps_the_claim(store: Store) -> None:
    """A report without a state only adds to a task that stays held."""
    (task,) = held(store)
    progress = {"fraction": 0.5, "text": "half"}

    assert [True, True] == [store.report([Report(task.claim, {"progress": progress})])[0] for _ in "12"]
    found = store.get(task.id)
    assert found is not None
    assert (BUSY, progress, ONE.id) == (found.state, found.progress, found.worker)


def test_progress_and_end_of_one_task_in_one_call_keep_their_order(store: Store) -> None:
    """An end closes the claim, so what comes before it must be written before it."""
    tasks = held(store, 5)
    notes = [Report(task.claim, {"progress": {"fraction": 1.0}}) for task in tasks]
    ends = [Report(task.claim, {"state": COMPLETE}) for task in tasks]

    assert [True] * 9 == store.report([ends[0], *notes[1:], *ends[1:]])
    assert [None, *[{"fraction": 1.0}] * 4] == [store.get(task.id).progress for task in tasks]  # type: ignore[union-attr]
    assert [False] * 5 == store.report([Report(task.claim, {"progress": None}) for task in tasks])


def test_a_field_that_becomes_none_reads_as_never_set(store: Store) -> None:
    """None is the absence of a value in every store."""
    (task,) = held(store)
    given = {"result": "text", "output": "text", "progress": {"a": 1}, "expire_at": later(1)}
    store.report([Report(task.claim, given)])

    store.report([Report(task.claim, dict.fromkeys(given))])

    assert task == store.get(task.id)


def test_history_and_output_are_kept(store: Store) -> None:
    """What a task printed and how its attempts ended belong to it."""
    (task,) = held(store)
    fields = {"history": [{"attempt": 1, "error": "boom", "at": NOW}], "output": "line\n" * 100, "crashes": 2}

    store.report([Report(task.claim, fields)])

    found = store.get(task.id)
    assert found is not None
    assert fields == {"history": found.history, "output": found.output, "crashes": found.crashes}


@pytest.mark.parametrize(
    "result", ["$$ROOT", {"$set": {"a": 1}}, {"a.b": "$x", "$ref": "c", "$id": 1}, [None, {}], b"\x00", 0, ""]
)
def test_a_result_is_stored_as_the_value_it_is(store: Store, result: object) -> None:
    """A result never becomes part of a command."""
    tasks = held(store, 2)

    store.report([Report(task.claim, {"state": COMPLETE, "result": result}) for task in tasks])

    assert [result, result] == [store.get(task.id).result for task in tasks]  # type: ignore[union-attr]


def test_a_report_never_touches_another_task(store: Store) -> None:
    """The fence names one task."""
    (mine,) = held(store)
    (other,) = post(store, a_task())

    store.report([Report(mine.claim, {"state": COMPLETE})])

    assert other == store.get(other.id)


def test_an_end_whose_answer_got_lost_can_be_reported_again(store: Store) -> None:
    """It is the holder's own end that stands there: nothing was lost."""
    (task,) = held(store)
    report = Report(task.claim, {"state": COMPLETE, "result": {"n": [1, None]}, "time_stop": NOW})

    assert [True] == store.report([report])
    assert [True] == store.report([report])
