"""Decides which lanes a daemon has and which tasks belong to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..apps.command import task_name
from ..apps.registry import Task
from ..config import Config
from .lanes import Lane


def lanes_of(config: Config, tasks: Mapping[str, Task[..., Any]], names: frozenset[str]) -> dict[str, Lane]:
    """The lanes for those of *tasks* that are in *names*, by title."""
    limited = {
        name: handler.max_concurrent
        for handler in config.handlers.values()
        if handler.max_concurrent and (name := task_name(handler)) in names
    }
    heavy = frozenset(name for name in names if tasks[name].defaults.cpu)
    return {
        "greenlets": Lane(config.worker.greenlets, names - heavy - limited.keys()),
        "cpu": Lane(config.worker.cpu_workers, heavy),
        **{name: Lane(slots, frozenset({name})) for name, slots in limited.items()},
    }
