"""Handlers whose commands cannot be started are told once, and once more when they can."""

from __future__ import annotations

from bus.maintenance.program_monitor import ProgramMonitor


def test_each_change_is_told_once(facts):
    """A thousand waiting tasks are one line; `/readyz` has the sentence for as long as it lasts."""
    faults: dict[str, str] = {"a": "command: gone"}
    monitor = ProgramMonitor(lambda: dict(faults), lambda look: look())
    monitor.tick()
    monitor.tick()
    remark = monitor.remark
    faults["a"] = "command: not executable"
    monitor.tick()
    del faults["a"]
    monitor.tick()

    assert [("a", "command: gone"), ("a", "command: not executable")] == [
        (told["handler"], told["reason"]) for told in facts.of("handler.suspended")
    ]
    assert ["a"] == [told["handler"] for told in facts.of("handler.resumed")]
    assert "the tasks of handler:a wait: command: gone" == remark
    assert monitor.remark is None
