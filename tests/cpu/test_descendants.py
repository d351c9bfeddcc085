"""What a handler in a worker starts ends with its worker, in whatever session it is; nobody else's does."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bus.cpu import worker

from .conftest import Laboratory, New, children, is_alive, until

WAYS = ["session", "orphan"]


def pids_of(laboratory: Laboratory, place: Path, how: str, **options: float) -> tuple[int, int]:
    """The worker and what its handler has started, while the handler runs."""
    laboratory.begin("breed", str(place), how, **options)
    until(lambda: place.exists() and len(place.read_text().split()) == 2)
    pid, child = map(int, place.read_text().split())
    return pid, child


@pytest.mark.parametrize("how", WAYS)
def test_they_die_with_a_worker_that_is_killed_at_its_timeout(laboratory: Laboratory, tmp_path, how):
    _, child = pids_of(laboratory, tmp_path / "pids", how, timeout=0.3)

    until(lambda: not is_alive(child))


@pytest.mark.parametrize("how", WAYS)
def test_they_die_with_a_worker_that_crashes(new_laboratory: New, tmp_path, how):
    """The others' live on."""
    laboratory = new_laboratory(2)
    first, child = pids_of(laboratory, tmp_path / "first", how)
    _, other = pids_of(laboratory, tmp_path / "second", how)
    os.kill(first, signal.SIGKILL)

    until(lambda: not is_alive(child))
    assert is_alive(other)


def test_what_an_app_started_at_its_import_lives_on(new_laboratory: New, tmp_path: Path):
    """It belongs to the app process: workers come and go."""
    (tmp_path / "helped.py").write_text(
        "import os, subprocess\n"
        "from monqbus import task\n"
        "helper = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "@task(cpu=True)\n"
        "def crash():\n"
        "    print(helper.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    laboratory = new_laboratory(folder=tmp_path, modules=("helped",))
    ours = laboratory.registry.tasks["helped.crash"].function.__globals__["helper"]  # of the import here
    ours.kill()
    run, greenlet = laboratory.begin_task(laboratory.waiting(name="helped.crash"))
    task = laboratory.ended(run, greenlet)
    helper = int(str(run.output.text()).split()[0])
    again, greenlet = laboratory.begin_task(laboratory.waiting(name="helped.crash"))
    laboratory.ended(again, greenlet)  # by another worker: what came of the first one's death is over

    assert 1 == task.crashes
    assert is_alive(helper)
    laboratory.close()
    until(lambda: not is_alive(helper))


def test_a_worker_full_of_dead_children_is_replaced(laboratory: Laboratory, monkeypatch):
    """Orphans that it has adopted: it buries none, for they could be a handler's own."""
    pids = {laboratory.result("leave_orphans", worker.UNBURIED // 2).result for _ in range(2)}
    until(lambda: sum(not is_alive(pid) for pid in children(*pids)) == worker.UNBURIED)
    last = laboratory.result("leave_orphans", 5).result

    assert {last} == pids
    # they may still have been dying when that run ended; the end of another one is looked at, too
    until(lambda: not is_alive(last) or sum(not is_alive(pid) for pid in children(last)) > worker.UNBURIED)
    laboratory.result("echo")
    until(lambda: not is_alive(last))
    assert last != laboratory.result("echo", priority=99).result["pid"]
