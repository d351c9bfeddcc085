"""A process is called dead only when that is certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bus.process.identity import ProcessIdentity, is_dead, of_this_process

HERE = of_this_process()
NEVER_A_PID = 2**22 + 1  # beyond the largest pid Linux gives out


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[bytes], ProcessIdentity]]:
    """Another process that lives until it is told to end, and its birth as it says itself."""
    code = (
        "import sys; from bus.process.identity import of_this_process as b; "
        "print(*b(), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    boot, space, pid, start = process.stdout.readline().decode().split()
    yield process, ProcessIdentity(boot, space, int(pid), int(start))
    process.kill()
    process.communicate()


def test_this_process_lives():
    assert HERE is not None
    assert not is_dead(HERE, HERE)


def test_two_processes_of_one_machine_have_one_boot_and_two_births(other):
    _, born = other

    assert (born.boot, born.space) == (HERE.boot, HERE.space)
    assert born.pid != HERE.pid
    assert not is_dead(born, HERE)


def test_a_killed_process_is_dead_before_and_after_its_parent_has_asked_for_it(other):
    """A zombie does nothing any more, although its pid is still taken."""
    process, born = other
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(born, HERE)
    process.wait()

    assert is_dead(born, HERE)


def test_a_stopped_process_is_not_dead(other):
    """It may go on at any moment: only its lease tells when others may have its tasks."""
    process, born = other
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    assert not is_dead(born, HERE)


def test_a_pid_that_a_later_process_has_is_no_proof_of_life():
    assert is_dead(HERE._replace(start=HERE.start - 1), HERE)


@pytest.mark.parametrize("unlike", [{"boot": "another"}, {"space": "pid:[1]"}])
def test_what_cannot_be_seen_from_here_is_never_called_dead(unlike):
    """Another machine, a reboot, a container: their pids mean nothing here."""
    assert not is_dead(HERE._replace(pid=NEVER_A_PID, **unlike), HERE)


def test_who_does_not_know_himself_calls_nobody_dead():
    assert not is_dead(HERE._replace(pid=NEVER_A_PID), None)
