"""Stopping, killing and reloading a running daemon."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .conftest import CONFIG, New

APP = "from monqbus import task\n\n@task\ndef version():\n    return {number}\n"


def test_term_lets_a_running_task_end(new_daemon: New, ran):
    """Within the drain time a task runs to its end and the exit code is 0."""
    daemon = new_daemon().start()
    daemon.monqbus("post", "accepted.linger", "--args", "[0.5]")

    code = daemon.stop()

    assert 0 == code
    assert ["began 1", "ended 1"] == ran()


def test_what_outlasts_the_drain_goes_back_without_using_an_attempt(new_daemon: New, ran):
    """A task that is cut short is ready again with the attempt given back."""
    daemon = new_daemon().start()
    daemon.monqbus("post", "accepted.linger", "--args", "[60]")
    ran(1)

    code = daemon.stop()
    listed = daemon.monqbus("list", "--json").stdout

    assert 0 == code
    assert '"state": "ready"' in listed
    assert '"attempt": 0' in listed


def test_a_killed_daemon_loses_nothing(new_daemon: New, ran):
    """After SIGKILL in the middle of a task the next start runs it again at once."""
    daemon = new_daemon().start()
    task_id = daemon.monqbus("post", "accepted.linger", "--args", "[0.8]").stdout.strip()
    ran(1)
    daemon.kill()

    daemon.start()
    daemon.wait_for("task.rescued", task_id)
    daemon.wait_for("task.finished", task_id)

    assert ["began 1", "began 1", "ended 1"] == ran()


def test_a_second_daemon_on_the_same_data_is_refused(new_daemon: New):
    """Exit 73, and the message names who holds the store."""
    first = new_daemon().start()
    second = new_daemon(name="second")

    second.launch()

    assert 73 == second.wait()
    assert first.process is not None
    assert f"held by pid {first.process.pid}" in "\n".join(second.lines)


def test_hup_brings_new_code_and_keeps_the_old_when_the_new_is_bad(new_daemon: New, tmp_path: Path):
    """A reload swaps code; a syntax error or a bad setting changes nothing and is told."""
    app = tmp_path / "apps" / "changing.py"
    app.parent.mkdir()
    app.write_text(APP.format(number=1))
    text = CONFIG.replace("apps = accepted", "apps = changing").replace("path = {apps}", "path = ./apps")
    daemon = new_daemon(text=text).start()

    def answer() -> str:
        return daemon.monqbus("post", "changing.version", "--wait", "10").stdout.split()[-1]

    first = answer()
    app.write_text(APP.format(number=22))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    second = answer()
    app.write_text("def broken(:\n")
    daemon.signal(signal.SIGHUP)
    refused = daemon.wait_for("config.refused")
    third = answer()
    good = daemon.config.read_text()
    daemon.config.write_text(good + "[worker2]\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.refused", "worker2")
    daemon.config.write_text(good)  # a command would refuse the bad one too
    fourth = answer()

    assert ["1", "22", "22", "22"] == [first, second, third, fourth]
    assert "changing.py:1" in refused


def test_usr1_tells_what_every_slot_is_doing(new_daemon: New, ran):
    """The log names the running task."""
    daemon = new_daemon().start()
    task_id = daemon.monqbus("post", "accepted.linger", "--args", "[1]").stdout.strip()
    ran(1)

    daemon.signal(signal.SIGUSR1)

    assert "taken=1" in daemon.wait_for("slots.described")
    assert task_id in daemon.wait_for("slot.described")


@pytest.mark.parametrize("pause", [True, False], ids=["a second later", "at once"])
def test_a_second_term_stops_at_once_unless_it_is_the_same_one(new_daemon: New, ran, pause):
    """The bootloader of a one-file binary and a process group send TERM twice; a person waits."""
    text = CONFIG.replace("drain = 2s", "drain = 3s")
    daemon = new_daemon(text=text).start()
    daemon.monqbus("post", "accepted.linger", "--args", "[2]")
    ran(1)
    daemon.signal(signal.SIGTERM)
    if pause:
        daemon.wait_for("daemon.draining")
        with pytest.raises(Exception, match="timed out"):
            daemon.wait(1.2)
    daemon.signal(signal.SIGTERM)
    daemon.wait()

    assert (["began 1"] if pause else ["began 1", "ended 1"]) == ran()
