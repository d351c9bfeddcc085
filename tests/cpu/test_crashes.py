"""A worker that dies takes one task with it, and everybody hears of what."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import gevent
import pytest
from gevent.event import Event as Signal

from bus.cpu import worker_handle
from bus.cpu.forkserver_client import Child

from .conftest import PATIENCE, Laboratory, New, is_alive, until


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("exit", "exited with code 3"),
        ("silent", "exited with code 0"),
        ("kill", "killed by SIGKILL"),
        ("garbage", "frame: expected a BSON document"),
        ("oversized", "frame: expected at most 67108864 bytes, got 4294967295 announced"),
        ("half", "frame: expected 65535 bytes, got the end of the stream"),
        ("close", "closed its connection to the daemon"),
    ],
)
def test_a_crash_is_told_apart_and_counted_apart(laboratory: Laboratory, facts, monkeypatch, how, reason):
    """No attempt is used; the next task finds another worker."""
    monkeypatch.setattr(worker_handle, "LAST_SECONDS", 0.2)
    task = laboratory.result("crash", how)

    assert ("ready", 0, 1) == (task.state, task.attempt, task.crashes)
    assert task.history[0]["error"].startswith(f"crash 1: {reason}")
    assert "complete" == laboratory.result("echo").state


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("no size", "frame: expected bytes as a whole number, got 'x'"),
        ("no kind", "frame: expected an ending, got "),
        ("another run's", "frame: expected the end of the present run, got "),
        ("nobody's", "frame: expected the end of the present run, got "),
    ],
)
def test_an_end_that_cannot_be_is_a_crash(laboratory: Laboratory, how, reason):
    """Of its one worker: the seat is free for the next task."""
    task = laboratory.result("forge", how)

    assert ("ready", 0, 1) == (task.state, task.attempt, task.crashes)
    assert task.history[0]["error"].startswith(f"crash 1: {reason}")
    assert "complete" == laboratory.result("echo").state


def test_words_in_the_name_of_another_run_are_not_this_ones(laboratory: Laboratory, facts, capsys):
    """What is printed goes into the plain log, a request is refused."""
    task = laboratory.result("forge_words")

    assert ("complete", {"error": "NotBound", "text": ""}) == (task.state, task.result)
    assert (None, None) == (task.output, task.progress)
    assert "forged words\n" == capsys.readouterr().out


def test_a_thread_that_outlives_its_run_is_not_taken_for_the_next_one(laboratory: Laboratory, tmp_path: Path):
    """It speaks for itself and can post nothing; threads of the present run go with it."""
    before = laboratory.result("leave_thread", str(tmp_path / "go"))
    task = laboratory.result("be_haunted", str(tmp_path / "go"))

    assert before.result == task.result
    assert "NotBound" == (tmp_path / "answer").read_text()
    assert "my own thread\n" == task.output


def test_a_worker_that_does_not_take_its_task_is_replaced(laboratory: Laboratory, facts, monkeypatch):
    """Stopped by somebody, its connection full: the task goes back, nobody waits for ever."""
    pid = laboratory.result("echo").result["pid"]
    os.kill(pid, signal.SIGSTOP)
    with monkeypatch.context() as impatient:
        impatient.setattr(worker_handle, "TAKE_SECONDS", 0.2)
        task = laboratory.result("echo", b"x" * 5_000_000)

    assert ("ready", 0, 0) == (task.state, task.attempt, task.crashes)
    assert facts.of("cpu.failed")[0]["reason"].startswith("a worker did not take its task within 0.2 s")
    assert pid != laboratory.result("echo", priority=99).result["pid"]


def test_a_task_that_cannot_be_sent_is_a_crash_of_its_own(laboratory: Laboratory):
    """And its worker stays for the next one."""
    pid = laboratory.result("echo").result["pid"]
    run, greenlet = laboratory.begin("echo")
    run.task.args.append({1, 2})
    task = laboratory.ended(run, greenlet)

    assert task.history[0]["error"].startswith("crash 1: frame: expected what BSON can hold, got ")
    assert pid == laboratory.result("echo", priority=99).result["pid"]


def test_the_third_crash_quarantines_the_task_and_names_the_signal(laboratory: Laboratory):
    task = laboratory.post("crash", "segfault")
    states = [laboratory.perform(task).state for _ in range(3)]

    assert ["ready", "ready", "error"] == states
    assert "quarantined after 3 crashes: killed by SIGSEGV" == laboratory.now(task).result


def test_a_worker_that_is_killed_while_idle_costs_no_task_anything(laboratory: Laboratory, facts):
    pid = laboratory.result("echo").result["pid"]
    os.kill(pid, signal.SIGKILL)
    facts.wait_for("cpu_worker.crashed")
    task = laboratory.result("echo")

    assert ("complete", 0) == (task.state, task.crashes)
    assert "killed by SIGKILL" == facts.of("cpu_worker.crashed")[0]["reason"]


def test_a_worker_whose_end_is_being_learned_gets_no_task(laboratory: Laboratory, monkeypatch):
    """Its connection is at its end, its exit code not there yet."""
    pid = laboratory.result("echo").result["pid"]
    asked, gate, wait = Signal(), Signal(), Child.wait

    def slow(child: Child, seconds: float):
        asked.set()
        gate.wait()
        return wait(child, seconds)

    monkeypatch.setattr(Child, "wait", slow)
    os.kill(pid, signal.SIGKILL)
    assert asked.wait(PATIENCE)
    task = laboratory.result("echo")
    gate.set()

    assert ("complete", 0) == (task.state, task.crashes)
    assert pid != task.result["pid"]


def test_a_crash_in_one_worker_leaves_the_others_alone(new_laboratory: New):
    laboratory = new_laboratory(2)
    run, greenlet = laboratory.begin("rest", 0.5)
    crashed = laboratory.result("crash", "segfault")

    assert 1 == crashed.crashes
    assert "rested" == laboratory.ended(run, greenlet).result


def test_children_of_a_crashed_worker_die_with_it(laboratory: Laboratory, tmp_path: Path):
    """Whatever it has started in its process group, also through a fork that holds its connection."""
    place = tmp_path / "pids"
    run, greenlet = laboratory.begin("breed", str(place), "fork")
    until(lambda: place.exists() and place.read_text())
    pids = [int(pid) for pid in place.read_text().split()]
    os.kill(pids[0], signal.SIGKILL)
    task = laboratory.ended(run, greenlet)

    assert "crash 1: killed by SIGKILL" == task.history[0]["error"]
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_kill_for_want_of_memory_is_told_apart(laboratory: Laboratory, tmp_path: Path, monkeypatch):
    """By the kernel's own counter."""
    laboratory.result("echo")
    counts = iter([4, 5])
    monkeypatch.setattr(laboratory.worker_pool._oom, "kills", lambda: next(counts))
    task = laboratory.result("crash", "kill")

    assert "crash 1: killed by SIGKILL, the kernel's OOM killer" == task.history[0]["error"]


