"""`check`: finds everything that would keep `run` from starting, without starting it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from contextlib import closing
from json import dumps
from pathlib import Path

from ..apps import from_config, loading, registry
from ..apps.command_program import faults_of
from ..apps.hook_fit import misfits
from ..clock import Clock
from ..config import Config, nearest_name
from ..config.schedules import never_comes
from ..connecting import client, is_embedded
from ..errors import ConfigError, MonqbusError
from ..http import Limits, open_files, too_few_files
from ..rules import Rule
from ..schedules import next_moments
from ..store import has_file, open_store, require_data_dir, require_room
from ..store.checks import examine
from . import terminal
from .host_checks import losses
from .session import daemon_answers, read_config


def check(options: argparse.Namespace) -> int:
    """Print every task, handler and hook with its source line, every warning, every error.

    With ``--offline`` the store is left alone: a running daemon's reload asks for no more than that.
    """
    if options.report is not None:
        return _report(options)
    config = read_config(options)
    broken = _app_problems(config)
    unfit = misfits(config.hooks.values(), registry.registry())
    schedules = _schedule_problems(is_complete=not broken)
    unusable = [*_program_problems(config), *config.faults.values()]
    problems = [*broken, *unusable, *unfit.certain, *schedules]
    _print_declared(config)
    store_error = None if options.offline else _store_error(config)
    for warning in (
        *config.warnings,
        *losses(config),
        *_few_files(config),
        *_idle(config),
        *([] if broken else _unhandled(config)),
        *unfit.possible,
        *_odd_schedules(is_complete=not broken),
    ):
        terminal.warning(warning)
    if problems:
        raise ConfigError(*problems, *([str(store_error)] if store_error else []))
    if store_error:
        raise store_error
    terminal.line("ok")
    return 0


def _app_problems(config: Config) -> list[str]:
    """The mistake of each app that cannot be imported; they are imported one by one to find all."""
    problems: list[str] = []
    place = Path.cwd()
    for app in config.monqbus.apps:
        try:
            loading.load([app], config.monqbus.path)
        except ConfigError as error:
            problems += error.problems
    return problems + from_config.problems_of(config, place, calls=not problems)


def _report(options: argparse.Namespace) -> int:
    """Write the mistakes of config and apps to a descriptor as JSON, apart from all that apps print."""
    try:
        problems = _app_problems(read_config(options))
    except MonqbusError as error:
        problems = [*error.problems] if isinstance(error, ConfigError) else [str(error)]
    with os.fdopen(options.report, "w") as file:
        file.write(dumps(problems))
    return 1 if problems else 0


def _program_problems(config: Config) -> list[str]:
    """What keeps commands from being started; a daemon starts all the same, and their tasks wait."""
    faults = faults_of(config.handlers.values())
    return [f"{config.handlers[name].where}: [handler:{name}] {fault}" for name, fault in faults.items()]


def _schedule_problems(*, is_complete: bool) -> list[str]:
    """Schedules whose task is not there, when all apps were imported, or does not take their arguments."""
    known = registry.registry()
    found = []
    for _, one in sorted(known.schedules.items()):
        task = known.tasks.get(one.task)
        if one.task and task is None:
            if not is_complete:
                continue  # the app that was not imported may declare it
            missing = (
                f"no app declares {one.task}{_near(one.task, known.tasks)} tasks would wait until one does"
            )
            found.append(f"{one.where}: {one.title} task: {missing}")
        elif task is not None and (fault := task.misfit(one.args, one.kwargs)):
            found.append(f"{one.where}: {one.title} {fault}")
    return found


def _odd_schedules(*, is_complete: bool) -> list[str]:
    """Schedules that publish for nobody, when all apps were imported, never come, or hardly ever."""
    known, now = registry.registry(), Clock().now()
    found = []
    for _, one in sorted(known.schedules.items()):
        if is_complete and one.topic and not known.handlers_of(one.topic):
            idle = f"no handler for {one.topic!r}{_near(one.topic, known.topics)} events are only recorded"
            found.append(f"{one.where}: {one.title} topic: {idle}")
        if odd := never_comes(one, now):
            found.append(f"{one.where}: {one.title}: {odd}")
    return found


def _print_declared(config: Config) -> None:
    known = registry.registry()
    for name, task in sorted(known.tasks.items()):
        terminal.line(f"task     {name}  {task.where}{'  (cpu)' if task.defaults.cpu else ''}")
    for topic in known.topics:
        for handler in known.handlers_of(topic):
            terminal.line(f"handler  {topic} → {handler.name}  {handler.where}")
            if rule := handler.rules.get(topic):
                terminal.line(f"rule     {topic} → {handler.name} when {_on_one_line(rule)}")
    for name, one in sorted(known.schedules.items()):
        coming = ", ".join(
            f"{moment:%Y-%m-%d %H:%M:%SZ}" for moment in next_moments(one.moments, Clock().now(), 3)
        )
        target = one.task or f"topic {one.topic}"
        terminal.line(
            f"schedule {name} → {target}  ({one.moments.text})  next {coming or 'never'}  {one.where}"
        )
    most = Limits.of(config.http).most_bytes
    terminal.line(f"memory   at most about {most / 2**20:.0f} MiB for requests on their way in")
    for hook in config.hooks.values():
        closed = ", closed: a secret is missing" if hook.fault else ""
        shown = f"/hooks/{hook.name} → {hook.topic} (verify = {hook.verify}{closed})"
        terminal.line(f"hook     {shown}  {hook.where}")
        if hook.when:
            terminal.line(f"rule     /hooks/{hook.name} when {_on_one_line(hook.when)}")


def _on_one_line(rule: Rule) -> str:
    return " ".join(rule.text.split("\n"))


def _few_files(config: Config) -> list[str]:
    """What this process may open, and hence a daemon that is started in the same way."""
    remedy = too_few_files(config.http.connections)
    return [f"open files: expected more than {open_files()}; {remedy}"] if remedy else []


def _idle(config: Config) -> list[str]:
    """Apps that declare nothing: perhaps another one of that name is meant, or a decorator is missing."""
    imported = [app for app in config.monqbus.apps if app in sys.modules]
    return [
        f"app {app}: declares no task and no handler; it is {sys.modules[app].__file__}"
        for app in loading.idle(imported)
    ]


def _unhandled(config: Config) -> list[str]:
    """Hooks whose topic is fixed and has no handler: they record events that nobody acts on."""
    topics = registry.registry().topics
    return [
        f"{hook.where}: [hook:{hook.name}] topic: no handler for {hook.topic!r}{_near(hook.topic, topics)} "
        "events are only recorded"
        for hook in config.hooks.values()
        if "{" not in hook.topic and hook.topic not in topics
    ]


def _near(topic: str, topics: Iterable[str]) -> str:
    near = nearest_name(topic, topics)
    return f", did you mean {near!r}? Its" if near else "; its"


def _store_error(config: Config) -> MonqbusError | None:
    """Why the store cannot be used. One that a daemon is running on can."""
    where = config.monqbus.data_dir if is_embedded(config) else ""
    try:
        if is_embedded(config) and daemon_answers(config):
            terminal.line(f"store    {config.monqbus.store} {where} (a daemon is running on it)")
            with closing(client(config)) as daemon:
                if reason := daemon.status()["reason"]:
                    terminal.warning(f"the daemon that is running: {reason}")
            return None
        _look_at_store(config)
    except MonqbusError as error:
        return error
    terminal.line(f"store    {config.monqbus.store} {where}".rstrip())
    return None


def _look_at_store(config: Config) -> None:
    """Open it, or what it needs when it is not there yet: nothing is made. Raises MonqbusError."""
    folder = config.monqbus.data_dir
    require_data_dir(folder)
    if not is_embedded(config):
        open_store(config.monqbus.store.reveal(), folder).close()
    elif has_file(folder):
        terminal.line(f"schema   {examine(folder)}")
    else:
        require_room(folder)
