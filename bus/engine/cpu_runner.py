"""Runs cpu tasks in workers, and serves what their handlers ask of the daemon meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gevent

from ..apps.calls import Announcement, Batch, prepare
from ..apps.options import Options
from ..apps.registry import Task
from ..apps.running_task import RunningTask
from ..clock import Clock
from ..config import Config
from ..cpu.app_version import Apps
from ..cpu.message import of_task, task_of
from ..cpu.worker_handle import WorkItem
from ..cpu.worker_pool import PoolOptions, WorkerPool
from ..model import Event
from ..posting import PostOffice
from ..retry import Ending
from .run import Run

Words = Mapping[str, Any]
Tasks = Mapping[str, Task[..., Any]]


class CpuRunner:
    """Sends runs to the *worker_pool* and carries out what their handlers ask for there.

    *office* is looked up at each request: it is built later.
    """

    def __init__(self, worker_pool: WorkerPool, office: Callable[[], PostOffice], clock: Clock) -> None:
        self.worker_pool = worker_pool
        self._office = office
        self._clock = clock
        self._verbs: Mapping[str, Callable[[Words], dict[str, Any]]] = {
            "post": self._post,
            "publish": self._publish,
            "store": self._store,
            "look": self._look,
        }

    def perform(self, run: Run, running: RunningTask, seconds: float | None, *, alone: bool) -> Ending:
        """Perform *run* in a worker, in one of its own when *alone*. Blocks; raises Interrupt."""

        def answer(words: Words) -> dict[str, Any] | None:
            return self._answer(run, running, words)

        item = WorkItem(run.task, seconds, answer)
        return self.worker_pool.perform_alone(item) if alone else self.worker_pool.perform(item)

    def _answer(self, run: Run, running: RunningTask, words: Words) -> dict[str, Any] | None:
        """Called from the worker's own greenlet; may block on the store. Raises MonqbusError."""
        if "printed" in words:
            run.output.write(words["printed"])
        elif "progress" in words:
            running.progress(words["progress"], words["text"])
        elif words["ask"] == "log":
            return {"text": running.log}
        else:
            return self._verbs[words["ask"]](words)
        return None

    def _post(self, words: Words) -> dict[str, Any]:
        task = prepare(self._clock, words["name"], *_call(words))
        return {"task": of_task(self._office().submit(task))}

    def _publish(self, words: Words) -> dict[str, Any]:
        call = words["topic"], words["args"], words["kwargs"]
        return self._office().publish(*call, context=words["context"])._asdict()

    def _store(self, words: Words) -> dict[str, Any]:
        tasks = [task_of(document) for document in words["tasks"]]
        events = [Announcement(Event(**one["event"]), one["context"]) for one in words["events"]]
        self._office().store(Batch(tasks, events))
        return {"ids": [task.id for task in tasks]}

    def _look(self, words: Words) -> dict[str, Any]:
        return {"task": of_task(self._office().look(words["id"]))}


def _call(words: Words) -> tuple[list[Any], dict[str, Any], Options, dict[str, Any]]:
    return words["args"], words["kwargs"], Options(**words["options"]), words["context"]


def start_pool(descriptor: int, config: Config, tasks: Tasks, on_lost: Callable[[], None]) -> WorkerPool:
    """A pool on the zygote at *descriptor*; imports its apps when *tasks* need them. Never blocks."""
    worker = config.worker
    options = PoolOptions(worker.cpu_workers, worker.max_tasks_per_worker, worker.max_memory_per_worker)
    worker_pool = WorkerPool(descriptor, _apps(config), options, on_lost)
    if any_cpu(tasks):
        gevent.spawn(worker_pool.warm_up)
    return worker_pool


def renew_pool(worker_pool: WorkerPool, config: Config, tasks: Tasks) -> None:
    """Let *worker_pool* work with the apps of a new *config* as soon as they are imported. Never blocks."""
    gevent.spawn(worker_pool.renew, _apps(config), at_once=any_cpu(tasks))


def any_cpu(tasks: Tasks) -> bool:
    """Whether one of *tasks* is to run in a worker."""
    return any(task.defaults.cpu for task in tasks.values())


def _apps(config: Config) -> Apps:
    settings = config.monqbus
    level = settings.log_level.upper() if settings.capture_logging else ""
    return Apps(settings.apps, settings.path, level)