def test_an_app_process_that_is_killed_is_replaced_and_its_tasks_are_held_innocent(
    laboratory: Laboratory, tmp_path
):
    """All its workers die with it: such a crash proves nothing against their tasks."""
    place = tmp_path / "heard"
    run, greenlet = laboratory.begin("heed", str(place))
    until(place.exists)
    (worker,) = laboratory.worker_pool._current._handles
    app_process = int(Path(f"/proc/{worker.child.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(app_process, signal.SIGKILL)
    task = laboratory.ended(run, greenlet)

    assert ("ready", 1) == (task.state, task.crashes)
    assert "the process that forked it is gone" in task.history[0]["error"]
    until(lambda: not is_alive(worker.child.pid))
    assert "complete" == laboratory.result("echo").state


def test_a_run_whose_daemon_stops_listening_has_an_end(laboratory: Laboratory, facts):
    """A handler's `gevent.killall` reaches who hears the worker: the task must not wait for ever."""
    run, greenlet = laboratory.begin("rest", 600)
    facts.wait_for("task.started")
    (app_version,) = laboratory.worker_pool._app_versions or [laboratory.worker_pool._app_version()]
    (peer_,) = until(lambda: [one for one in app_version._handles if one._item is not None])
    peer_._listener.kill(block=False)
    task = laboratory.ended(run, greenlet)

    assert ("ready", 0, 1) == (task.state, task.attempt, task.crashes)
    assert "its daemon stopped listening to it: GreenletExit" in task.history[0]["error"]
    assert "complete" == laboratory.result("echo").state


def test_a_zygote_that_nobody_hears_is_lost(laboratory: Laboratory, facts):
    """And said to be: the daemon stops, and is started again."""
    gevent.idle()
    laboratory.worker_pool._zygote._listener.kill(timeout=PATIENCE)

    assert laboratory.worker_pool.is_lost
    assert ["cpu.lost"] == [name for name in facts.names if name == "cpu.lost"]


def test_a_run_whose_greenlet_is_killed_leaves_no_busy_worker_behind(laboratory: Laboratory, facts):
    """The next task would be sent to one that still computes, and be counted as crashed for it."""
    run, greenlet = laboratory.begin("rest", 600)
    facts.wait_for("task.started")
    app_version = laboratory.worker_pool._app_version()
    (busy,) = until(lambda: [one for one in app_version._handles if one._item is not None and one.child.pid])
    greenlet.kill(timeout=PATIENCE)
    laboratory.recorder.tick()

    assert "GreenletExit" in laboratory.now(run.task).history[0]["error"]
    until(lambda: not is_alive(busy.child.pid))
    assert "complete" == laboratory.result("echo").state
