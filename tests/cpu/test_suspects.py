"""Tasks that were running when a daemon died run alone, in a process that may die of them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from bus.apps.options import Options
from bus.errors import Withdrawn
from bus.model import Posting
from bus.posting import prepare

from .conftest import Laboratory, is_alive, until


def suspect(laboratory: Laboratory, name: str, *args: object):
    """A cooperative task with one crash behind it."""
    task = prepare(laboratory.clock, f"laboratory.{name}", list(args), {}, Options(), {})
    task.crashes = 1
    laboratory.store.post([Posting([task])])
    return task


def test_an_innocent_suspect_runs_alone_and_is_cleared(laboratory: Laboratory, tmp_path: Path):
    """In a process of its own that ends with it; what gevent offers works there."""
    done = laboratory.perform(suspect(laboratory, "cooperative", str(tmp_path / "pids")))

    pid, seen = done.result
    assert ("complete", 0, [0, 1, 2]) == (done.state, done.crashes, sorted(seen))
    assert os.getpid() != pid
    until(lambda: not is_alive(pid))


def test_a_cooperative_task_without_a_crash_stays_in_the_daemon(laboratory: Laboratory, tmp_path: Path):
    task = laboratory.result("cooperative", str(tmp_path / "pids"))

    assert os.getpid() == task.result[0]


def test_a_guilty_suspect_kills_only_its_worker_and_is_quarantined(laboratory: Laboratory, tmp_path: Path):
    """The signal is named now."""
    place = tmp_path / "pids"
    task = suspect(laboratory, "guilty", str(place))
    states = [laboratory.perform(task).state for _ in range(2)]

    assert ["ready", "error"] == states
    assert "quarantined after 3 crashes: killed by SIGSEGV" == laboratory.now(task).result
    assert str(os.getpid()) not in place.read_text().split()


def test_each_suspect_has_a_process_of_its_own(laboratory: Laboratory, tmp_path: Path):
    """Beside the ordinary workers, whose seats they do not take."""
    tasks = [suspect(laboratory, "cooperative", str(tmp_path / "pids")) for _ in range(3)]
    laboratory.claimer.tick()
    run, greenlet = laboratory.begin("echo")
    assert "complete" == laboratory.ended(run, greenlet).state
    assert 0 == laboratory.pool.drain(20)
    laboratory.recorder.tick()

    assert ["complete"] * 3 == [laboratory.now(task).state for task in tasks]
    begins_and_ends = (tmp_path / "pids").read_text().split()
    assert {2} == set(Counter(begins_and_ends).values())
    assert 3 == len(set(begins_and_ends))


def test_a_suspect_is_interrupted_where_its_handler_waits(laboratory: Laboratory, tmp_path: Path):
    """Also when that is in gevent's hub."""
    place = tmp_path / "heard"
    task = suspect(laboratory, "patient", str(place))
    laboratory.claimer.tick()
    until(lambda: place.exists() and place.read_text())
    laboratory.lanes.interrupt([task.id], Withdrawn)
    laboratory.pool.drain(20)
    laboratory.recorder.tick()

    assert "Withdrawn" == place.read_text()
    assert ("ready", 1) == (laboratory.now(task).state, laboratory.now(task).crashes)
