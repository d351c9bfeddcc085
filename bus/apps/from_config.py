"""Loads what a configuration declares: the tasks of its apps, and its command handlers."""

from __future__ import annotations

from pathlib import Path

from ..config import Config
from . import loading
from .command import declare
from .registry import Registry


def load(config: Config, *, afresh: bool = False, folder: Path | None = None) -> Registry:
    """Import the apps of *config* and declare its handlers; *afresh* as in `loading.load`.

    Commands run in *folder*, by default the present one: apps may go elsewhere while they are imported.
    Raises ConfigError with the place of the failure.
    """
    settings = config.monqbus
    place = folder or Path.cwd()
    return loading.load(
        settings.apps, settings.path, afresh=afresh, also=lambda: declare(config.handlers.values(), place)
    )
