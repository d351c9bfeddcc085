"""Takes waiting tasks, as many as there are free slots, highest priority first, then oldest."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import gevent
import pytest
from gevent.lock import Semaphore

from bus.apps.options import Options
from bus.engine.claimer import AGED_EACH, AGED_SECONDS, POLL_SECONDS
from bus.engine.recorder import FULL
from bus.engine.run import Run
from bus.errors import NotAccepted, StoreUnavailable
from bus.model import Filter
from bus.retry import Outcome
from tests.contract.samples import depths

PATIENCE = 5.0


def begun(engine) -> list[object]:
    """The first arguments of the tasks that run now, in the order they began."""
    return [run.task.args[0] for run in engine.pool.running.values()]


def idle(engine) -> None:
    """A pass that finds nothing: from now on the claimer knows that nothing waits."""
    engine.declare(lambda: None, "nothing")
    assert POLL_SECONDS == engine.claimer.tick()


def counts(engine) -> dict[str, int]:
    return engine.store.count(Filter())


# how many


def test_it_never_claims_more_than_the_free_slots(engine):
    """Ten wait, four slots: what it cannot run stays for other daemons."""
    for n in range(10):
        engine.waiting(n, name="held")
    engine.claimer.tick()
    engine.claimer.tick()

    assert [0, 1, 2, 3] == begun(engine)
    assert {"ready": 6, "busy": 4} == counts(engine)


def test_where_nothing_was_waiting_a_store_across_the_network_is_asked_for_one_task_first(
    engine, monkeypatch
):
    """Somebody has just posted it and waits; the others come behind it, and half of the slots stay open."""
    monkeypatch.setattr(engine.faulty, "shared", True, raising=False)
    idle(engine)
    for n in range(10):
        engine.waiting(n, name="held")

    assert 0 == engine.claimer.tick()
    assert [0] == begun(engine)
    assert engine.claimer.lets_start
    assert 0 == engine.claimer.tick()
    assert POLL_SECONDS == engine.claimer.tick()
    assert [0, 1, 2, 3] == begun(engine)


def test_a_pass_that_finds_nothing_asks_for_one_task_again(engine, monkeypatch):
    """Nothing waits still: whoever posts next waits no longer than whoever posted first."""
    monkeypatch.setattr(engine.faulty, "shared", True, raising=False)
    idle(engine)
    idle(engine)
    for n in range(3):
        engine.waiting(n, name="held")
    engine.claimer.tick()

    assert [0] == begun(engine)


def test_slots_set_aside_are_not_free(engine):
    for n in range(10):
        engine.waiting(n, name="held")
    engine.pool.reserve(3)
    engine.claimer.tick()

    assert [0] == begun(engine)


def test_a_slot_that_becomes_free_calls_for_the_next_pass(engine):
    """Only while more waits; else every task that ends would cost a query."""
    for n in range(5):
        engine.waiting(n, name="held")
    engine.claimer.tick()
    assert not engine.claimer.loop.is_woken
    engine.gate.set()
    assert 0 == engine.pool.drain(PATIENCE)

    assert engine.claimer.loop.is_woken


def test_with_every_slot_taken_it_does_not_even_ask(engine):
    for n in range(5):
        engine.waiting(n, name="held")
    engine.claimer.tick()
    engine.faulty.sleep()

    assert POLL_SECONDS == engine.claimer.tick()
    engine.faulty.wake()
    assert {"busy": 4, "ready": 1} == counts(engine)


def test_it_claims_nothing_while_the_lease_is_in_doubt(engine, facts):
    engine.waiting(1, name="held")
    engine.is_safe = False

    assert POLL_SECONDS == engine.claimer.tick()
    engine.is_safe = True
    assert [] == begun(engine)
    engine.claimer.tick()
    assert [1] == begun(engine)


def test_it_claims_nothing_while_too_many_ends_wait_to_be_recorded(engine):
    """What ran and is not recorded would run again after a crash: that must stay bounded."""
    run = Run(engine.waiting(0), 0.0)
    for _ in range(FULL):
        engine.recorder.put(run, Outcome("complete", {"state": "complete"}))
    engine.waiting(1, name="held")
    engine.claimer.tick()

    assert [] == begun(engine)


def test_a_stopping_claimer_claims_nothing(engine):
    engine.waiting(1, name="held")
    engine.claimer.is_stopping = True

    assert engine.claimer.tick() is None
    assert [] == begun(engine)


def test_it_claims_only_what_this_daemon_may_run(engine):
    """An unknown name waits, parked, and nothing is lost."""
    engine.waiting(1, name="unknown")
    engine.waiting(2, name="held")
    engine.claimer.tick()

    assert [2] == begun(engine)
    assert {"unknown": 1} == depths(engine.store.waiting())


def test_a_pass_after_an_idle_one_leaves_half_of_the_slots_to_direct_starts(engine):
    """Until it sees that more waits than it took: then the next pass comes at once and takes all."""
    idle(engine)
    for n in range(10):
        engine.waiting(n, name="held")

    assert 0 == engine.claimer.tick()
    assert [0, 1] == begun(engine)
    engine.claimer.tick()
    assert [0, 1, 2, 3] == begun(engine)


# which first


def test_higher_priority_goes_first_then_the_older_one(new_engine):
    engine = new_engine(6)
    engine.declare(lambda *_: engine.gate.wait(PATIENCE), "held")
    engine.declare(lambda *_: engine.gate.wait(PATIENCE), "other")
    for n, (priority, name) in enumerate(
        [(0, "held"), (10, "other"), (10, "held"), (-5, "held"), (20, "other")]
    ):
        engine.waiting(n, name=name, priority=priority)
        engine.clock.advance(1)
    engine.claimer.tick()

    assert [4, 1, 2, 0, 3] == begun(engine)


def test_a_quick_task_waits_for_one_slow_end_and_not_for_forty(new_engine):
    """A name that has half of the slots makes way while others wait."""
    engine, ended = new_engine(4), []
    may_end = Semaphore(0)
    engine.declare(lambda: (may_end.acquire(), ended.append("slow")), "slow")
    engine.declare(lambda: ended.append("quick"), "quick")
    for _ in range(40):
        engine.waiting(name="slow")
    engine.claimer.tick()
    engine.clock.advance(1)
    for _ in range(10):
        engine.waiting(name="quick")

    may_end.release()
    while "quick" in engine.store.waiting() and ended.count("slow") < 40:
        one_ends(engine)
        engine.claimer.tick()
        if all(run.task.task_name == "slow" for run in engine.pool.running.values()):
            may_end.release()
    may_end.release()

    assert 1 == ended.count("slow")
    assert 9 <= ended.count("quick")


def one_ends(engine) -> None:
    """Wait until one of the runs is over."""
    assert gevent.wait([run.left for run in engine.pool.running.values()], PATIENCE, 1)


def test_low_priority_has_its_turn_in_a_stream_of_urgent_tasks(engine):
    """Each tenth place goes to what has been due longest, once that is a minute."""
    begun_as = []
    engine.declare(begun_as.append, "t")
    engine.waiting("low", priority=1)
    engine.clock.advance(AGED_SECONDS)
    for _ in range(50):
        for _ in range(4):
            engine.waiting("urgent", priority=50)
        engine.claimer.tick()
        engine.pool.drain(PATIENCE)

    assert "low" in begun_as[: 2 * AGED_EACH]


def test_age_is_when_a_task_became_due_not_when_it_was_posted(engine):
    engine.waiting("posted first", name="held", delay=10)
    engine.clock.advance(5)
    engine.waiting("due first", name="held")
    engine.clock.advance(5)
    engine.claimer.tick()

    assert ["due first", "posted first"] == begun(engine)


# when


def test_a_delayed_task_waits_for_its_time_to_the_millisecond(engine):
    engine.waiting(1, name="held", delay=2)

    assert 2.0 == engine.claimer.tick()
    engine.clock.advance(1.999)
    assert pytest.approx(0.001) == engine.claimer.tick()
    assert [] == begun(engine)
    engine.clock.advance(0.001)
    engine.claimer.tick()
    assert [1] == begun(engine)


def test_it_polls_every_five_seconds_whatever_the_feed_says(engine):
    """A task far ahead does not stretch the pause; nothing at all neither."""
    assert POLL_SECONDS == engine.claimer.tick() == 5.0
    engine.waiting(1, name="held", delay=3600)
    assert POLL_SECONDS == engine.claimer.tick()


def test_a_post_of_a_delayed_task_shortens_the_pause_only_when_it_is_the_next(engine):
    """Otherwise a thousand posts for tomorrow would be a thousand passes today."""
    task = engine.declare(lambda _: None)
    engine.waiting(1, name="held", delay=2)
    engine.claimer.tick()
    woken = []
    for delay in (3, 1):
        engine.office.post(task.name, [1], {}, Options(delay=delay))
        woken.append(engine.claimer.loop.is_woken)

    assert [False, True] == woken


def test_a_task_that_goes_back_to_ready_is_looked_at_when_it_is_due(engine):
    """A retry after one second does not wait for the poll."""
    idle(engine)
    engine.recorder.waiting_again([("held", engine.clock.now() + timedelta(seconds=1))])

    assert engine.claimer.loop.is_woken


# direct start


def test_a_post_begins_at_once_while_nothing_waits(engine):
    """It is stored as busy by this daemon, first attempt, and never claimed."""
    idle(engine)
    task = engine.office.post("held", [1], {}, Options())
    stored = engine.now(task)

    assert [1] == begun(engine)
    assert ("busy", engine.instance.id, engine.instance.process) == (
        stored.state,
        stored.worker,
        stored.process,
    )
    assert (1, 1, engine.clock.now()) == (stored.attempt, stored.generation, stored.time_start)
    assert {"busy": 1} == counts(engine)


def test_a_started_task_can_be_reported_under_its_claim(engine):
    """The fence of a direct start is the same as that of a claim."""
    engine.declare(lambda n: n + 1)
    idle(engine)
    task = engine.office.post("t", [1], {}, Options())
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()

    assert ("complete", 2) == (engine.now(task).state, engine.now(task).result)


def test_nothing_overtakes_what_waits(engine):
    """Before the first pass, and after a full one, every post is stored as ready and waits its turn."""
    states = [engine.office.post("held", [0], {}, Options()).state]
    for n in range(1, 6):
        engine.waiting(n, name="held")
    engine.claimer.tick()
    states.append(engine.office.post("held", [9], {}, Options(priority=99)).state)

    assert ["ready", "ready"] == states
    assert [0, 1, 2, 3] == begun(engine)


@pytest.mark.parametrize(
    "obstacle", ["no free slot", "doubtful lease", "stopping", "delay", "unknown name", "full"]
)
def test_a_post_is_stored_as_ready_when_it_cannot_begin(engine, obstacle):
    idle(engine)
    name, options = "held", Options()
    if obstacle == "no free slot":
        engine.pool.reserve(4)
    elif obstacle == "doubtful lease":
        engine.is_safe = False
    elif obstacle == "stopping":
        engine.claimer.is_stopping = True
    elif obstacle == "delay":
        options = Options(delay=1)
    elif obstacle == "unknown name":
        name = "unknown"
    else:
        for _ in range(FULL):
            engine.recorder.put(Run(engine.waiting(0), 0.0), Outcome("complete", {"state": "complete"}))
    task = engine.office.post(name, [1], {}, options)

    assert "ready" == engine.now(task).state
    assert [] == begun(engine)


def test_slots_are_counted_exactly_after_direct_starts(engine):
    idle(engine)
    for n in range(6):
        engine.office.post("held", [n], {}, Options())

    assert ([0, 1, 2, 3], 0) == (begun(engine), engine.pool.free)
    engine.gate.set()
    assert 0 == engine.pool.drain(PATIENCE)
    assert 4 == engine.pool.free


def test_a_post_that_found_its_key_held_begins_nothing(engine):
    """The receipt names the holder, and the slot set aside is free again."""
    idle(engine)
    first = engine.office.post("held", [1], {}, Options(key="k"))
    second = engine.office.post("held", [2], {}, Options(key="k"))

    assert first.id == second.id
    assert ([1], 3) == (begun(engine), engine.pool.free)


# when the store fails


def test_an_outage_is_told_once_and_its_end_once(engine, facts):
    """The pause has jitter, so that daemons do not come back as one."""
    engine.faulty.sleep()
    pauses = [engine.claimer.tick() for _ in range(3)]
    engine.faulty.wake()
    engine.claimer.tick()
    engine.claimer.tick()

    assert [0.75] * 3 == pauses
    assert ["store.failed", "store.recovered"] == facts.names
    assert "claiming" == facts.of("store.failed")[0]["doing"]


def test_a_failed_claim_gives_its_slots_back(engine):
    engine.faulty.fail_next("claim")
    engine.claimer.tick()

    assert 4 == engine.pool.free


@pytest.mark.parametrize("stored", [True, False])
def test_a_direct_start_of_unknown_outcome_is_settled_by_the_next_pass(engine, facts, stored):
    """The caller is told that it failed, so the task must not run twice, nor stay busy for ever."""
    idle(engine)
    engine.faulty.fail_next("post", after=stored)
    with pytest.raises(StoreUnavailable):
        engine.office.post("held", [1], {}, Options())
    assert ([], 4) == (begun(engine), engine.pool.free)
    assert ({"busy": 1} if stored else {}) == counts(engine)

    engine.claimer.tick()

    assert [(1, int(stored))] == [(told["count"], told["released"]) for told in facts.of("claim.reconciled")]
    assert ([1] if stored else []) == begun(engine)
    assert [1] * stored == [run.task.attempt for run in engine.pool.running.values()]


def test_a_doubt_is_kept_until_the_store_answers(engine, facts):
    idle(engine)
    engine.faulty.fail_next("post", after=True)
    with pytest.raises(StoreUnavailable):
        engine.office.post("held", [1], {}, Options())
    engine.faulty.sleep()
    engine.claimer.tick()
    engine.faulty.wake()
    engine.claimer.tick()

    assert 1 == len(facts.of("claim.reconciled"))
    assert [1] == begun(engine)


def test_direct_starts_and_claims_never_share_a_slot(new_engine):
    """While a claim is under way its slots are set aside: a post at that moment waits its turn."""
    engine = new_engine(2)
    engine.declare(lambda *_: engine.gate.wait(PATIENCE), "held")
    idle(engine)
    for n in (1, 2, 3):
        engine.waiting(n, name="held")
    posted = []
    claim = engine.store.claim

    def claim_while_somebody_posts(*args):
        posted.append(engine.office.post("held", [9], {}, Options()).state)
        posted.append(engine.office.post("held", [9], {}, Options()).state)
        return claim(*args)

    engine.faulty.__dict__["claim"] = claim_while_somebody_posts
    engine.claimer.tick()

    assert ["busy", "ready"] == posted
    assert 2 == len(engine.pool.running)
    assert engine.pool.free == 0


def test_every_task_runs_once_when_posts_claims_and_faults_are_mixed(new_engine):
    """Two hundred tasks through three slots, the store failing now and then: none lost, none twice."""
    engine = new_engine(3)
    ran: Counter[int] = Counter()
    engine.declare(lambda n: ran.update([n]))

    def work() -> None:
        engine.claimer.tick()
        assert 0 == engine.pool.drain(PATIENCE)
        engine.recorder.tick()

    for n in range(200):
        if n % 5 == 0:
            engine.faulty.fail_next("report")
        if n % 7 == 0:
            engine.faulty.fail_next("claim")
        if n % 2:
            engine.waiting(n)
        else:
            engine.office.post("t", [n], {}, Options())
        work()
    while counts(engine) != {"complete": 200}:
        work()

    assert Counter(range(200)) == ran
    assert 3 == engine.pool.free


def test_what_is_doubted_while_doubts_are_settled_is_settled_next(engine, facts, monkeypatch):
    """The store is asked meanwhile, and another post may fail."""
    first, second = engine.waiting(name="held"), engine.waiting(name="held")
    report = engine.faulty.report

    def report_while_another_is_doubted(reports):
        monkeypatch.undo()
        engine.claimer.settle([second])
        return report(reports)

    monkeypatch.setattr(engine.faulty, "report", report_while_another_is_doubted, raising=False)
    engine.claimer.settle([first])
    for _ in range(2):
        engine.claimer._settle_doubts()

    assert [1, 1] == [fields["count"] for fields in facts.of("claim.reconciled")]


def test_a_doubt_that_the_store_refuses_to_settle_does_not_end_all_claiming(engine, facts):
    """It was asked again before every claim, and no claim was ever made again."""
    doubted, waiting = engine.waiting(1), engine.waiting(2, name="held")
    store = engine.faulty._store
    report = store.report

    def ruled(reports):
        if any(one.claim.id == doubted.id for one in reports):
            raise NotAccepted("refused by the validator")
        return report(reports)

    store.report = ruled
    engine.claimer.settle([doubted])
    engine.claimer.tick()

    assert [2] == begun(engine)
    assert "busy" == engine.now(waiting).state
    assert [doubted.id] == [fields["task_id"] for fields in facts.of("task.set_aside")]
