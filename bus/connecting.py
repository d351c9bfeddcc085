"""Binds a process that is not the daemon: a web application, a script, a command."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from . import declaring, registry
from .clock import Clock
from .config import Config, load
from .posting import PostOffice
from .remote import Remote
from .steady import LazySteadyClock
from .store import open_store

CONTROL_SOCKET = "control.sock"


def connect(path: Path) -> None:
    """Bind the registry to the store of the config at *path*; see monqbus.connect."""
    config = load(path, os.environ)
    registry.bind(remote(config) if is_embedded(config) else office(config))


def is_embedded(config: Config) -> bool:
    """True when the store is the file of one daemon."""
    return config.monqbus.store.reveal() == "sqlite"


def remote(config: Config) -> Remote:
    """The daemon on this machine, asked through its control socket. Connects on first use."""
    return Remote(config.monqbus.data_dir / CONTROL_SOCKET, Clock())


def office(config: Config) -> PostOffice:
    """A post office on MongoDB. Imports the apps, so that events find their handlers."""
    declaring.load(config)
    return PostOffice(
        open_store(config.monqbus.store.reveal(), config.monqbus.data_dir),
        registry.registry,
        LazySteadyClock(Clock(), None, ""),
        keep_events=timedelta(seconds=config.monqbus.keep_events),
    )
