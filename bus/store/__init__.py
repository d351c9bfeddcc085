"""The durable queue behind one contract. Only this file names an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from .contract import CALL_SECONDS, Heard, Notice, Store
from .sqlite.data_dir import as_owner_of, make_data_dir, require_data_dir

if TYPE_CHECKING:
    from .spool import Spool as Spool

__all__ = [
    "CALL_SECONDS",
    "Heard",
    "Notice",
    "Store",
    "as_owner_of",
    "has_file",
    "make_data_dir",
    "open_memory_store",
    "open_spool",
    "open_store",
    "require_data_dir",
    "require_room",
]

DATABASE: Final = "monqbus.db"


def open_store(
    address: str, data_dir: Path, *, daemon: bool = False, min_free: int = 0, looks: bool = False
) -> Store:
    """The opened store behind *address*: ``sqlite`` (a file in *data_dir*) or a ``mongodb`` URI.

    A *daemon* is patched by gevent and groups its commits; any other process calls straight
    through. The file takes nothing new while less than *min_free* bytes of its disk are free; one of an
    earlier schema version is migrated. One that *looks* changes no file and makes none, nor a
    collection or an index. Raises ConfigError, StoreError.
    """
    store: Store
    if address == "sqlite":
        from .sqlite.store import SqliteStore

        store = SqliteStore(data_dir / DATABASE, daemon=daemon, min_free=min_free, looks=looks)
    else:
        from .mongo import MongoStore

        store = MongoStore(address, daemon=daemon, looks=looks)
    store.open()
    return store


def has_file(data_dir: Path) -> bool:
    """Whether there is an embedded store in *data_dir*, or what is left of one."""
    for name in (DATABASE, "monqbus.db-wal"):
        try:
            (data_dir / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # opening it tells why
        return True
    return False


def require_room(data_dir: Path) -> None:
    """Raise ConfigError where `open_store` could make no embedded store; makes nothing.

    Raises StoreHeld while a process has that path, although nothing lies there: its files were deleted.
    """
    from .sqlite.file import require_local
    from .sqlite.path_lock import PathLock

    require_data_dir(data_dir)
    require_local(data_dir)
    name = PathLock(data_dir / DATABASE)
    name.take()
    name.release()


def open_spool(data_dir: Path, most: int, *, min_free: int = 0) -> Spool | None:
    """The opened spool in *data_dir* for about *most* bytes, to be used in a daemon.

    With 0 it takes nothing, and is there only if an earlier run has left something in it. Raises
    ConfigError, StoreError.
    """
    from .spool import Spool
    from .sqlite.file import is_there

    path = data_dir / "spool.sqlite"
    if not most and not is_there(path):
        return None
    spool = Spool(path, most=most, min_free=min_free)
    spool.open()
    return spool


def open_memory_store() -> Store:
    """An opened embedded store without a file: it is gone when it is closed. For tests of handlers."""
    from .sqlite.store import MEMORY, SqliteStore

    store = SqliteStore(MEMORY, daemon=False)
    store.open()
    return store
