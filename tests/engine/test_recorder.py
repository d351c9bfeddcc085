"""Records how runs ended: together, fenced, and later when the store is away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bus.admin import Admin
from bus.engine.recorder import BATCH, FULL, REFUSED_SECONDS
from bus.engine.run import Run
from bus.errors import Drained, NotAccepted, StoreError, StoreUnavailable, Withdrawn
from bus.model import Filter, Instance, MonQTask, Posting, Report
from bus.retry import Outcome, Policy, Returned, Stopped, decide

PATIENCE = 5.0


def ended(engine, count: int = 1, ending=None) -> list[Run]:
    """Runs of claimed tasks that are over, handed to the recorder."""
    engine.declare(lambda: None, "ended")
    for _ in range(count):
        engine.waiting(name="ended")
    runs = []
    for task in engine.store.claim(engine.instance, ["ended"], count, engine.clock.now()).tasks:
        runs.append(Run(task, engine.clock.monotonic()))
        outcome = decide(task, ending or Returned(1), engine.clock.now(), Policy())
        engine.recorder.put(runs[-1], outcome)
    return runs


def test_ends_are_written_together(engine, facts):
    """In one call for a whole batch, the rest at once in the next."""
    ended(engine, BATCH + 1)
    assert BATCH + 1 == engine.recorder.depth

    assert [0, None] == [engine.recorder.tick(), engine.recorder.tick()]
    assert {"complete": BATCH + 1} == engine.store.count(Filter())
    assert {"task.finished"} == set(facts.names)


def test_with_nothing_to_write_the_store_is_not_asked(engine):
    engine.faulty.sleep()

    assert engine.recorder.tick() is None


def test_an_outage_keeps_the_ends_and_writes_them_later(engine, facts):
    """They wait in memory; nothing is told as finished before it is."""
    ended(engine, 3)
    engine.faulty.sleep()
    pauses = [engine.recorder.tick() for _ in range(2)]
    assert 3 == engine.recorder.depth
    assert ["store.failed"] == facts.names
    engine.faulty.wake()
    engine.recorder.tick()

    assert [0.75, 0.75] == pauses
    assert (0, {"complete": 3}) == (engine.recorder.depth, engine.store.count(Filter()))
    assert ["store.failed", "store.recovered", *["task.finished"] * 3] == facts.names
    assert (3, 3) == (facts.told[0][1]["waiting"], facts.told[1][1]["waiting"])


def test_it_is_full_before_memory_is(engine):
    """Then nothing more is begun until what has ended is recorded."""
    run = Run(engine.waiting(), 0.0)
    for _ in range(FULL - 1):
        engine.recorder.put(run, Outcome("complete", {"state": "complete"}))
    almost = engine.recorder.is_full
    engine.recorder.put(run, Outcome("complete", {"state": "complete"}))

    assert (False, True) == (almost, engine.recorder.is_full)


def test_a_lost_claim_is_told_and_changes_nothing(engine, facts):
    """The task was rescued and runs elsewhere: a late end is not its end."""
    (run,) = ended(engine)
    engine.store.report([Report(run.task.claim, {"state": "ready", "worker": None})])
    other = Instance("w2", "elsewhere")
    (theirs,) = engine.store.claim(other, ["ended"], 1, engine.clock.now()).tasks
    engine.recorder.tick()

    now = engine.now(run.task)
    assert ("busy", "w2", theirs.generation, None) == (now.state, now.worker, now.generation, now.result)
    assert ["task.lost"] == facts.names
    assert run.task is facts.told[0][1]["task"]


def test_a_withdrawn_task_is_skipped_not_lost(engine, facts):
    """The operator has written the end already."""
    (run,) = ended(engine, ending=Stopped("Withdrawn"))
    run.interrupted = Withdrawn()
    Admin(engine.store, engine.clock).cancel(Filter())
    engine.recorder.tick()

    assert ["task.moved", "task.skipped"] == facts.names
    assert ("skipped", "cancelled by an operator") == (
        engine.now(run.task).state,
        engine.now(run.task).result,
    )


def test_only_the_last_progress_of_a_task_is_written(engine):
    (run,) = ended(engine)
    for fraction in (0.1, 0.2):
        engine.recorder.note(Report(run.task.claim, {"progress": {"fraction": fraction}}))
    engine.recorder.tick()

    assert {"fraction": 0.2} == engine.now(run.task).progress


def test_progress_is_written_before_the_end_that_closes_the_claim(engine):
    (run,) = ended(engine)
    engine.recorder.note(Report(run.task.claim, {"progress": {"fraction": 1.0}}))
    engine.recorder.tick()

    assert ("complete", {"fraction": 1.0}) == (engine.now(run.task).state, engine.now(run.task).progress)


def test_progress_of_a_lost_claim_changes_nothing(engine):
    (run,) = ended(engine)
    engine.recorder.tick()
    engine.recorder.note(Report(run.task.claim, {"progress": {"fraction": 0.5}}))
    engine.recorder.tick()

    assert engine.now(run.task).progress is None


@pytest.mark.parametrize(("state", "when"), [("ready", "soon"), ("complete", None)])
def test_whoever_claims_is_told_of_tasks_that_wait_again(engine, state, when):
    told = []
    engine.recorder.waiting_again = told.extend
    (run,) = ended(engine)
    engine.recorder.tick()
    engine.waiting(name="ended")
    (task,) = engine.store.claim(engine.instance, ["ended"], 1, engine.clock.now()).tasks
    fields = {"state": state} | ({"time_queue": engine.clock.now()} if when else {})
    engine.recorder.put(Run(task, 0.0), Outcome("retry" if when else "complete", fields))
    engine.recorder.tick()

    assert ([("ended", engine.clock.now())] if when else []) == told
    assert run.interrupted is None


def test_a_released_task_waits_again_under_its_own_time(engine, facts):
    told = []
    engine.recorder.waiting_again = told.extend
    (run,) = ended(engine, ending=Stopped("Drained"))
    run.interrupted = Drained()
    engine.recorder.tick()

    assert [("ended", run.task.time_queue)] == told
    assert ["task.released"] == facts.names
    assert 1 == engine.recorder.released


def test_an_end_that_cannot_be_stored_holds_up_no_other(engine, facts):
    """It is recorded without what the handler left behind, and told."""
    good, bad = ended(engine, 2)
    engine.recorder._ends[1][1].fields["result"] = "\ud800"
    engine.recorder.tick()

    assert ("complete", 1) == (engine.now(good.task).state, engine.now(good.task).result)
    assert "complete" == engine.now(bad.task).state
    assert "the end of this run could not be stored" in engine.now(bad.task).result
    assert [bad.task.id] == [told["task_id"] for told in facts.of("task.unstorable")]
    assert 2 == len(facts.of("task.finished"))


def test_an_end_whose_value_the_server_refuses_holds_up_no_other(engine, facts, monkeypatch):
    """A validator on the collection, for example: not an outage, and it will not pass."""
    good, bad = ended(engine, 2)
    engine.recorder._ends[1][1].fields["result"] = "not valid"
    whole = engine.faulty._store.report

    def report(reports):
        if any(report.fields["result"] == "not valid" for report in reports):
            raise StoreError("document failed validation")
        return whole(reports)

    monkeypatch.setattr(engine.faulty._store, "report", report)
    engine.recorder.tick()

    assert ["complete"] * 2 == [engine.now(run.task).state for run in (good, bad)]
    assert "could not be stored: StoreError" in engine.now(bad.task).result
    assert [bad.task.id] == [told["task_id"] for told in facts.of("task.unstorable")]


def ending_with(engine, *tasks: MonQTask) -> Run:
    """An ended run whose end posts *tasks*, handed to the recorder."""
    (run,) = ended(engine)
    _, outcome = engine.recorder._ends.pop()
    engine.recorder.put(run, outcome._replace(postings=[Posting([task]) for task in tasks]))
    return run


def following(engine, **fields) -> MonQTask:
    return MonQTask(
        engine.clock.new_id(), "follows", fields.pop("args", []), {}, engine.clock.now(), **fields
    )


def test_what_an_end_posts_is_stored_with_it_and_waits(engine, facts):
    """And whoever claims hears of it, as of a post."""
    heard = []
    engine.recorder.waiting_again = heard.extend
    task = following(engine)
    run = ending_with(engine, task)
    engine.recorder.tick()

    assert ["complete", "ready"] == [engine.now(one).state for one in (run.task, task)]
    assert [("follows", task.time_queue)] == heard
    assert ["task.finished", "task.posted"] == facts.names
    assert task == facts.of("task.posted")[0]["task"]


def test_of_what_an_end_posts_only_that_is_told_which_was_stored(engine, facts):
    """A key was held; and where the store cannot be asked, nothing is told."""
    engine.waiting(key="k")
    stored, merged = following(engine, key="n"), following(engine, key="k")
    ending_with(engine, stored, merged)
    engine.recorder.tick()
    told = facts.of("task.posted")
    ending_with(engine, following(engine, key="o"))
    engine.faulty.fail_next("get")
    engine.recorder.tick()

    assert [stored.id] == [fields["task"].id for fields in told]
    assert told == facts.of("task.posted")


def test_an_end_whose_posting_is_refused_becomes_an_error_with_the_reason(engine, facts):
    """An end that lost its postings would look like one that had none; others are not touched."""
    good = following(engine)
    run = ending_with(engine, good, following(engine, args=[1 << 70]))
    (other,) = ended(engine)
    engine.recorder.tick()

    assert ["error", "complete"] == [engine.now(one.task).state for one in (run, other)]
    assert engine.now(run.task).result.startswith("the tasks that this end posts were refused: ")
    assert engine.store.get(good.id) is None
    assert ["task.gave_up", "task.finished"] == facts.names


def test_an_end_that_becomes_an_error_is_kept_as_one(engine):
    """By the days of failed tasks, not by those of the end that it was; for ever where that was asked for."""
    engine.recorder.keep_failed = timedelta(days=90)
    kept, run = ending_with(engine, following(engine, args=[1 << 70])), None
    kept.task.result_type = "keep"
    run = ending_with(engine, following(engine, args=[1 << 70]))
    engine.recorder.tick()

    assert engine.clock.now() + timedelta(days=90) == engine.now(run.task).expire_at
    assert engine.now(kept.task).expire_at is None


def test_a_result_that_is_refused_is_not_blamed_on_what_the_end_posts(engine, facts):
    """The end stands without its value, with its postings."""
    task = following(engine)
    (run,) = ended(engine)
    _, outcome = engine.recorder._ends.pop()
    fields = {**outcome.fields, "result": 1 << 70}
    engine.recorder.put(run, outcome._replace(fields=fields, postings=[Posting([task])]))
    engine.recorder.tick()

    assert ["complete", "ready"] == [engine.now(one).state for one in (run.task, task)]
    assert "the end of this run could not be stored" in engine.now(run.task).result
    assert ["task.unstorable", "task.finished", "task.posted"] == facts.names


def test_a_lost_claim_posts_nothing(engine, facts):
    """Whoever runs the task now will post."""
    task = following(engine)
    run = ending_with(engine, task)
    engine.store.move([run.task.id], {"busy"}, {"state": "ready", "worker": None})
    engine.recorder.tick()

    assert engine.store.get(task.id) is None
    assert ["task.lost"] == facts.names


def test_an_end_that_the_server_never_takes_goes_behind_the_others(engine, facts, monkeypatch):
    """It stays in memory and is tried again; nothing is told of it that is not so."""
    bad, good = ended(engine, 2)
    whole = engine.faulty._store.report

    def report(reports):
        if any(report.claim == bad.task.claim for report in reports):
            raise StoreError("no rights")
        return whole(reports)

    monkeypatch.setattr(engine.faulty._store, "report", report)
    pauses = [engine.recorder.tick() for _ in range(2)]

    assert [0.75, 0.75] == pauses
    assert ["busy", "complete"] == [engine.now(run.task).state for run in (bad, good)]
    assert ([good.task], []) == ([told["task"] for told in facts.of("task.finished")], facts.of("task.lost"))
    assert 1 == engine.recorder.depth


def test_an_end_that_a_rule_forbids_waits_apart_and_is_tried_again(engine, facts, monkeypatch):
    """Another's index, a validator: it is told once, and no fault of the recorder's."""
    bad, good = ended(engine, 2)
    whole = engine.faulty._store.report
    rules = [NotAccepted("monq_task: a validator refuses it")]

    def report(reports):
        if rules and any(report.claim == bad.task.claim for report in reports):
            raise rules[0]
        return whole(reports)

    monkeypatch.setattr(engine.faulty._store, "report", report)
    pauses = [engine.recorder.loop.turn(), engine.recorder.loop.turn()]
    engine.clock.advance(REFUSED_SECONDS)
    pauses += [engine.recorder.loop.turn(), engine.recorder.loop.turn()]

    assert [REFUSED_SECONDS] * 4 == pauses
    assert (None, 1) == (engine.recorder.loop.health.error, len(facts.of("task.refused")))
    assert ["busy", "complete"] == [engine.now(run.task).state for run in (bad, good)]
    assert ({bad.task.claim}, 1) == (engine.recorder.claims, engine.recorder.depth)
    rules.clear()
    engine.clock.advance(REFUSED_SECONDS)
    assert engine.recorder.loop.turn() is None
    assert "complete" == engine.now(bad.task).state


def test_progress_outlives_an_outage(engine):
    """What was said last is written when the store is back, unless more was said since."""
    (run,) = ended(engine)
    engine.recorder.note(Report(run.task.claim, {"progress": {"fraction": 0.7}}))
    engine.faulty.sleep()
    engine.recorder.tick()
    engine.faulty.wake()
    engine.recorder.tick()

    assert ("complete", {"fraction": 0.7}) == (engine.now(run.task).state, engine.now(run.task).progress)


def test_a_store_that_fails_on_the_way_is_asked_only_for_the_rest(engine, facts, monkeypatch):
    """What was answered is recorded and told; nothing of it is told as lost, nothing is written twice."""
    runs = ended(engine, 4)
    engine.recorder._ends[1][1].fields["result"] = "\ud800"  # so they are written one by one
    whole, written = engine.faulty._store.report, []

    def report(reports):
        if len(written) == 2 and len(reports) == 1:
            raise StoreUnavailable("disk")
        answers = whole(reports)
        written.extend(reports)
        return answers

    monkeypatch.setattr(engine.faulty._store, "report", report)
    pause = engine.recorder.tick()
    left = engine.recorder.depth
    monkeypatch.setattr(engine.faulty._store, "report", whole)

    assert (0.75, 2) == (pause, left)
    assert engine.recorder.tick() is None
    assert {"complete": 4} == engine.store.count(Filter())
    assert [run.task for run in runs] == [told["task"] for told in facts.of("task.finished")]
    assert [] == facts.of("task.lost")
    assert ["store.failed", "store.recovered"] == [name for name in facts.names if name.startswith("store.")]


def test_draining_waits_for_the_ends_and_not_for_ever(engine):
    """With the loop running they are written; with the store away it gives up on time."""
    ended(engine, 3)
    assert 3 == engine.recorder.drain(0.02)

    engine.recorder.loop.start()
    engine.recorder._clock = engine.pool._clock  # a real one: drain yields to the loop
    assert 0 == engine.recorder.drain(PATIENCE)
    engine.recorder.loop.stop()
    assert {"complete": 3} == engine.store.count(Filter())


def test_ends_that_cannot_be_written_before_the_daemon_stops_are_told_one_by_one(engine, facts):
    """Each by name, once; nothing is left behind that a later tick would write."""
    runs = ended(engine, 2)

    assert (2, 0) == (engine.recorder.abandon(), engine.recorder.abandon())
    assert [run.task for run in runs] == [told["task"] for told in facts.of("task.unrecorded")]
    assert engine.recorder.tick() is None
    assert {"busy": 2} == engine.store.count(Filter())
