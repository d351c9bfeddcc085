"""Loads what a configuration declares: the tasks of its apps, its command handlers, its schedules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..config import Config, schedule_of
from ..config.section_settings import ScheduleSection
from ..errors import BadDeclaration, ConfigError
from . import loading
from .command import declare
from .registry import Registry, being_filled


def load(config: Config, *, afresh: bool = False, folder: Path | None = None) -> Registry:
    """Import the apps of *config* and declare its handlers and schedules; *afresh* as in `loading.load`.

    Commands run in *folder*, by default the present one: apps may go elsewhere while they are imported.
    Raises ConfigError with the place of the failure.
    """
    settings = config.monqbus
    place = folder or Path.cwd()

    def also() -> None:
        try:
            declare_all(config, place)
        except BadDeclaration as error:
            raise ConfigError(str(error)) from error

    return loading.load(settings.apps, settings.path, afresh=afresh, also=also)


def problems_of(config: Config, folder: Path, *, calls: bool) -> list[str]:
    """The mistake of each handler and schedule of *config*; they are declared one by one to find all.

    Handlers that call a task are among them only with *calls*: it may be of an app that cannot be imported.
    """
    handlers = [one for one in config.handlers.values() if calls or not one.task]
    steps: list[Callable[[], None]] = [partial(declare, [one], folder) for one in handlers]
    steps += [partial(_plan, one) for one in config.schedules.values()]
    return [problem for step in steps for problem in _mistakes(step)]


def _mistakes(step: Callable[[], None]) -> list[str]:
    try:
        step()
    except ConfigError as error:
        return [*error.problems]
    except BadDeclaration as error:
        return [str(error)]
    return []


def declare_all(config: Config, folder: Path) -> None:
    """Declare the handlers and the schedules of *config*. Raises BadDeclaration, ConfigError."""
    declare(config.handlers.values(), folder)
    for section in config.schedules.values():
        _plan(section)


def _plan(section: ScheduleSection) -> None:
    being_filled().plan(schedule_of(section))
