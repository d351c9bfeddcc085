"""`backup` and `copy`."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from pathlib import Path

from ..config import store_named
from ..connecting import is_embedded
from ..copying import Copied, size
from ..copying import copy as copy_store
from ..errors import StoreError, UsageError
from ..store import Store, open_store
from ..store.inbox.reader import waiting_bytes
from . import terminal
from .session import open_admin, read_config

BAR_WIDTH = 30


def backup(options: argparse.Namespace) -> int:
    """Write the embedded store to a new file."""
    path = Path(options.file).absolute()
    with open_admin(options, looks=True) as admin:
        admin.backup(path)
    terminal.line(str(path))
    return 0


def copy(options: argparse.Namespace) -> int:
    """Bring everything of the embedded store into another one."""
    config = read_config(options)
    if not is_embedded(config):
        raise UsageError(f"copy: expected store = sqlite in {config.path}, got {config.monqbus.store}")
    target_named = store_named(options.to, Path.cwd(), os.environ)
    if target_named.reveal() == "sqlite":
        raise UsageError("copy: expected a MongoDB address, got sqlite; for a copy in a file: monqbus backup")
    settings = config.monqbus
    if waiting := waiting_bytes(settings.data_dir):
        raise StoreError(
            f"copy: expected an empty inbox, got {waiting} bytes of postings that no daemon has taken over; "
            "start `monqbus run` once and stop it, then copy"
        )
    with (
        closing(open_store("sqlite", settings.data_dir, looks=True)) as source,
        closing(open_store(target_named.reveal(), settings.data_dir)) as target,
    ):
        copied = _copied(source, target)
    if terminal.shows_progress():
        terminal.clear_progress()
    terminal.line(
        f"copied {copied.events} events and {copied.tasks} tasks, all of them found in {target_named}"
    )
    terminal.line(
        f"next: write that store into {config.path or 'the configuration'}, and start the daemon on it only"
    )
    for sentence in copied.left:
        terminal.note(f"left behind: {sentence}")
    return 1 if copied.left else 0


def _copied(source: Store, target: Store) -> Copied:
    progress = _Bar(size(source)) if terminal.shows_progress() else lambda _: None
    try:
        return copy_store(source, target, progress)
    except KeyboardInterrupt:
        terminal.clear_progress()
        terminal.note("interrupted; the same command completes it")
        raise


class _Bar:
    """How far it is, on one line of standard error."""

    def __init__(self, total: int) -> None:
        self._total = max(total, 1)

    def __call__(self, done: int) -> None:
        part = min(done / self._total, 1.0)
        bar = ("█" * round(part * BAR_WIDTH)).ljust(BAR_WIDTH, "░")
        terminal.progress(f"{bar} {part:4.0%} {done}")
