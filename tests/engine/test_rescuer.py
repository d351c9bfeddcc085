"""Takes back tasks whose daemon is dead; too many deaths quarantine a task."""

from __future__ import annotations

import pytest

from bus.errors import NotAccepted, StoreUnavailable
from bus.maintenance.rescuer import BATCH, PAUSE_SECONDS, REFUSED_SECONDS, Rescuer
from bus.model import Filter, Instance, Report
from bus.retry import DEATH_LIMIT, Policy


class Ward:
    """A rescuer, and daemons that die with tasks in hand."""

    def __init__(self, engine) -> None:
        self.engine = engine
        self.deaths = 0
        self.woken = 0
        self.rescuer = Rescuer(engine.store, engine.instance, engine.clock, Policy, self.wake)
        engine.declare(lambda: None)

    def wake(self) -> None:
        self.woken += 1

    def lose(self, count: int = 1) -> list:
        """A daemon claims *count* tasks and is never seen again."""
        self.deaths += 1
        dead = Instance(f"dead{self.deaths}", f"monqbus/there pid {self.deaths}")
        return self.engine.store.claim(dead, ["t"], count, self.engine.clock.now()).tasks


@pytest.fixture
def ward(engine):
    return Ward(engine)


def test_an_orphan_is_ready_again_and_its_attempt_does_not_count(ward, engine, facts):
    """A crash is not a failure: it has a counter of its own, and keeps its place in the queue."""
    task = engine.waiting()
    ward.lose()
    engine.clock.advance(7)
    ward.rescuer.tick()

    now = engine.now(task)
    assert ("ready", 0, 1, None) == (now.state, now.attempt, now.crashes, now.worker)
    assert task.time_queue == now.time_queue
    assert ["crash 1: monqbus/there pid 1 is gone"] == [entry["error"] for entry in now.history]
    assert ["task.rescued"] == facts.names
    assert 1 == ward.woken


def test_the_tenth_death_quarantines(ward, engine, facts):
    """Many die with their daemon and are innocent; what is there every time must not go on for ever."""
    task = engine.waiting()
    states = []
    for _ in range(DEATH_LIMIT):
        ward.lose()
        ward.rescuer.tick()
        states.append((engine.now(task).state, engine.now(task).crashes))

    assert [("ready", n) for n in range(1, DEATH_LIMIT)] + [("error", DEATH_LIMIT)] == states
    assert "quarantined after 10 crashes: monqbus/there pid 10 is gone" == engine.now(task).result
    assert ["task.rescued"] * (DEATH_LIMIT - 1) + ["task.gave_up"] == facts.names


def test_an_operator_retry_clears_the_crashes(ward, engine):
    from bus.admin import Admin

    task = engine.waiting()
    for _ in range(DEATH_LIMIT):
        ward.lose()
        ward.rescuer.tick()
    Admin(engine.store, engine.clock).retry(Filter())

    assert ("ready", 0) == (engine.now(task).state, engine.now(task).crashes)


def test_the_lease_of_a_dead_process_of_this_machine_ends_at_once(ward, engine, facts):
    """A daemon that was killed and started again does not wait for the lease of its former self."""
    here = engine.instance.identity
    later_process = here._replace(start=here.start + 1)
    strangers = [
        Instance("live", "another daemon", here),
        Instance("reused", "its pid is another process now", later_process),
        Instance("gone", "no such pid", here._replace(pid=2**22 + 1)),
        Instance("elsewhere", "another machine", here._replace(boot="other", pid=2**22 + 1)),
        Instance("container", "another pid namespace", here._replace(space="pid:[1]", pid=2**22 + 1)),
        Instance("untold", "of an older monqbus"),
    ]
    ended = []
    engine.faulty.__dict__["instances"] = lambda: strangers
    engine.faulty.__dict__["renew"] = lambda instance, seconds: ended.append((instance.id, seconds))
    ward.rescuer.tick()

    assert [("reused", 0), ("gone", 0)] == ended
    assert ["lease.revoked", "lease.revoked"] == facts.names


def test_a_daemon_never_rescues_its_own_tasks(ward, engine):
    task = engine.waiting()
    engine.store.claim(engine.instance, ["t"], 1, engine.clock.now())

    assert PAUSE_SECONDS == ward.rescuer.tick()
    assert "busy" == engine.now(task).state
    assert 0 == ward.woken


def test_two_rescuers_of_one_orphan_count_one_crash(ward, engine, facts):
    """Both saw the claim; the second report finds it gone."""
    engine.waiting()
    orphans = ward.lose()
    engine.faulty.__dict__["orphans"] = lambda instance, limit: orphans
    ward.rescuer.tick()
    ward.rescuer.tick()

    assert ["task.rescued"] == facts.names
    assert 1 == engine.now(orphans[0]).crashes


def test_a_holder_that_finishes_after_all_wins(ward, engine, facts):
    """It was slow, not dead: its end stands."""
    engine.waiting()
    orphans = ward.lose()
    engine.faulty.__dict__["orphans"] = lambda instance, limit: orphans
    engine.store.report([Report(orphans[0].claim, {"state": "complete", "result": 1})])
    ward.rescuer.tick()

    assert [] == facts.names
    assert ("complete", 0) == (engine.now(orphans[0]).state, engine.now(orphans[0]).crashes)


def test_many_orphans_come_back_batch_by_batch(ward, engine):
    for _ in range(BATCH + 1):
        engine.waiting()
    ward.lose(BATCH + 1)

    assert [0, PAUSE_SECONDS, PAUSE_SECONDS] == [ward.rescuer.tick() for _ in range(3)]
    assert {"ready": BATCH + 1} == engine.store.count(Filter())


def test_an_outage_is_left_to_the_loop(ward, engine):
    """It tells the failure and ticks again; nothing is half done."""
    engine.waiting()
    ward.lose()
    engine.faulty.fail_next("report")
    with pytest.raises(StoreUnavailable):
        ward.rescuer.tick()
    ward.rescuer.tick()

    assert {"ready": 1} == engine.store.count(Filter())


def test_one_that_the_store_refuses_to_let_go_holds_up_no_other(ward, engine, facts):
    """It was found first each time, and the whole batch failed with it."""
    tasks = [engine.waiting(n) for n in range(BATCH + 5)]
    ward.lose(BATCH + 5)
    store = engine.faulty._store
    report, refused = store.report, {task.id for task in tasks[:BATCH]}

    def ruled(reports):
        if any(one.claim.id in refused for one in reports):
            raise NotAccepted("refused by the validator")
        return report(reports)

    store.report = ruled
    pauses = [ward.rescuer.tick() for _ in range(3)]

    assert [0, PAUSE_SECONDS, PAUSE_SECONDS] == pauses
    assert {"busy": BATCH, "ready": 5} == engine.store.count(Filter())
    assert BATCH == len(facts.of("task.set_aside"))
    store.report = report
    engine.clock.advance(REFUSED_SECONDS + 1)
    ward.rescuer.tick()
    assert {"ready": BATCH + 5} == engine.store.count(Filter())
