"""Parked names are told once each, at once when this daemon has stored the task itself."""

from __future__ import annotations

from bus.maintenance.unknown_tasks import UnknownTasks


def test_each_parked_name_is_told_once_and_again_when_it_returns(engine, facts):
    """How many wait under it comes along."""
    unknown_tasks = UnknownTasks(engine.store, lambda: engine.registry.tasks)
    engine.waiting(name="gone")
    engine.waiting(name="gone")
    unknown_tasks.tick()
    unknown_tasks.tick()
    declared = engine.declare(lambda: None, "gone")
    unknown_tasks.tick()
    del engine.registry.tasks[declared.name]
    unknown_tasks.tick()

    assert [("gone", 2), ("gone", 2)] == [(told["name"], told["waiting"]) for told in facts.of("task.parked")]


def test_a_post_under_an_unknown_name_wakes_it_once(engine):
    """Thousands of them look as good as one; known names do not wake it."""
    unknown_tasks = UnknownTasks(engine.store, lambda: engine.registry.tasks)
    engine.declare(lambda: None, "here")
    unknown_tasks("task.posted", {"task": engine.waiting(name="here")})
    assert not unknown_tasks.loop.is_woken

    unknown_tasks("task.posted", {"task": engine.waiting(name="gone")})
    assert unknown_tasks.loop.is_woken
    unknown_tasks.tick()
    unknown_tasks.loop._woken.clear()
    unknown_tasks("task.posted", {"task": engine.waiting(name="gone")})
    assert not unknown_tasks.loop.is_woken
