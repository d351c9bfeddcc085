"""A zygote of its own for each test, and an engine whose executor knows the farm."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from bus.apps import loading, registry
from bus.cpu.app_version import Apps
from bus.cpu.worker_pool import PoolOptions, WorkerPool
from bus.engine.cpu_runner import CpuRunner
from bus.engine.run import Run
from bus.model import MonQTask
from tests.engine.conftest import Engine, Facts, facts

__all__ = ["Facts", "facts"]

APPS = Path(__file__).parent / "apps"
ROOT = Path(__file__).parents[2]
MODULES = ("laboratory",)
PATIENCE = 20.0
ZYGOTE = """\
import os, socket, sys
from bus.cpu import zygote
zygote.serve(socket.socket(fileno=int(sys.argv[1])), os.getppid())
"""
"""What `zygote.start` forks, started afresh: the process of the tests is patched and has threads."""


class Zygote:
    """A zygote as a subprocess, and the descriptor of our end."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE, str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd=ROOT
        )
        theirs.close()
        self.descriptor = ours.detach()


class Laboratory(Engine):
    """An engine with a farm whose apps are those of *folder*."""

    def __init__(self, limits: PoolOptions, folder: Path = APPS, modules: tuple[str, ...] = MODULES) -> None:
        super().__init__(slots=10)
        self.zygote = Zygote()
        self.worker_pool = WorkerPool(self.zygote.descriptor, Apps(modules, (folder,)), limits)
        self.executor.cpu_runner = CpuRunner(self.worker_pool, lambda: self.office, self.clock)
        self.registry = loading.load(modules, [folder], afresh=True)
        self.names["greenlets"] |= set(self.registry.tasks)
        self._arrange()

    def post(self, name: str, *args: Any, **options: Any) -> MonQTask:
        """A waiting task of the laboratory."""
        return self.waiting(*args, name=f"laboratory.{name}", **options)

    def begin(self, name: str, *args: Any, **options: Any) -> tuple[Run, gevent.Greenlet]:
        """Claim a new task and let the executor carry it out; the caller waits for its end."""
        return self.begin_task(self.post(name, *args, **options))

    def begin_task(self, task: MonQTask) -> tuple[Run, gevent.Greenlet]:
        """The same with a task that waits."""
        (claimed,) = self.store.claim(self.instance, [task.task_name], 1, self.clock.now()).tasks
        run = Run(claimed, self.clock.monotonic())
        return run, gevent.spawn(self.executor.run, run)

    def result(self, name: str, *args: Any, **options: Any) -> MonQTask:
        """The stored task after one run of it."""
        run, greenlet = self.begin(name, *args, **options)
        return self.ended(run, greenlet)

    def ended(self, run: Run, greenlet: gevent.Greenlet) -> MonQTask:
        """The stored task once *greenlet* has carried out *run*."""
        greenlet.join(PATIENCE)
        assert greenlet.successful(), "the executor raised or did not end"
        self.recorder.tick()
        return self.now(run.task)

    def close(self) -> None:
        """Stop the farm; nothing stays behind."""
        self.worker_pool.stop()
        self.zygote.process.wait(PATIENCE)
        super().close()


New = Callable[..., Laboratory]


@pytest.fixture
def new_laboratory(monkeypatch: pytest.MonkeyPatch) -> Iterator[New]:
    """Makes laboratories with so many workers; what they import here is forgotten afterwards."""
    monkeypatch.setattr(registry, "_registry", registry.Registry())
    monkeypatch.setattr(sys, "path", list(sys.path))
    made: list[Laboratory] = []

    def new(instances: int = 1, *, tasks: int = 0, size: int = 0, **more: Any) -> Laboratory:
        made.append(Laboratory(PoolOptions(instances, tasks, size), **more))
        return made[-1]

    yield new
    for laboratory in made:
        laboratory.close()


@pytest.fixture
def laboratory(new_laboratory: New) -> Laboratory:
    """A laboratory with one worker."""
    return new_laboratory()


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What *condition* gives once it is true: of another process's doings nobody tells."""
    with gevent.Timeout(seconds, AssertionError(f"not so within {seconds} s")):
        while not (found := condition()):
            gevent.sleep(0.01)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """All processes that come from *pid*."""
    found: set[int] = set()
    for child in children(pid):
        found |= {child} | descendants(child)
    return found


def children(pid: int) -> list[int]:
    """Those that *pid* itself has forked."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(one) for thread in threads for one in (thread / "children").read_text().split()]
    except OSError:
        return []
