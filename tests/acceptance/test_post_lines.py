"""`post --from` beside a daemon, killed in the middle as often as it takes: each line is one task."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.program import PROGRAM

from .conftest import New
from .daemons import PATIENCE, Daemon, until

CALLS = 6_000
KILLS = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL)
APP = """\
from monqbus import event_handler, task

@task(result_type="keep")
def note(number):
    return number

@event_handler("order.paid", result_type="keep")
def ship(topic, number):
    return number
"""
CONFIG = """\
[monqbus]
data_dir = ./data
store = {store}
apps = listed
path = .
[worker]
drain = 2s
[http]
listen = 127.0.0.1:0
"""


@pytest.mark.parametrize(("verb", "name"), [("post", "listed.note"), ("event", "order.paid")])
def test_a_run_that_is_killed_again_and_again_posts_each_line_once(
    address: str, new_daemon: New, tmp_path: Path, verb: str, name: str
) -> None:
    """SIGKILL or Ctrl-C wherever it is, then the same command: nothing twice and nothing lost."""
    (tmp_path / "listed.py").write_text(APP)
    daemon = new_daemon(address, text=CONFIG).start()
    lines, journal = tmp_path / "calls.jsonl", tmp_path / "calls.jsonl.journal"
    lines.write_text("".join(f"[{number}]\n" for number in range(CALLS)))
    words = [verb, name, "--from", str(lines)]
    for number, kill in enumerate(KILLS):
        command = [*PROGRAM, *words, "--config", str(daemon.config)]
        with subprocess.Popen(command, cwd=tmp_path, start_new_session=True) as run:
            until(lambda: journal.read_text().splitlines() if journal.exists() else [], 2 + 2 * number)
            os.killpg(run.pid, kill)  # an executable has a process in front of it
    ended = daemon.monqbus(*words)

    assert 0 == ended.returncode
    assert dict.fromkeys(range(CALLS), 1) == ran(daemon)


def ran(daemon: Daemon) -> Counter[int]:
    """How many tasks have ended with each number; `count` lets the daemon take over what waits before."""

    def complete() -> list[str]:
        counted = json.loads(daemon.monqbus("count", "--json").stdout)
        return ["complete"] * counted["complete"]

    until(complete, CALLS, 2 * PATIENCE)
    listed = daemon.monqbus("list", "--json", "--limit", str(2 * CALLS)).stdout
    return Counter(json.loads(row)["result"] for row in listed.splitlines())
