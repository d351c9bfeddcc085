"""Workers that somebody has stopped (SIGSTOP): they are noticed, and their seats are free again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import gevent
import pytest

from bus.cpu import worker_handle

from .conftest import PATIENCE, Laboratory, New, is_alive, until


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to wait for the product's seconds."""
    monkeypatch.setattr(worker_handle, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker_handle, "TAKE_SECONDS", 0.5)
    monkeypatch.setattr(worker_handle, "GRACE_SECONDS", 0.3)


def begun(laboratory: Laboratory, place: Path, **options: float):
    """A run whose handler is at work, and its worker."""
    run, greenlet = laboratory.begin("breed", str(place), "program", **options)
    until(lambda: place.exists() and len(place.read_text().split()) == 2)
    return run, greenlet, int(place.read_text().split()[0])


def test_two_stopped_workers_hold_no_seat_for_ever(new_laboratory: New, tmp_path: Path, facts):
    """Each is told of once, and killed when its task's time is over."""
    laboratory = new_laboratory(2)
    runs = [begun(laboratory, tmp_path / str(n), timeout=1.0) for n in range(2)]
    for _, _, pid in runs:
        os.kill(pid, signal.SIGSTOP)
    tasks = [laboratory.ended(run, greenlet) for run, greenlet, _ in runs]
    told = facts.of("cpu_worker.stopped")

    assert ["TimedOut: ran longer than its timeout of 1 s"] * 2 == [
        task.history[0]["error"] for task in tasks
    ]
    assert {pid for _, _, pid in runs} == {fields["pid"] for fields in told}
    assert 2 == len(told)
    assert "complete" == laboratory.result("echo", priority=99).state


def test_one_whose_task_has_no_timeout_is_a_crash_in_the_end(laboratory: Laboratory, tmp_path, monkeypatch):
    """A handler that stops itself again and again is found out, as one that kills itself."""
    monkeypatch.setattr(worker_handle, "STOPPED_SECONDS", 0.2)
    run, greenlet, pid = begun(laboratory, tmp_path / "pids")
    os.kill(pid, signal.SIGSTOP)
    task = laboratory.ended(run, greenlet)

    assert ("ready", 1) == (task.state, task.crashes)
    assert "(SIGSTOP), and then killed" in task.history[0]["error"]
    assert "complete" == laboratory.result("echo", priority=99).state


def test_one_that_goes_on_in_time_is_left_alone(laboratory: Laboratory, tmp_path, facts, monkeypatch):
    """Somebody has looked at it with a debugger."""
    monkeypatch.setattr(worker_handle, "STOPPED_SECONDS", 5.0)
    run, greenlet = laboratory.begin("rest", 0.5)
    (worker,) = until(lambda: laboratory.worker_pool._current and laboratory.worker_pool._current._handles)
    until(lambda: worker.child.pid and worker._is_taken)
    os.kill(worker.child.pid, signal.SIGSTOP)
    facts.wait_for("cpu_worker.stopped")
    os.kill(worker.child.pid, signal.SIGCONT)

    assert "rested" == laboratory.ended(run, greenlet).result


@pytest.mark.parametrize("timeout", [None, 0.05])
def test_an_idle_worker_that_takes_no_task_is_replaced(laboratory: Laboratory, facts, timeout):
    """A small task fits into its connection: that it was sent proves nothing. No attempt is used."""
    pid = laboratory.result("echo").result["pid"]
    os.kill(pid, signal.SIGSTOP)
    task = laboratory.result("echo", timeout=timeout)

    assert ("ready", 0, 0) == (task.state, task.attempt, task.crashes)
    assert facts.of("cpu.failed")[0]["reason"].startswith("a worker did not take its task within 0.5 s")
    until(lambda: not is_alive(pid))
    assert pid != laboratory.result("echo", priority=99).result["pid"]


def test_an_app_process_that_forks_no_more_is_replaced(laboratory: Laboratory, tmp_path: Path):
    """Stopped, it holds up every new worker; the tasks lose nothing by it."""
    pid = laboratory.result("echo").result["pid"]
    app_process = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(app_process, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    until(
        lambda: not laboratory.worker_pool._current._idle or laboratory.worker_pool._current._idle[0].is_spent
    )
    with gevent.Timeout(PATIENCE):
        task = laboratory.result("echo")

    assert ("ready", 0, 0) == (task.state, task.attempt, task.crashes)
    until(lambda: not is_alive(app_process))
    assert "complete" == laboratory.result("echo", priority=99).state
