"""Makes and renews the worker pool as the configuration wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gevent

from ..apps.registry import Task
from ..config import Config
from ..cpu.app_version import Apps
from ..cpu.worker_pool import Limits, WorkerPool

Tasks = Mapping[str, Task[..., Any]]


def start(descriptor: int, config: Config, tasks: Tasks, on_lost: Callable[[], None]) -> WorkerPool:
    """The pool on the zygote at *descriptor*, its apps being imported when *tasks* need it. Never blocks."""
    worker = config.worker
    limits = Limits(worker.cpu_workers, worker.max_tasks_per_worker, worker.max_memory_per_worker)
    worker_pool = WorkerPool(descriptor, _apps(config), limits, on_lost)
    if any_cpu(tasks):
        gevent.spawn(worker_pool.warm_up)
    return worker_pool


def renew(worker_pool: WorkerPool, config: Config, tasks: Tasks) -> None:
    """Let *worker_pool* work with the apps of a new *config* as soon as they are imported. Never blocks."""
    gevent.spawn(worker_pool.renew, _apps(config), at_once=any_cpu(tasks))


def any_cpu(tasks: Tasks) -> bool:
    """Whether one of *tasks* is to run in a worker."""
    return any(task.defaults.cpu for task in tasks.values())


def _apps(config: Config) -> Apps:
    settings = config.monqbus
    return Apps(settings.apps, settings.path, settings.log_level.upper())
