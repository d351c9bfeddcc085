"""How a run in a worker is cut short: by its timeout, by an operator, by the drain."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from bus.cpu import worker_handle
from bus.errors import Drained, Withdrawn

from .conftest import Laboratory, New, is_alive, until


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch):
    """Nobody wants to wait for the product's seconds."""
    monkeypatch.setattr(worker_handle, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(worker_handle, "HEED_SECONDS", 0.3)


def test_a_timeout_is_raised_where_the_handler_is(laboratory: Laboratory):
    """Waiting or computing; the worker stays."""
    rested = laboratory.result("rest", 60, timeout=0.05)
    burned = laboratory.result("burn", 60, timeout=0.05)

    for task, name in ((rested, "rest"), (burned, "burn")):
        assert ("ready", 1) == (task.state, task.attempt)
        assert "TimedOut: ran longer than its timeout of 0.05 s" == task.history[0]["error"]
        assert f"in {name}" in task.result
    assert 1 == len(laboratory.worker_pool._current._handles)


def test_a_handler_that_sets_signals_up_for_itself_takes_no_timeout_from_the_next(laboratory: Laboratory):
    """In the same worker, which has not to be killed for it."""
    pid = laboratory.result("deafen").result
    task = laboratory.result("rest", 60, timeout=0.05)

    assert "TimedOut: ran longer than its timeout of 0.05 s" == task.history[0]["error"]
    assert "in rest" in task.result
    assert pid == laboratory.result("echo", priority=99).result["pid"]


def test_a_handler_within_its_time_is_left_alone_and_so_is_the_next(laboratory: Laboratory):
    """The timer of one run is gone with it."""
    first = laboratory.result("rest", 0.05, timeout=0.5)
    second = laboratory.result("rest", 0.6)

    assert ["rested", "rested"] == [first.result, second.result]


def test_a_handler_that_swallows_its_timeout_has_failed(laboratory: Laboratory, tmp_path: Path):
    task = laboratory.result("ignore", str(tmp_path / "pid"), 0.2, timeout=0.05)

    assert "TimedOut: ran longer than its timeout of 0.05 s" == task.history[0]["error"]
    assert "the handler went on after its timeout and came to its end too late\n" == task.result


def test_a_handler_that_goes_on_is_killed_with_its_worker(laboratory: Laboratory, tmp_path: Path):
    """Hard timeout: the timeout and a grace; the next task gets a new worker."""
    place = tmp_path / "pid"
    task = laboratory.result("ignore", str(place), 60, timeout=0.05)

    assert "TimedOut: ran longer than its timeout of 0.05 s" == task.history[0]["error"]
    assert "its worker was killed" in task.result
    assert 0 == task.crashes
    assert not is_alive(int(place.read_text()))
    assert "complete" == laboratory.result("echo").state


@pytest.mark.parametrize("how", ["program", "fork"])
def test_the_children_of_a_killed_worker_die_with_it(laboratory: Laboratory, tmp_path: Path, how):
    place = tmp_path / "pids"
    laboratory.result("breed", str(place), how, timeout=0.3)
    pids = [int(pid) for pid in place.read_text().split()]

    until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize("reason", [Withdrawn, Drained])
def test_a_handler_hears_why_it_is_cut_short(laboratory: Laboratory, tmp_path: Path, monkeypatch, reason):
    """The exception of its own kind; the attempt is given back and no crash is counted."""
    monkeypatch.setattr(worker_handle, "HEED_SECONDS", 20.0)  # it heeds, on a busy machine too
    place = tmp_path / "heard"
    run, greenlet = laboratory.begin("heed", str(place))
    until(place.exists)
    run.interrupt(reason())
    task = laboratory.ended(run, greenlet)

    assert reason.__name__ == place.read_text()
    assert ("ready", 0, 0) == (task.state, task.attempt, task.crashes)


def test_a_handler_that_does_not_heed_is_killed(laboratory: Laboratory, tmp_path: Path):
    place = tmp_path / "pid"
    run, greenlet = laboratory.begin("ignore", str(place), 60)
    until(lambda: place.exists() and place.read_text())
    run.interrupt(Withdrawn())
    task = laboratory.ended(run, greenlet)

    assert ("ready", 0, 0) == (task.state, task.attempt, task.crashes)
    assert not is_alive(int(place.read_text()))


def test_an_interrupt_never_reaches_the_next_task(laboratory: Laboratory, tmp_path: Path):
    """A worker that was interrupted is replaced: its signal may come late."""
    before = laboratory.result("echo").result["pid"]
    run, greenlet = laboratory.begin("heed", str(tmp_path / "heard"))
    until((tmp_path / "heard").exists)
    run.interrupt(Drained())
    laboratory.ended(run, greenlet)

    assert before != laboratory.result("echo").result["pid"]


def test_more_tasks_than_workers_wait_for_their_turn(new_laboratory: New):
    """Ten on two workers: never more than two processes, all of them complete."""
    laboratory = new_laboratory(2)
    runs = [laboratory.begin("echo", n) for n in range(10)]
    ended = [laboratory.ended(*run) for run in runs]

    assert ["complete"] * 10 == [task.state for task in ended]
    assert len({task.result["pid"] for task in ended}) <= 2


def test_a_run_that_waits_for_a_worker_can_be_cut_short(laboratory: Laboratory, tmp_path: Path):
    """It never begins, and the one that runs is not disturbed."""
    place = tmp_path / "heard"
    run, greenlet = laboratory.begin("rest", 0.3)
    waiting, other = laboratory.begin("heed", str(place))
    gevent.sleep(0)
    waiting.interrupt(Drained())
    task = laboratory.ended(waiting, other)

    assert ("ready", 0) == (task.state, task.attempt)
    assert "rested" == laboratory.ended(run, greenlet).result
    assert not place.exists()


def test_an_interrupt_amid_a_frame_leaves_the_connection_whole(laboratory: Laboratory):
    """It is held back until the daemon has answered: the worker lives through all of them."""
    before = laboratory.result("echo").result["pid"]
    errors = [laboratory.result("chatter", timeout=0.02 + n / 1000).history[0]["error"] for n in range(30)]

    assert {"TimedOut: ran longer than its timeout of"} == {error.rpartition(" 0.")[0] for error in errors}
    assert before == laboratory.result("echo", timeout=60, priority=99).result["pid"]
