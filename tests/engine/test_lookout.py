"""Parked names are told once each, at once when this daemon has stored the task itself."""

from __future__ import annotations

from bus.engine.lookout import Lookout


def test_each_parked_name_is_told_once_and_again_when_it_returns(engine, facts):
    """How many wait under it comes along."""
    lookout = Lookout(engine.store, lambda: engine.registry.tasks)
    engine.waiting(name="gone")
    engine.waiting(name="gone")
    lookout.tick()
    lookout.tick()
    declared = engine.declare(lambda: None, "gone")
    lookout.tick()
    del engine.registry.tasks[declared.name]
    lookout.tick()

    assert [("gone", 2), ("gone", 2)] == [(told["name"], told["waiting"]) for told in facts.of("task.parked")]


def test_a_post_under_an_unknown_name_wakes_it_once(engine):
    """Thousands of them look as good as one; known names do not wake it."""
    lookout = Lookout(engine.store, lambda: engine.registry.tasks)
    engine.declare(lambda: None, "here")
    lookout("task.posted", {"task": engine.waiting(name="here")})
    assert not lookout.loop.is_woken

    lookout("task.posted", {"task": engine.waiting(name="gone")})
    assert lookout.loop.is_woken
    lookout.tick()
    lookout.loop._woken.clear()
    lookout("task.posted", {"task": engine.waiting(name="gone")})
    assert not lookout.loop.is_woken
