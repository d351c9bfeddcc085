"""What the embedded store finds when it opens: a surprise is one clear sentence, and nothing is touched."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bus.cli.entry import EX_CONFIG, EX_HELD, EX_TEMPFAIL, EX_UNAVAILABLE, _failed
from bus.cli.parser import build_parser
from bus.errors import ConfigError, MonqbusError, StoreHeld, StoreUnusable
from bus.model import Filter
from bus.store.sqlite import file
from bus.store.sqlite.rows import SCHEMA_VERSION
from bus.store.sqlite.store import SqliteStore

from .samples import NOW, a_task, post


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store's file is."""
    return tmp_path / "monqbus.db"


def fill(path: Path, tasks: int = 500) -> None:
    """Make a store with many pages."""
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()
        post(store, *(a_task(args=["x" * 500]) for _ in range(tasks)))


def refusal(path: Path, **options: bool) -> MonqbusError:
    """The error with which the store does not open; what lies there stays as it is."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(MonqbusError) as caught:
        SqliteStore(path, daemon=False, **options).open()
    assert before == (path.read_bytes() if path.is_file() else None)
    assert "\n" not in str(caught.value)
    return caught.value


def exit_code(error: MonqbusError) -> int:
    """How a command ends with it."""
    return _failed(error, build_parser().parse_args(["version"]))


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE song (title); INSERT INTO song VALUES ('x');")


def of_another_program_that_numbers_its_schema(path: Path) -> None:
    of_another_program(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def newer(path: Path) -> None:
    fill(path, 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def no_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)


def cut(path: Path) -> None:
    fill(path)
    os.truncate(path, path.stat().st_size // 2)


def emptied_beside_its_log(path: Path) -> None:
    path.touch()
    path.with_name(path.name + "-wal").write_bytes(b"x" * 5000)


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (of_another_program, EX_CONFIG, "got a database of another program; choose another folder"),
        (of_another_program_that_numbers_its_schema, EX_CONFIG, "got a database of another program"),
        (a_folder, EX_CONFIG, "expected a file at"),
        (a_pipe, EX_CONFIG, "expected a file at"),
        (
            newer,
            EX_UNAVAILABLE,
            f"made by a newer monqbus (version 99); this one knows up to {SCHEMA_VERSION}; use the newer one",
        ),
        (no_database, EX_UNAVAILABLE, "damaged (file is not a database); it stays where it is"),
        (cut, EX_UNAVAILABLE, "damaged (database disk image is malformed); it stays where it is"),
        (emptied_beside_its_log, EX_UNAVAILABLE, "damaged (database disk image is malformed: empty beside"),
    ],
)
def test_what_is_no_usable_store_is_refused_in_one_sentence(
    path: Path, make: Callable[[Path], None], code: int, words: str
) -> None:
    """With the remedy, and the exit code that says whose move it is."""
    make(path)
    error = refusal(path)

    assert words in str(error)
    assert str(path) in str(error)
    assert code == exit_code(error)


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    """As `touch` and SQLite itself leave one."""
    path.touch()
    fill(path, 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to everything")
@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_a_file_that_may_not_be_written_is_refused(path: Path, mode: int) -> None:
    """SQLite would open it and fail at the first event."""
    fill(path, 1)
    path.chmod(mode)
    error = refusal(path)

    assert "it is read-only for this user" in str(error)
    assert EX_TEMPFAIL == exit_code(error)


def _damage(path: Path) -> None:
    """Overwrite pages in the middle, which opening alone does not read."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096 * 8)


def _end_uncleanly(path: Path) -> None:
    """Leave a log behind, as a killed daemon does."""
    store = SqliteStore(path, daemon=False)
    store.open()
    post(store, a_task())
    log = path.with_name(path.name + "-wal")
    left = log.read_bytes()
    store.close()
    log.write_bytes(left)


def test_after_an_unclean_end_damage_is_found_at_the_start(path: Path) -> None:
    """A power cut on a disk that lies: better no start than events that vanish one by one."""
    fill(path)
    _end_uncleanly(path)
    _damage(path)

    with pytest.raises(StoreUnusable, match="damaged"):
        SqliteStore(path, daemon=False).open()


