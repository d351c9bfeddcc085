"""CPU tasks in a real daemon: other processes, killed, reloaded, drained."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.cpu.conftest import children, descendants, is_alive
from tests.cpu.conftest import until as await_fact

from .conftest import CONFIG, New, Ran
from .daemons import Daemon

HEAVY = CONFIG.replace("apps = accepted", "apps = heavy").replace(
    "[worker]", "[worker]\ncpu_workers = 2\nmax_attempts = 1"
)
VERSION = """\
import os, time
from pathlib import Path
from monqbus import task
@task(cpu=True)
def version(seconds):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("began {number}\\n")
    time.sleep(seconds)
    return {number}
"""


@pytest.fixture
def heavy(new_daemon: New) -> Daemon:
    """A daemon with two workers."""
    return new_daemon(text=HEAVY).start()


def pid_of(daemon: Daemon) -> int:
    """The process above all workers: of an executable not the one that was started."""
    return daemon.pid


def post(daemon: Daemon, name: str, *args: object) -> str:
    """The id of a new task."""
    return daemon.monqbus("post", name, "--args", json.dumps(args)).stdout.strip()


def result(daemon: Daemon, name: str, *args: object) -> str:
    """What a new task returns, as it is printed."""
    words = ["post", name, "--args", json.dumps(args), "--wait", "10"]
    return daemon.monqbus(*words).stdout.splitlines()[-1]


def shown(daemon: Daemon, task_id: str) -> dict[str, object]:
    shown: dict[str, object] = json.loads(daemon.monqbus("show", task_id, "--json").stdout)
    return shown


def test_a_cpu_task_runs_in_a_process_that_comes_from_the_zygote(heavy: Daemon):
    """Three generations below the daemon, each with its title."""
    worker, template = json.loads(result(heavy, "heavy.where"))
    (zygote,) = children(pid_of(heavy))

    assert [template] == children(zygote)
    assert [worker] == children(template)
    titles = [Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") for pid in (zygote, template, worker)]
    assert [b"monqbus zygote", b"monqbus apps", b"monqbus worker: idle"] == titles


def test_a_killed_daemon_leaves_nobody_and_loses_nothing(heavy: Daemon, ran: Ran):
    """Not the zygote, not a worker that computes, not a handler's child in a session of its own."""
    task_id = post(heavy, "heavy.breed")
    child = int(ran(1)[0].split()[1])
    members = descendants(pid_of(heavy))
    heavy.kill()
    await_fact(lambda: not any(is_alive(pid) for pid in members))
    heavy.start()
    heavy.wait_for("task.finished", task_id)

    assert child in members
    assert "ended 2" == ran(2)[-1]


def test_a_daemon_without_its_zygote_stops_for_its_manager_to_start_it_anew(heavy: Daemon, ran: Ran):
    """It cannot make workers any more; nobody stays behind."""
    task_id = post(heavy, "heavy.breed")
    ran(1)
    members = descendants(pid_of(heavy))
    (zygote,) = children(pid_of(heavy))
    os.kill(zygote, signal.SIGKILL)
    code = heavy.wait()

    assert 1 == code
    assert heavy.wait_for("cpu.lost")
    await_fact(lambda: not any(is_alive(pid) for pid in members))
    heavy.start()
    heavy.wait_for("task.finished", task_id)


def test_workers_that_compute_do_not_hold_up_the_hub(heavy: Daemon, ran: Ran):
    """Requests are answered, and posts too, while every worker is busy."""
    for _ in range(2):
        post(heavy, "heavy.burn", 60)
    ran(2)
    answers = [heavy.request("GET", "/readyz")[0] for _ in range(20)]

    assert [200] * 20 == answers
    assert ["began 1"] * 2 == ran()
    assert not [line for line in heavy.lines if "hub.blocked" in line]


def test_term_to_the_whole_group_lets_a_cpu_task_end(heavy: Daemon, ran: Ran):
    """A service manager sends it to every process; within the drain time the task runs to its end."""
    post(heavy, "heavy.burn", 0.7)
    ran(1)
    for pid in (pid_of(heavy), *descendants(pid_of(heavy))):
        os.kill(pid, signal.SIGTERM)

    assert 0 == heavy.wait()
    assert ["began 1", "ended 1"] == ran()


def test_a_cpu_task_that_outlasts_the_drain_goes_back(heavy: Daemon, ran: Ran):
    """Ready again with the attempt given back, no crash counted, nobody left."""
    task_id = post(heavy, "heavy.burn", 60)
    ran(1)
    members = descendants(pid_of(heavy))
    code = heavy.stop()
    heavy.wait_for("daemon.stopped", "released=1")
    listed = json.loads(heavy.monqbus("list", "--json").stdout)

    assert (0, task_id, "ready", 0) == (code, listed["id"], listed["state"], listed["attempt"])
    await_fact(lambda: not any(is_alive(pid) for pid in members))


def test_a_running_cpu_task_is_cancelled(heavy: Daemon, ran: Ran):
    """Its handler ends long before its time, and the worker's place is free."""
    ids = [post(heavy, "heavy.burn", 60) for _ in range(2)]
    ran(2)
    heavy.monqbus("cancel", *ids)
    heavy.wait_for("task.skipped", times=2)

    assert result(heavy, "heavy.where")
    assert "skipped" == shown(heavy, ids[0])["state"]


def test_three_crashes_end_in_an_error_that_names_the_signal(heavy: Daemon):
    task_id = post(heavy, "heavy.segfault")
    heavy.wait_for("task.gave_up", task_id)

    assert "quarantined after 3 crashes: killed by SIGSEGV" == shown(heavy, task_id)["result"]
    assert result(heavy, "heavy.where")


def test_hup_brings_new_code_to_workers_and_drops_no_running_task(new_daemon: New, ran: Ran, tmp_path: Path):
    app = tmp_path / "apps" / "changing.py"
    app.parent.mkdir()
    app.write_text(VERSION.format(number=1))
    text = HEAVY.replace("apps = heavy", "apps = changing").replace("path = {apps}", "path = ./apps")
    daemon = new_daemon(text=text).start()
    old = post(daemon, "changing.version", 8)
    ran(1)
    app.write_text(VERSION.format(number=2))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    fresh = result(daemon, "changing.version", 0)
    still = shown(daemon, old)["state"]
    daemon.wait_for("task.finished", old)

    assert ("2", "busy") == (fresh, still)
    assert 1 == shown(daemon, old)["result"]


def test_a_guilty_task_is_found_and_the_innocent_one_beside_it_is_cleared(heavy: Daemon, ran: Ran):
    """After the crash both run alone: from then on the daemon lives."""
    bystander = post(heavy, "heavy.bystander")
    ran(1)
    guilty = post(heavy, "heavy.guilty")
    assert -signal.SIGSEGV == heavy.wait()
    heavy.start()
    heavy.wait_for("task.gave_up", guilty)
    heavy.wait_for("task.finished", bystander)

    assert "quarantined after 3 crashes: killed by SIGSEGV" == shown(heavy, guilty)["result"]
    assert "complete" == shown(heavy, bystander)["state"]
    assert 0 == heavy.stop()


def test_check_says_what_runs_in_a_worker(new_daemon: New):
    lines = new_daemon(text=HEAVY).monqbus("check").stdout.splitlines()
    marked = {line.split()[1] for line in lines if line.startswith("task ") and line.endswith("(cpu)")}

    assert {"heavy.where", "heavy.burn", "heavy.breed", "heavy.segfault"} == marked
