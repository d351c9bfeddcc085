"""Opens the SQLite file: checks what it is, and prepares or upgrades it.

A file that cannot be used is left as it is, and said to be so in one sentence with the remedy.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ...errors import ConfigError, StoreError, StoreFull, StoreUnavailable, StoreUnusable, UnusableForNow
from .data_dir import make_data_dir, unusable
from .file_identity import log_of
from .filter import SEARCH_SECONDS, result_matches
from .migration import migrate
from .mounts import network_file_system
from .rows import SCHEMA, SCHEMA_VERSION

OLDEST_SQLITE: Final = (3, 35, 0)  # the first with RETURNING
MEMORY: Final = ":memory:"
# cold, a disk of 75 MB/s reads this much within a second: a start after a power cut must not take minutes
EXAMINED_BYTES: Final = 64 * 1024**2
LARGEST_LOG_BYTES: Final = 16 * 1024**2
PIECE_BYTES: Final = 1024**2

_FULL: Final = "database or disk is full"
_OF_THE_DISK: Final = (_FULL, "disk I/O error", "unable to open database file", "attempt to write a readonly")
_SEARCHED_TOO_LONG: Final = "user-defined function raised exception"  # of ours only the search raises
_DAMAGED: Final = ("database disk image is malformed", "file is not a database")


def prepare_folder(folder: Path) -> None:
    """Make *folder* if it is missing. Raises ConfigError where SQLite could not keep its promises."""
    make_data_dir(folder)
    require_local(folder)


def require_local(folder: Path) -> None:
    """Raise ConfigError when *folder*, which may be missing, is on a network."""
    if kind := network_file_system(folder):
        raise ConfigError(
            f"[monqbus] data_dir: expected a local disk, got {folder} on {kind}: SQLite's locks and log "
            "do not work over a network; choose a local folder, or store = mongodb://..."
        )


def look_at(path: Path, *, examine: bool) -> sqlite3.Connection:
    """A connection to the file at *path* that only reads: nothing beside it is made, written or upgraded.

    With *examine* all of it is read and checked, and what would keep a daemon from writing is refused, too.
    The caller keeps writers out. Blocks for the disk. Raises ConfigError, StoreError.
    """
    _require_version()
    if examine:
        require_local(path.parent)
        _require_file(path)
    else:
        _require_regular(path)
        _require_its_log(path)
    # without a log SQLite would make one. Beside one it must not lock the file: that needs a right to write,
    # as does its shared memory, which is not needed by who has the file alone (sqlite.org/wal.html#readonly)
    how = "mode=ro&vfs=unix-none" if _size(log_of(path)) else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(path))}?{how}", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            if not _version(connection, path):  # made by `touch`, or by a first start that was killed
                connection.close()
                return connect(MEMORY)
            if examine:
                _examine(connection, path)
            connection.create_function("result_matches", 3, result_matches, deterministic=True)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise translated(error, path) from error
    return connection


def connect(path: Path | str) -> sqlite3.Connection:
    """The connection to the file at *path*, created where there is none, ready for use by any thread.

    After an unclean end a small file is read and checked. A file of an earlier schema version is migrated.
    Blocks for the disk. Raises ConfigError, StoreError.
    """
    _require_version()
    if isinstance(path, Path):
        _require_file(path)
    mask = os.umask(0o077)  # the write-ahead log gets its mode here, and holds payloads too
    try:
        ended_uncleanly = isinstance(path, Path) and _write_log_again(path)
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            version = _version(connection, path)  # before anything could be written to a stranger's file
            if ended_uncleanly and _size(path) <= EXAMINED_BYTES:
                _examine(connection, path)
            _configure(connection)
            if not version:
                connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            elif isinstance(path, Path):
                migrate(connection, path, version)
            connection.execute("SELECT beats FROM beat").fetchone()  # only now SQLite opens the log
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise translated(error, path) from error
    finally:
        os.umask(mask)
    return connection


def _require_version() -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(f"SQLite: expected 3.35 or newer, got {sqlite3.sqlite_version}; update Python")


def is_full(error: Exception) -> bool:
    """Whether SQLite met the end of the disk."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith(_FULL)


def is_of_the_disk(error: Exception) -> bool:
    """Whether the disk failed, and not the statement: then it would fail for everybody else, too."""
    # by text: Python 3.10 does not give the code, and the texts are as old as SQLite 3
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith(_OF_THE_DISK)