def test_a_large_file_is_not_examined_at_a_start_but_when_asked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading gigabytes takes minutes: `monqbus check` does it, a start does not."""
    monkeypatch.setattr(file, "EXAMINED_BYTES", 4096)
    fill(path)
    _end_uncleanly(path)
    _damage(path)
    SqliteStore(path, daemon=False).open()


def test_a_file_is_examined_when_asked(path: Path) -> None:
    fill(path)
    _damage(path)

    assert "damaged" in str(refusal(path, examine=True))


def test_damage_met_at_work_is_said_and_ends_nothing(path: Path) -> None:
    """Reads of sound pages go on."""
    fill(path)
    _damage(path)
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()

        with pytest.raises(StoreUnusable, match=r"put a backup in its place, or move it away .*\.recover"):
            store.find(Filter(name="none"), 1000)
        store.ping()


@pytest.mark.parametrize("words", [b"", b"pid 1 on a host that was\n" * 3, b"\xff\x00\x1b[31m"])
def test_the_words_of_an_old_holder_are_overwritten(path: Path, words: bytes) -> None:
    """The lock is the kernel's; the file's words are for people."""
    lock = path.with_suffix(".lock")
    lock.write_bytes(words)
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()

        assert f"pid {os.getpid()} on {socket.gethostname()}\n" == lock.read_text()


def test_a_second_holder_is_refused_at_once_and_told_who_has_it(path: Path) -> None:
    """Its pid and its host: which process to stop."""
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()
        error = refusal(path)

    assert isinstance(error, StoreHeld)
    assert f"held by pid {os.getpid()} on {socket.gethostname()}; stop it" in str(error)
    assert EX_HELD == exit_code(error)


def test_a_refused_holder_leaves_no_open_file(path: Path) -> None:
    """Commands try for seconds."""
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()
        before = sorted(Path("/proc/self/fd").iterdir())
        refusal(path)

        assert before == sorted(Path("/proc/self/fd").iterdir())


def test_a_holder_whose_words_cannot_be_read_still_holds(path: Path) -> None:
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()
        path.with_suffix(".lock").write_bytes(b"\xff\xfe")

        assert isinstance(refusal(path), StoreHeld)


def test_a_lock_that_is_no_file_is_a_mistake_of_the_configuration(path: Path) -> None:
    path.with_suffix(".lock").mkdir()

    assert f"cannot lock {path.with_suffix('.lock')}: Is a directory" in str(refusal(path))


def test_a_start_that_fails_gives_the_lock_back(path: Path) -> None:
    """The next one, after the remedy, must not meet it."""
    path.mkdir()
    with pytest.raises(ConfigError):
        SqliteStore(path, daemon=False).open()
    path.rmdir()

    fill(path, 1)


# a file of an earlier version


@pytest.fixture
def earlier(path: Path) -> Path:
    """A store as it was made before events were kept for tasks that an operator may retry."""
    shutil.copy(Path(__file__).with_name("files") / "version1.db", path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP INDEX task_of_event; CREATE INDEX task_event ON task (event_id) "
            "WHERE event_id IS NOT NULL AND state IN ('ready', 'busy');"
        )
    return path


def indexes(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}


def test_an_earlier_file_gets_the_index_it_lacks(earlier: Path):
    """And loses the one that it replaces; its tasks are as they were."""
    with closing(SqliteStore(earlier, daemon=False)) as store:
        store.open()
        assert {"ready": 3} == store.count(Filter())

    assert "task_of_event" in indexes(earlier)
    assert "task_event" not in indexes(earlier)


def test_pruning_looks_up_the_tasks_of_an_event_in_an_index(path: Path):
    """However many tasks there are, and whatever version made the file."""
    fill(path, 3)
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()
        asked: list[str] = []
        store._sql.set_trace_callback(asked.append)
        store.prune(NOW, 10)
        store._sql.set_trace_callback(None)
        (query,) = [sql for sql in asked if "EXISTS" in sql]
        plan = " ".join(row[3] for row in store._sql.execute(f"EXPLAIN QUERY PLAN {query}"))

    assert "SEARCH task USING INDEX task_of_event (event_id=?)" in plan
    assert "SEARCH event USING INDEX event_expire" in plan
    assert "TEMP B-TREE" not in plan
