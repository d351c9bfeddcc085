"""Each lane has its own slots: what fills one takes nothing from another."""

from __future__ import annotations

import pytest

from bus.apps.options import Options
from bus.engine.lanes import Lane
from bus.errors import StoreUnavailable, Withdrawn
from tests.contract.samples import depths

PATIENCE = 5.0


@pytest.fixture
def two(engine):
    """An engine with four slots for `held` and two more for `slow`, both having seen that nothing waits."""
    engine.quick = engine.claimer
    engine.add_lane("second", 2)
    engine.registry.subscribe(engine.registry.tasks["held"], ["both"])
    engine.declare(lambda *_: engine.gate.wait(PATIENCE), "slow", topic="both", lane="second")
    engine.quick.tick()
    engine.claimer.tick()
    return engine


def test_a_full_lane_leaves_the_other_its_direct_starts(two):
    """Ten posts of slow work: two begin, eight wait, and the quick one begins at once."""
    for n in range(10):
        two.office.post("slow", [n], {}, Options())

    assert "busy" == two.office.post("held", [0], {}, Options()).state
    assert {"slow": 8} == depths(two.store.waiting())
    assert 3 == len(two.lanes.running)


def test_each_lane_claims_only_its_own_names(two):
    two.waiting(1, name="held")
    two.waiting(2, name="slow")
    two.quick.tick()

    assert ["held"] == [run.task.task_name for run in two.lanes.running]
    assert {"slow": 1} == depths(two.store.waiting())


def test_an_event_for_two_lanes_begins_in_both(two):
    two.office.publish("both", [], {})

    assert ["held", "slow"] == sorted(run.task.task_name for run in two.lanes.running)
    assert (3, 1) == (two.quick.pool.free, two.claimer.pool.free)


def test_an_event_begins_nowhere_when_one_of_its_lanes_is_full(two):
    """All or none: its tasks are stored in one step, and no slot stays set aside."""
    for n in range(2):
        two.office.post("slow", [n], {}, Options())
    two.office.publish("both", [], {})

    assert {"held": 1, "slow": 1} == depths(two.store.waiting())
    assert (4, 0) == (two.quick.pool.free, two.claimer.pool.free)


def test_a_store_that_fails_leaves_no_slot_set_aside(two):
    two.faulty.fail_next("post")
    with pytest.raises(StoreUnavailable):
        two.office.publish("both", [], {})

    assert (4, 2) == (two.quick.pool.free, two.claimer.pool.free)


def test_a_key_held_by_another_task_leaves_no_slot_set_aside(two):
    two.office.post("slow", [1], {}, Options(key="k"))
    two.office.post("slow", [2], {}, Options(key="k"))

    assert (1, 1) == (len(two.lanes.running), two.claimer.pool.free)


def test_a_lane_can_grow_and_shrink(two):
    two.lanes.arrange({"greenlets": Lane(1, frozenset({"held"})), "second": Lane(3, frozenset({"slow"}))})

    assert (1, 3) == (two.quick.pool.free, two.claimer.pool.free)
    assert 4 == two.lanes.size


def test_a_lane_that_is_left_out_claims_nothing_more_and_runs_to_its_end(two):
    """After a reload: what runs, runs on; what waits is left to others, or to the name's return."""
    running = two.office.post("slow", [1], {}, Options())
    two.lanes.arrange({"greenlets": Lane(4, frozenset({"held"}))})
    waiting = two.office.post("slow", [2], {}, Options())
    two.claimer.tick()

    assert ["busy", "ready"] == [two.now(running).state, two.now(waiting).state]
    assert not two.lanes.claims("slow")
    two.gate.set()
    two.lanes.drain(PATIENCE)
    two.recorder.tick()
    assert "complete" == two.now(running).state


def test_a_reload_between_setting_aside_and_starting_gives_the_slot_back_to_its_own_lane(two):
    """The name may have changed its lane in the meantime."""
    task = two.waiting(1, name="slow")
    reserved = two.lanes.reserve([task])
    two.lanes.arrange({"greenlets": Lane(4, frozenset({"held", "slow"})), "second": Lane(2, frozenset())})
    reserved.start([])

    assert (4, 2) == (two.quick.pool.free, two.claimer.pool.free)


def test_a_retry_wakes_the_lane_of_its_name_only(two):
    two.recorder.waiting_again([("slow", two.clock.now())])

    assert (False, True) == (two.quick.loop.is_woken, two.claimer.loop.is_woken)


def test_an_interrupt_finds_its_task_in_any_lane(two):
    task = two.office.post("slow", [1], {}, Options())
    other = two.office.post("slow", [2], {}, Options())
    two.lanes.interrupt([task.id], Withdrawn)
    runs = {run.task.id: run.interrupted for run in two.lanes.running}

    assert isinstance(runs[task.id], Withdrawn)
    assert runs[other.id] is None


def test_a_hint_wakes_the_lanes_of_its_names_alone(two):
    """Each lane that looks asks the store, and a hint comes with each post of all daemons."""
    two.lanes.wake("slow".__eq__)
    woken = [claimer.loop.is_woken for claimer in two.lanes._claimers.values()]
    two.lanes.wake()

    assert [False, True] == woken
    assert all(claimer.loop.is_woken for claimer in two.lanes._claimers.values())
