"""Loads what a configuration declares: the tasks of its apps, its command handlers, its schedules."""

from __future__ import annotations

from pathlib import Path

from ..config import Config, schedule_of
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


def declare_all(config: Config, folder: Path) -> None:
    """Declare the handlers and the schedules of *config*. Raises BadDeclaration for a name that is taken."""
    declare(config.handlers.values(), folder)
    for section in config.schedules.values():
        being_filled().plan(schedule_of(section))