def translated(error: Exception, path: Path | str) -> Exception:
    """*error* as one of ours where it is the driver's or the system's."""
    if isinstance(error, OSError):
        return StoreUnavailable(f"{path}: {error.strerror}; look at the disk's space, mode and health")
    if is_full(error):
        return StoreUnavailable(f"{path}: the disk is full; free some of it")
    if isinstance(error, sqlite3.OperationalError) and str(error) == _SEARCHED_TOO_LONG:
        return StoreError(
            f"{path}: the search took longer than {SEARCH_SECONDS:g} s; "
            "narrow it by a state, a name, a topic or a time"
        )
    if isinstance(error, sqlite3.OperationalError):
        return StoreUnavailable(f"{path}: {error}; look at the disk's space, mode and health")
    if isinstance(error, sqlite3.DatabaseError) and str(error).startswith(_DAMAGED):
        return StoreUnusable(
            f"{path}: damaged ({error}); it stays where it is: put a backup in its place, or move it away "
            "with its -wal and rescue what is in it with: sqlite3 FILE .recover"
        )
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
        return StoreError(f"{path}: {error}; restore a backup, or run sqlite3 with .recover")
    return error


def is_there(path: Path) -> bool:
    """Whether a store lies at *path*, or what an accident has left of one."""
    return os.path.lexists(path) or _size(log_of(path)) > 0


def refusal(path: Path | str, complaint: str) -> StoreFull:
    """The error that new work gets while there is no room for it."""
    return StoreFull(f"{path}: {complaint}")


def _require_regular(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):  # its log would lie beside the other one
        raise ConfigError(
            f"[monqbus] data_dir: expected a file at {path}, got a link or something else; choose another "
            "folder (a link to the folder is followed)"
        )


def _require_file(path: Path) -> None:
    """Refuse what SQLite would only call unable to open."""
    _require_regular(path)
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise UnusableForNow(
            f"[monqbus] data_dir: cannot write to {path}: it is read-only for this user; "
            "run as its owner, or make it writable"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UnusableForNow(unusable(path.parent, "Permission denied"))
    _require_its_log(path)


def _require_its_log(path: Path) -> None:
    """Refuse a log without its file: SQLite would take the file for new and delete the log."""
    if not _size(path) and _size(log_of(path)):
        if path.exists():
            raise translated(sqlite3.DatabaseError(f"{_DAMAGED[0]}: empty beside a log"), path)
        raise StoreUnusable(
            f"{path}: expected the file beside its log, got only {log_of(path)}, which holds acknowledged "
            "work: put the file back that belongs to it; if that is lost, move the log away and start with a "
            "backup or with nothing"
        )


def _write_log_again(path: Path) -> bool:
    """Write a log that was left behind over itself; whether there was one, so that the end was unclean.

    After a failed fsync Linux holds pages in its cache that are not on the disk and no longer count
    as unwritten. SQLite would take such frames for committed, append to them, and lose all of it in a
    power cut. Written again, what is read is what the disk has. See docs/decisions/0009.
    """
    try:
        descriptor = os.open(log_of(path), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        offset = 0
        while piece := os.pread(descriptor, PIECE_BYTES, offset):
            os.pwrite(descriptor, piece, offset)
            offset += len(piece)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return offset > 0


def _configure(connection: sqlite3.Connection) -> None:
    connection.create_function("result_matches", 3, result_matches, deterministic=True)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG_BYTES}")


def _version(connection: sqlite3.Connection, path: Path | str) -> int:
    """The file's schema version; 0 when nothing is in it yet. Refuses one that is not ours or too new."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version == 0 and not tables:
        return 0
    if not {"task", "event", "beat"} <= tables:
        raise ConfigError(
            f"[monqbus] data_dir: expected a store of monqbus at {path}, got a database of another program; "
            "choose another folder"
        )
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path}: made by a newer monqbus (version {version}); this one knows up to {SCHEMA_VERSION}; "
            "use the newer one, or the backup that it has left beside the file"
        )
    if version < 1:
        raise StoreUnusable(
            f"{path}: expected schema version 1 to {SCHEMA_VERSION}, got {version}; restore a backup"
        )
    return int(version)


def _examine(connection: sqlite3.Connection, path: Path | str) -> None:
    (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if first != "ok":
        what = " ".join(str(first).split())  # it comes in several lines
        raise translated(sqlite3.DatabaseError(f"{_DAMAGED[0]}: {what}"), path)


def _size(path: Path | str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0
