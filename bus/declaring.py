"""What a configuration declares: the tasks of its apps, and its handlers that are commands."""

from __future__ import annotations

from . import registry
from .command import declare
from .config import Config
from .registry import Registry


def load(config: Config, *, afresh: bool = False) -> Registry:
    """Import the apps of *config* and declare its handlers; *afresh* as in `registry.load`.

    Raises ConfigError with the place of the failure.
    """
    settings = config.monqbus
    return registry.load(
        settings.apps, settings.path, afresh=afresh, also=lambda: declare(config.handlers.values())
    )
