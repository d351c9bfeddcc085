"""The farm of a daemon, as its configuration wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gevent

from ..config import Config
from ..cpu.edition import Apps
from ..cpu.farm import Farm, Limits
from ..registry import Task

Tasks = Mapping[str, Task[..., Any]]


def start(descriptor: int, config: Config, tasks: Tasks, on_lost: Callable[[], None]) -> Farm:
    """A farm on the zygote at *descriptor*, its apps being imported when *tasks* need it. Never blocks."""
    worker = config.worker
    limits = Limits(worker.cpu_workers, worker.max_tasks_per_worker, worker.max_memory_per_worker)
    farm = Farm(descriptor, _apps(config), limits, on_lost)
    if any_cpu(tasks):
        gevent.spawn(farm.warm_up)
    return farm


def renew(farm: Farm, config: Config, tasks: Tasks) -> None:
    """Let *farm* work with the apps of a new *config* as soon as they are imported. Never blocks."""
    gevent.spawn(farm.renew, _apps(config), at_once=any_cpu(tasks))


def any_cpu(tasks: Tasks) -> bool:
    """Whether one of *tasks* is to run in a worker."""
    return any(task.defaults.cpu for task in tasks.values())


def _apps(config: Config) -> Apps:
    settings = config.monqbus
    return Apps(settings.apps, settings.path, settings.log_level.upper())
