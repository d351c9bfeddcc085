"""Every name that a daemon claims is in exactly one lane."""

from __future__ import annotations

from dataclasses import replace

from bus.apps.options import Options
from bus.apps.registry import Task
from bus.config import Config, Handler
from bus.engine.lanes import lanes_of

TASKS = {
    name: Task(print, name, Options(cpu=cpu))
    for name, cpu in [("mail", False), ("thumbnail", True), ("handler:deploy", False), ("handler:log", False)]
}
HANDLERS = {
    "deploy": Handler("deploy", ("t",), ("/bin/true",), max_concurrent=2),
    "log": Handler("log", ("t",), ("/bin/true",)),
}


def test_each_kind_of_work_has_its_own_slots():
    config = replace(Config(), handlers=HANDLERS)
    plan = lanes_of(config, TASKS, frozenset(TASKS))

    assert {"mail", "handler:log"} == plan["greenlets"].names
    assert ({"thumbnail"}, config.worker.cpu_workers) == (plan["cpu"].names, plan["cpu"].slots)
    assert (2, {"handler:deploy"}) == plan["handler:deploy"]


def test_what_is_left_to_other_daemons_is_in_no_lane():
    plan = lanes_of(replace(Config(), handlers=HANDLERS), TASKS, frozenset({"mail"}))

    assert frozenset({"mail"}) == frozenset().union(*(lane.names for lane in plan.values()))
    assert {"greenlets", "cpu"} == plan.keys()
