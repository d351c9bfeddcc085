"""`check`: everything that would keep `run` from working, found before it is started."""

from __future__ import annotations

import argparse
import os
import sys

from .. import registry
from ..config import Config, load
from ..connecting import CONTROL_SOCKET, is_embedded
from ..errors import ConfigError, MonqbusError, StoreHeld
from ..store import open_store
from .place import config_path


def check(options: argparse.Namespace) -> int:
    """Print every task, handler and hook with its source line, every warning, every error."""
    config = load(config_path(options), os.environ)
    problems: list[str] = []
    try:
        registry.load(config.monqbus.apps, config.monqbus.path)
    except ConfigError as error:
        problems += error.problems
    _print_declared(config)
    problems += _store_problems(config)
    for warning in (*config.warnings, *_unhandled(config)):
        print(f"warning: {warning}", file=sys.stderr)
    if problems:
        raise ConfigError(*problems)
    print("ok")
    return 0


def _print_declared(config: Config) -> None:
    known = registry.registry()
    for name, task in sorted(known.tasks.items()):
        print(f"task     {name}  {task.where}")
    for topic in known.topics:
        for handler in known.handlers_of(topic):
            print(f"handler  {topic} → {handler.name}  {handler.where}")
    for hook in config.hooks.values():
        print(f"hook     /hooks/{hook.name} → {hook.topic} (verify = {hook.verify})  {hook.where}")


def _unhandled(config: Config) -> list[str]:
    """Hooks whose topic is fixed and has no handler: they record events that nobody acts on."""
    topics = registry.registry().topics
    return [
        f"{hook.where}: [hook:{hook.name}] topic: no handler for {hook.topic!r}; its events are only recorded"
        for hook in config.hooks.values()
        if "{" not in hook.topic and hook.topic not in topics
    ]


def _store_problems(config: Config) -> list[str]:
    try:
        open_store(config.monqbus.store.reveal(), config.monqbus.data_dir).close()
    except StoreHeld as error:
        if is_embedded(config) and (config.monqbus.data_dir / CONTROL_SOCKET).exists():
            print("store    a daemon is running on it")
            return []
        return [str(error)]
    except MonqbusError as error:
        return [str(error)]
    return []
