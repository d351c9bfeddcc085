"""Nothing outlives the daemon: not the zygote, no app process, no worker, nothing a handler has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import APPS, ROOT, New, children, descendants, is_alive, until

DAEMON = """\
import os, sys
from pathlib import Path
from bus.cpu import zygote
zygote.start()
from gevent import monkey
monkey.patch_all()
import gevent
from bus.clock import Clock
from bus.cpu.app_version import Apps
from bus.cpu.worker_pool import WorkerPool, PoolOptions
from bus.cpu.worker_handle import WorkItem
from bus.posting import prepare
from bus.apps.options import Options
worker_pool = WorkerPool(zygote.connection(), Apps(("laboratory",), (Path(sys.argv[1]),)), PoolOptions(2))
clock = Clock()
for words in (["burn", 600], ["breed", sys.argv[2], sys.argv[3]]):
    task = prepare(clock, "laboratory." + words[0], words[1:], {}, Options(), {})
    gevent.spawn(worker_pool.perform, WorkItem(task, None, lambda words: None))
while not (os.path.exists(sys.argv[2]) and Path(sys.argv[2]).read_text()):
    gevent.sleep(0.01)
print("ready", flush=True)
gevent.sleep(600)
"""
"""A daemon reduced to its worker pool: real zygote, one worker computes, one has a child."""


class Family:
    """That daemon, and everybody who comes from it."""

    def __init__(self, place: Path, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(APPS), str(place), how],
            cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert b"ready\n" == self.process.stdout.readline()
        self.members = descendants(self.process.pid)
        (self.zygote,) = children(self.process.pid)
        (self.template,) = children(self.zygote)

    def is_gone(self) -> bool:
        return not any(is_alive(pid) for pid in self.members)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pid in self.members:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["program", "fork", "session"])
def family(request: pytest.FixtureRequest, tmp_path: Path):
    """With a child by exec, by fork, and one that has made a session of its own."""
    made = Family(tmp_path / "pids", request.param)
    yield made
    made.end()


@pytest.mark.parametrize("victim", ["daemon", "zygote", "app process"])
def test_whoever_is_killed_takes_all_descendants_along(family: Family, victim):
    """SIGKILL, while one worker computes and another one has a child."""
    pid = {"daemon": family.process.pid, "zygote": family.zygote, "app process": family.template}[victim]
    os.kill(pid, signal.SIGKILL)

    if victim == "app process":
        family.members = (family.members - {family.zygote}) & family.members
    until(family.is_gone)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_daemons_whole_group_reach_no_worker(family: Family, number):
    """Ctrl-C and service managers send to everybody; who drains is the daemon's affair."""
    for pid in (family.zygote, family.template, *children(family.template)):
        os.kill(pid, number)

    assert all(is_alive(pid) for pid in family.members)


def test_a_farm_that_is_stopped_leaves_nobody(new_laboratory: New, tmp_path: Path):
    laboratory = new_laboratory(2)
    place = tmp_path / "pids"
    laboratory.begin("breed", str(place), "session")
    laboratory.begin("burn", 600)
    until(lambda: place.exists() and place.read_text())
    members = descendants(laboratory.zygote.process.pid)
    laboratory.worker_pool.stop()
    laboratory.zygote.process.wait(10)

    assert len(members) >= 4
    until(lambda: not any(is_alive(pid) for pid in members))
