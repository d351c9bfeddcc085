"""The log of a daemon that is not read, and what others than the daemon print into it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .activation import descriptors
from .conftest import New
from .daemons import Daemon, until

APP = """\
import os
import subprocess

import gevent

from monqbus import event_handler, task

FORGED = "12:00:00.000 INFO    task.finished task=0000\\x1b[2J\\x9b2J\\u202e\\u061c\\u200b"


def say(who):
    print(who, FORGED, flush=True)


@event_handler("open.all")
def everybody(topic, event):
    say("task")
    subprocess.run(["printf", "child %s\\\\n", FORGED], check=True)
    gevent.spawn(say, "greenlet").join()
    gevent.get_hub().threadpool.apply(say, ("thread",))
    os.write(2, b"library \\xff" + FORGED.encode() + b"\\n")


@task(cpu=True)
def worker():
    subprocess.run(["printf", "grandchild %s\\\\n", FORGED], check=True)
"""
CONFIG = """\
[monqbus]
data_dir = ./data
apps = printing
path = ./apps
log_format = {format}
[worker]
drain = 2s
[http]
listen = 127.0.0.1:0
[hook:open]
verify = none
topic = open.{{header:X-Kind}}
"""
PIPE_BYTES = 64 * 1024
LINE_BYTES = 180  # what one delivery is in the log, at the least
SPEAKERS = ("child", "greenlet", "thread", "library", "grandchild")

Printing = Callable[[str], Daemon]


@pytest.fixture
def printing(new_daemon: New, tmp_path: Path) -> Printing:
    """A daemon with the app above, not started; its log in one of the two formats."""

    def make(log_format: str) -> Daemon:
        (tmp_path / "apps").mkdir()
        (tmp_path / "apps" / "printing.py").write_text(APP)
        return new_daemon(text=CONFIG.replace("{format}", log_format))

    return make


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_whoever_prints_prints_escaped_lines(printing: Printing, log_format: str) -> None:
    """A task, its greenlets, threads, children, a C library, a worker's child: nobody forges a line."""
    daemon = printing(log_format).start()
    daemon.request("POST", "/hooks/open", headers={"X-Kind": "all"})
    daemon.monqbus("post", "printing.worker", "--wait", "10")
    for speaker in SPEAKERS:
        daemon.wait_for("output.printed", speaker)
    daemon.stop()
    facts = [line.split()[2] if log_format == "text" else json.loads(line)["fact"] for line in daemon.lines]

    assert all(line.isprintable() for line in daemon.lines)
    assert 2 == facts.count("task.finished")
    assert len(SPEAKERS) == facts.count("output.printed")


def test_a_log_that_nobody_reads_stops_nothing(printing: Printing) -> None:
    """Two pipes full of lines: each delivery is answered, and TERM ends the daemon."""
    daemon = printing("text")
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as log:
        daemon.process = subprocess.Popen(
            [*daemon.program, "run", "--config", str(daemon.config)],
            stderr=writing, stdout=subprocess.DEVNULL, cwd=daemon.config.parent, env=daemon.environ,
        )  # fmt: skip
        os.close(writing)
        daemon.log.write_bytes(log.readline() + log.readline())
        statuses = [
            daemon.request("POST", "/hooks/open", headers={"X-Kind": "k" * 100})[0]
            for _ in range(2 * PIPE_BYTES // LINE_BYTES)
        ]
        health = daemon.request("GET", "/healthz")[0]
        daemon.signal(signal.SIGTERM)
        code = daemon.wait()
        rest = log.read()

    assert ({202}, 200, 0) == (set(statuses), health, code)
    assert 0 < rest.count(b"event.unhandled") < len(statuses)


def test_a_closed_standard_input_is_an_empty_one(printing: Printing) -> None:
    """Else the number belongs to the next file that is opened, and commands would read that."""
    daemon = printing("text")
    daemon.program = ["sh", "-c", 'exec "$@" 0<&-', "sh", *daemon.program]
    daemon.start()

    assert "/dev/null" == descriptors(daemon.pid)[0]
    assert 0 == daemon.stop()


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_daemon_without_standard_streams_serves(printing: Printing, closed: str) -> None:
    """As at(1) and old init scripts start it: what is printed leads nowhere, and into no other file."""
    daemon = printing("text")
    words = [*daemon.program, "run", "--config", str(daemon.config)]
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *words],
            stdout=log, stderr=log, cwd=daemon.config.parent, env=daemon.environ,
        )  # fmt: skip
    until(lambda: [str(path) for path in daemon.config.parent.glob("data/control.sock")], 1)
    ran = daemon.monqbus("post", "printing.worker", "--wait", "10")

    assert (0, 0) == (ran.returncode, daemon.stop())
