"""What `doctor` finds out about the store and its library."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from ..clock import Clock
from ..diagnosis import Diagnosis
from ..model import ERROR, Filter
from . import DATABASE
from .fields import ASIDE
from .sqlite.file import is_there
from .sqlite.mounts import kind_of, loss, network_file_system
from .sqlite.rows import SCHEMA_VERSION
from .sqlite.store import SqliteStore

RACELESS: Final = (3, 51, 3)
_RACE: Final = (
    "before 3.51.3 two connections can lose each other's commits (WAL reset); "
    "monqbus has one: open its file with no other program while it runs"
)


def library() -> Diagnosis:
    """The SQLite of this process."""
    note = "" if sqlite3.sqlite_version_info >= RACELESS else _RACE
    return Diagnosis("sqlite", sqlite3.sqlite_version, note=note)


def file(data_dir: Path, min_free: int) -> Iterator[Diagnosis]:
    """The embedded store's file, which no daemon has. Takes its lock for a moment; raises StoreError."""
    path = data_dir / DATABASE
    if not is_there(path):
        yield Diagnosis("store", f"{path}, not there yet", note="a daemon makes it when it starts")
        return
    with closing(SqliteStore(path, daemon=False, min_free=min_free, examine=True)) as store:
        store.open()
        version = store.schema_version
        aside = sum(store.count(Filter(states=(ERROR,), error=ASIDE)).values())
    yield Diagnosis("store", f"{path}, {path.stat().st_size / 2**20:.1f} MiB, read and without damage")
    yield Diagnosis("schema", schema(version))
    yield from unreadable(aside)


def schema(version: int) -> str:
    """What is said of a file's schema *version*."""
    due = "" if version == SCHEMA_VERSION else f"; the next start upgrades it to {SCHEMA_VERSION}"
    return f"version {version}{due}"


def examine(data_dir: Path) -> str:
    """Read and check all of the embedded file in *data_dir*; its schema version in words.

    The file stays at that version. Raises ConfigError, StoreError.
    """
    with closing(SqliteStore(data_dir / DATABASE, daemon=False, examine=True)) as store:
        store.open()
        return schema(store.schema_version)


def unreadable(count: int) -> Iterator[Diagnosis]:
    """Tasks that were set aside because nobody can read or begin them, if there are any."""
    if count:
        remedy = "`monqbus list --state error` says why; correct them and retry, or purge them"
        yield Diagnosis("tasks", f"{count} cannot be read and were set aside", "warning", remedy)


def servers(address: str, clock: Clock) -> list[Diagnosis]:
    """The MongoDB behind *address*. Raises StoreError."""
    from .mongo.checks import diagnose

    found, aside = diagnose(address, clock)
    return [*found, *unreadable(aside)]


def loss_of(folder: Path) -> str:
    """When what is in *folder*, which may be missing, will be lost, a clause; "" when its disk keeps it."""
    return loss(kind_of(folder))


def disk(folder: Path) -> Diagnosis:
    """The file system that *folder* lies on."""
    kind = kind_of(folder) or "an unknown file system"
    if network_file_system(folder):
        remedy = "choose a local folder: SQLite's locks and log do not work over a network"
        return Diagnosis("disk", kind, "problem", remedy)
    if reason := loss(kind):
        return Diagnosis(
            "disk", kind, "warning", f"choose a folder on a disk, or mount a volume there: {reason}"
        )
    return Diagnosis("disk", kind)
