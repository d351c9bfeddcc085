"""Every name that a daemon claims is in exactly one lane."""

from __future__ import annotations

from bus.apps.options import Options
from bus.apps.registry import Task
from bus.config import Config
from bus.engine.lanes import lanes_of
from bus.limits import Limit

TASKS = {
    name: Task(print, name, options)
    for name, options in [
        ("mail", Options()),
        ("thumbnail", Options(cpu=True)),
        ("handler:deploy", Options(max_concurrent=2)),
        ("handler:log", Options()),
        ("film", Options(cpu=True, max_concurrent=500)),
        ("call", Options(rate="10/s")),
    ]
}


def test_each_kind_of_work_has_its_own_slots():
    config = Config()
    plan = lanes_of(config, TASKS, frozenset(TASKS))

    assert {"mail", "handler:log"} == plan["greenlets"].names
    assert ({"thumbnail"}, config.worker.cpu_workers) == (plan["cpu"].names, plan["cpu"].slots)
    assert (2, {"handler:deploy"}, Limit(2)) == plan["handler:deploy"]


def test_a_name_with_a_limit_has_slots_of_its_own():
    """No more than there are workers for what computes; as many as greenlets with a rate alone."""
    worker = Config().worker
    plan = lanes_of(Config(), TASKS, frozenset(TASKS))

    assert (worker.cpu_workers, {"film"}, Limit(500)) == plan["film"]
    assert (worker.greenlets, {"call"}, Limit(None, 0.1, 10)) == plan["call"]
    assert [None, None] == [plan[title].bound for title in ("greenlets", "cpu")]


def test_what_is_left_to_other_daemons_is_in_no_lane():
    plan = lanes_of(Config(), TASKS, frozenset({"mail"}))

    assert frozenset({"mail"}) == frozenset().union(*(lane.names for lane in plan.values()))
    assert {"greenlets", "cpu"} == plan.keys()
