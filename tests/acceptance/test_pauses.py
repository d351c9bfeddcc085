"""Pauses of real daemons: over a restart, a SIGKILL, and in every daemon of a database."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from tests.mongod import Deployment

from .conftest import CONFIG, New, Ran
from .daemons import Daemon

WHY = ("--reason", "a freeze")


def deliver(daemon: Daemon, number: int, kind: str = "a") -> None:
    """One delivery, which is accepted whatever is paused."""
    headers = {"X-Kind": kind, "Content-Type": "application/json"}
    status, _ = daemon.request("POST", "/hooks/open", json.dumps({"number": number}).encode(), headers)
    assert 202 == status


def waiting(daemon: Daemon) -> int:
    """How many tasks are paused, as `count` says."""
    paused: int = json.loads(daemon.monqbus("count", "--json").stdout)["paused"]
    return paused


def test_a_pause_holds_over_a_restart_and_a_kill_and_deliveries_are_accepted(
    new_daemon: New, ran: Ran, address: str
) -> None:
    daemon = new_daemon(address)
    daemon.start()
    daemon.monqbus("pause", "accepted.linger", *WHY)
    daemon.wait_for("pause.began")
    daemon.monqbus("post", "accepted.linger", "--args", "[0]")
    daemon.stop()
    daemon.start()
    daemon.wait_for("pause.began")
    daemon.monqbus("post", "accepted.linger", "--args", "[0]")
    daemon.kill()
    daemon.start()
    daemon.monqbus("post", "accepted.linger", "--args", "[0]")
    done = daemon.monqbus("post", "accepted.add", "--args", "[1, 2]", "--wait", "10")

    assert "3" == done.stdout.splitlines()[-1]
    assert 3 == waiting(daemon)
    assert [] == ran()
    daemon.monqbus("resume", "accepted.linger")
    assert 6 == len(ran(6))
    assert 0 == waiting(daemon)


def test_a_delivery_for_a_paused_handler_is_accepted_and_runs_afterwards(
    new_daemon: New, ran: Ran, address: str
) -> None:
    daemon = new_daemon(address, text=CONFIG.replace("topic = open.{{header:X-Kind}}", "topic = github.push"))
    daemon.start()
    daemon.monqbus("pause", "accepted.note", *WHY)
    daemon.wait_for("pause.began")
    for number in range(3):
        deliver(daemon, number)

    assert 3 == waiting(daemon)
    assert [] == ran()
    daemon.monqbus("resume", "--all")
    assert {"0", "1", "2"} == {line.split()[-1] for line in ran(3)}


def test_the_deliveries_of_a_paused_hook_are_accepted_and_run_after_a_restart_and_its_end(
    new_daemon: New, ran: Ran
) -> None:
    one_hook = CONFIG[: CONFIG.index("[hook:github]")] + CONFIG[CONFIG.index("[hook:open]") :]
    daemon = new_daemon(text=one_hook.replace("topic = open.", "topic = github."))
    daemon.start()
    said = daemon.monqbus("pause", "--hook", "open", *WHY)
    daemon.wait_for("pause.began", "hook open")
    for number in range(3):
        deliver(daemon, number, "push")
    daemon.kill()
    daemon.start()

    assert "paused hook open\n" == said.stdout
    assert 3 == waiting(daemon)
    assert [] == ran()
    assert "paused: hook open: a freeze" in str(daemon.request("GET", "/readyz"))
    daemon.monqbus("resume", "--hook", "open")
    assert {"0", "1", "2"} == {line.split()[-1] for line in ran(3)}


def test_a_pause_ends_by_itself(new_daemon: New, ran: Ran, address: str) -> None:
    daemon = new_daemon(address)
    daemon.start()
    daemon.monqbus("pause", "--all", *WHY, "--until", "5s")
    daemon.wait_for("pause.began")
    daemon.monqbus("post", "accepted.linger", "--args", "[0]")

    assert 2 == len(ran(2))
    daemon.wait_for("pause.ended")
    assert "" == daemon.monqbus("pauses").stdout


def test_every_daemon_of_a_database_holds_to_a_pause_of_either(
    new_daemon: New, ran: Ran, standalone: Deployment
) -> None:
    """The command writes into the database alone; each daemon finds it there."""
    address = standalone.address(f"paused_{uuid4().hex[:8]}")
    daemons = [
        new_daemon(address, name=name, text=CONFIG.replace("./data", f"./{name}")).start()
        for name in ("one", "two")
    ]
    daemons[0].monqbus("pause", "*.linger", *WHY)
    for daemon in daemons:
        daemon.wait_for("pause.began", "*.linger")
    for _ in range(4):
        daemons[1].monqbus("post", "accepted.linger", "--args", "[0]")
    daemons[0].kill()
    daemons[0].start()

    assert [4, 4] == [waiting(daemon) for daemon in daemons]
    assert [] == ran()
    daemons[1].monqbus("resume", "*.linger")
    assert 8 == len(ran(8))


def test_a_breaker_opens_by_itself_is_shown_holds_over_a_kill_and_closes_when_one_succeeds(
    new_daemon: New, address: str, tmp_path: Path
) -> None:
    """A command whose receiver is down, and comes back."""
    up = tmp_path / "up"
    text = CONFIG + (
        f"[handler:mail]\ntopic = open.a\ncommand = /usr/bin/test -e {up}\n"
        "open_after = 3 failures in 1m\nprobe = 1s\nmax_attempts = 1\n"
    )
    daemon = new_daemon(address, text=text)
    daemon.start()
    for number in range(3):
        deliver(daemon, number)
    daemon.wait_for("breaker.opened")
    daemon.kill()
    daemon.start()
    deliver(daemon, 4)
    deliver(daemon, 5)
    shown = daemon.monqbus("pauses").stdout
    said = daemon.monqbus("doctor").stdout

    assert "handler:mail  " in shown
    assert "3 failures in 1m, the last one: CommandFailed: " in shown
    assert "handler:mail: 3 failures in 1m" in said
    up.touch()
    deliver(daemon, 6)
    daemon.wait_for("breaker.closed")
    deliver(daemon, 7)
    daemon.wait_for("task.finished", times=2)
    assert "" == daemon.monqbus("pauses").stdout
