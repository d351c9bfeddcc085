"""Where a command works: the config it uses, and the desk and poster behind it.

With the embedded store a running daemon is asked through its control socket; when none runs, the
command takes the file for itself. With MongoDB every command goes to it directly.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from .. import registry
from ..clock import Clock
from ..config import Config, load
from ..connecting import CONTROL_SOCKET, is_embedded, remote
from ..context import capture
from ..desk import Desk
from ..errors import StoreHeld, StoreUnavailable
from ..model import MonQTask
from ..posting import PostOffice, prepare
from ..registry import Options
from ..remote import Remote
from ..store import open_store


def config_path(options: argparse.Namespace) -> Path:
    """The INI file the user means."""
    return Path(options.config or os.environ.get("MONQBUS_CONFIG") or "monqbus.ini")


def read_config(options: argparse.Namespace) -> Config:
    """The loaded config. Raises ConfigError."""
    return load(config_path(options), os.environ)


@contextmanager
def open_desk(options: argparse.Namespace) -> Iterator[Desk | Remote]:
    """The operator's desk of the configured store."""
    config = read_config(options)
    if is_embedded(config) and _daemon_answers(config):
        yield remote(config)
        return
    store = open_store(config.monqbus.store.reveal(), config.monqbus.data_dir)
    try:
        yield Desk(store, Clock(), keep_failed=timedelta(seconds=config.monqbus.keep_failed))
    except StoreHeld as error:
        raise StoreUnavailable(str(error)) from error
    finally:
        store.close()


class Local:
    """Posts to a store that this command has opened itself, with the options the apps declare."""

    def __init__(self, office: PostOffice, clock: Clock) -> None:
        self._office = office
        self._clock = clock
        self.publish = office.publish
        self.join = office.join

    def post_named(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> MonQTask:
        """Post by name; see Remote.post_named."""
        declared = registry.registry().tasks.get(name)
        options = (declared.defaults if declared else Options()).but(changes)
        return self._office.submit(prepare(self._clock, name, args, kwargs, options, capture()))


@contextmanager
def open_poster(options: argparse.Namespace) -> Iterator[Local | Remote]:
    """Something to post to. Without a daemon to ask, the apps are imported for their declarations."""
    config = read_config(options)
    if is_embedded(config) and _daemon_answers(config):
        yield remote(config)
        return
    registry.load(config.monqbus.apps, config.monqbus.path)
    store = open_store(config.monqbus.store.reveal(), config.monqbus.data_dir)
    try:
        keep = timedelta(seconds=config.monqbus.keep_events)
        yield Local(PostOffice(store, registry.registry, Clock(), keep_events=keep), Clock())
    finally:
        store.close()


def _daemon_answers(config: Config) -> bool:
    path = config.monqbus.data_dir / CONTROL_SOCKET
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False  # the file of a daemon that was killed
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error}; run the command as the daemon's user") from error
    return True
