"""A command that is cut short takes all along that came from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import gevent
import pytest

from bus.apps import command
from bus.apps.command import Command
from bus.engine.run import Run
from bus.errors import Withdrawn
from bus.process import parent_death, tree
from tests.cpu.conftest import is_alive

from .test_command import capture, deliver, until

__all__ = ["capture"]

SHELL = "/bin/sh"
ESCAPES = {
    "a session of its own": "setsid sleep 600 & echo $! > pid; sleep 600",
    "deaf to TERM": "setsid sh -c 'trap \"\" TERM; echo $$ > pid; while true; do sleep 1; done' & sleep 600",
    "an orphan by now": "setsid -f sh -c 'echo $$ > pid; exec sleep 600'; sleep 600",
    "an orphan of no environment": "env -i setsid -f sh -c 'echo $$ > pid; exec sleep 600'; sleep 600",
    "a daemon": "(setsid sh -c '(setsid sh -c \"echo \\$\\$ > pid; exec sleep 600\" &)' &); sleep 600",
    "stopped": "setsid sh -c 'echo $$ > pid; kill -STOP $$; sleep 600' & sleep 600",
}


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen[bytes]]:
    """A process that comes from no command."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to wait for the product's seconds."""
    monkeypatch.setattr(command, "KILL_SECONDS", 0.3)


@pytest.mark.parametrize("script", ESCAPES.values(), ids=ESCAPES)
def test_no_process_of_a_timed_out_command_is_left(engine, tmp_path, capture, neighbour, script: str):
    """In whatever session it is, whoever its parent is by now; nobody else is touched."""
    capture.start()
    task = deliver(engine, Command((SHELL, "-c", script), tmp_path), timeout=1.0)
    ended = engine.perform(task)
    pid = int((tmp_path / "pid").read_text())

    assert "TimedOut" in ended.history[0]["error"]
    until(lambda: not is_alive(pid))
    assert is_alive(neighbour.pid)


@pytest.fixture
def adopting() -> Iterator[None]:
    """Orphans become children of this process, as they do of the daemon."""
    parent_death.adopt_orphans()
    yield
    parent_death._prctl(parent_death.PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.usefixtures("adopting")
def test_one_that_forks_without_pause_is_ended_too(engine, tmp_path, capture):
    """Each child in a session of its own, its parent gone at once, the command too at the first signal."""
    code = (
        "import os, sys, time\n"
        "for _ in range(5000):\n"  # one that gets away must not take the machine's process ids
        "    if os.fork():\n"
        "        os._exit(0) if os.getpid() != int(sys.argv[1]) else time.sleep(600)\n"
        "    os.setsid()\n"
        "    open('pids', 'a').write('%d\\n' % os.getpid())\n"
        "    time.sleep(0.002)\n"
    )
    before, pids = set(tree.children(os.getpid())), tmp_path / "pids"
    capture.start()
    words = (SHELL, "-c", f'exec {sys.executable} -c "$0" $$', code)
    deliver(engine, Command(words, tmp_path))
    (task,) = engine.store.claim(engine.instance, engine.registry.tasks, 1, engine.clock.now()).tasks
    started = Run(task, engine.clock.monotonic())
    running = gevent.spawn(engine.executor.run, started)
    try:
        until(lambda: pids.exists() and len(pids.read_text().split()) > 100)
    finally:
        started.interrupt(Withdrawn())
    running.join()

    until(lambda: set(tree.children(os.getpid())) <= before)  # whoever lived on would be adopted by now


def test_one_whose_time_is_up_while_it_starts_never_begins(engine, tmp_path, capture, monkeypatch):
    """On a busy machine the start takes its time, and the interrupt comes in the middle of it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(command, "_settle", lambda _: os.close(os.open(gate, os.O_RDONLY)))
    before = set(tree.children(os.getpid()))
    capture.start()
    task = deliver(engine, Command((SHELL, "-c", "touch ran"), tmp_path), timeout=0.1)
    ended = engine.perform(task)

    assert "TimedOut" in ended.history[0]["error"]
    until(lambda: set(tree.children(os.getpid())) <= before)
    assert not (tmp_path / "ran").exists()


def test_what_a_command_leaves_behind_on_purpose_lives_on(engine, tmp_path, capture):
    """When it ends by itself: it may have started a service."""
    capture.start()
    task = deliver(engine, Command((SHELL, "-c", "setsid sleep 600 & echo $! > pid"), tmp_path), timeout=10.0)
    ended = engine.perform(task)
    pid = int((tmp_path / "pid").read_text())

    assert ("complete", True) == (ended.state, is_alive(pid))
    os.kill(pid, 9)
