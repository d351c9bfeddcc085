"""A file of an earlier schema version: it is kept aside, brought up to date at once or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from bus.errors import StoreUnavailable, StoreUnusable
from bus.model import Event, Filter, Posting
from bus.store import checks
from bus.store.spool import Spool
from bus.store.sqlite import migration
from bus.store.sqlite.migrations import STEPS
from bus.store.sqlite.rows import SCHEMA_VERSION
from bus.store.sqlite.store import SqliteStore

from .samples import NOW, a_delivery, a_task

VERSION_1 = Path(__file__).with_name("files") / "version1.db"
"""Made by the code of version 1: three tasks, a delivery, a published event, one row of rubbish."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of version 1."""
    path = tmp_path / "monqbus.db"
    shutil.copy(VERSION_1, path)
    path.chmod(0o600)
    return path


@pytest.fixture
def backup(path: Path) -> Path:
    """Where it is kept as it was."""
    return path.with_name("monqbus.db.v1-backup")


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def dump(path: Path) -> list[str]:
    """All that is in a file, the number of pings aside."""
    with closing(sqlite3.connect(path)) as connection:
        lines = [f"version {connection.execute('PRAGMA user_version').fetchone()[0]}"]
        for name in ("task", "event"):
            lines += map(repr, connection.execute(f"SELECT * FROM {name} ORDER BY seq"))
        return lines + sorted(sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master") if sql)


def opened(path: Path, **options: bool) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path, daemon=False, **options)) as store:
        store.open()
        yield store


def test_the_last_migration_makes_the_version_of_a_new_file() -> None:
    """Else a new file would be migrated again, or an old one never be done."""
    assert list(range(2, SCHEMA_VERSION + 1)) == [version for version, _ in STEPS]


def test_every_item_of_an_earlier_file_can_be_read(path: Path) -> None:
    """Also those beside a row that nobody can read."""
    for store in opened(path):
        events = store.events(10)

        assert SCHEMA_VERSION == store.schema_version
        assert {"ready": 3} == store.count(Filter())
        assert [True, False, False] == [bool(event.fault) for event in events]
        assert ["order.paid", "github.push"] == [event.topic for event in events[1:]]


def test_events_get_their_columns_from_their_documents(path: Path) -> None:
    """A document that cannot be read gives none, and stops nothing."""
    ms = int(NOW.timestamp() * 1000)
    for _ in opened(path):
        pass

    assert [
        ("github", "github.push", ms, 1, "delivery"),
        (None, "order.paid", ms, 0, "published"),
        ("x", None, None, None, "delivery"),
    ] == rows(path, "SELECT hook, topic, received, task_count, kind FROM event ORDER BY seq")


def test_events_of_version_2_get_the_kind_that_their_hook_says(path: Path) -> None:
    """An event that had no key had no kind of key either, and is a delivery all the same."""
    with closing(sqlite3.connect(path)) as connection:
        STEPS[0][1](connection)
        connection.execute("UPDATE event SET key = NULL, key_kind = NULL WHERE hook = 'github'")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    for store in opened(path):
        kinds = {event.topic: event.kind for event in store.events(10) if not event.fault}

    assert {"github.push": "delivery", "order.paid": "published"} == kinds
    assert [("delivery",), ("published",), ("delivery",)] == rows(path, "SELECT kind FROM event ORDER BY seq")
    assert path.with_name("monqbus.db.v2-backup").exists()


def test_a_file_of_version_3_is_made_like_a_new_one(path: Path, tmp_path: Path) -> None:
    """The delivery log and the guard of events are there, under the same names, and empty."""
    with closing(sqlite3.connect(path)) as connection:
        for _, step in STEPS[:2]:
            step(connection)
        connection.execute("PRAGMA user_version = 3")
        connection.commit()
    new = tmp_path / "new.db"
    for place in (path, new):
        for _ in opened(place):
            pass

    columns = "SELECT name, type, [notnull] FROM pragma_table_info('{}') ORDER BY name"
    for table in ("event", "delivery"):
        assert rows(new, columns.format(table)) == rows(path, columns.format(table))
    names = "SELECT name FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    assert rows(new, names) == rows(path, names)
    assert [(None, 3)] == rows(path, "SELECT guard, count(*) FROM event GROUP BY guard")


def test_a_new_event_and_its_replay_write_the_same_columns(tmp_path: Path) -> None:
    """As the migration fills them."""
    new = tmp_path / "new.db"
    for store in opened(new):
        event = a_delivery()
        store.post([Posting([], event)])
        task = a_task(event_id=event.id)
        event.task_ids = [task.id]
        store.post([Posting([task], event)])

    assert [(event.topic, int(event.received.timestamp() * 1000), 1, "delivery")] == rows(
        new, "SELECT topic, received, task_count, kind FROM event"
    )


def test_a_migrated_file_has_the_tables_and_indexes_of_a_new_one(path: Path, tmp_path: Path) -> None:
    """In the same order of columns."""
    new = tmp_path / "new.db"
    for one in (path, new):
        for _ in opened(one):
            pass
    queries = ["PRAGMA table_info(task)", "PRAGMA table_info(event)"]
    queries.append("SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY name")

    for query in queries:
        assert rows(new, query) == rows(path, query)


def test_the_file_as_it_was_stays_beside_it(path: Path, backup: Path) -> None:
    """Complete, for nobody but its owner, and an earlier program can open it."""
    before = dump(path)
    for _ in opened(path):
        pass

    assert before == dump(backup)
    assert 0o600 == backup.stat().st_mode & 0o777
    assert not backup.with_name(f"{backup.name}.part").exists()


def test_a_second_opening_migrates_nothing(path: Path, backup: Path) -> None:
    """And makes no backup of what is up to date."""
    for _ in opened(path):
        pass
    backup.unlink()
    before = dump(path)
    for _ in opened(path):
        pass

    assert before == dump(path)
    assert not backup.exists()


def test_a_migration_that_is_broken_off_leaves_the_file_as_it_was(path: Path, backup: Path, monkeypatch):
    """Nothing of its first half is there, and the next opening does all of it."""
    before = dump(path)

    def broken(sql: sqlite3.Connection) -> None:
        STEPS[0][1](sql)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(migration, "STEPS", [(2, broken)])
        with pytest.raises(KeyboardInterrupt):
            SqliteStore(path, daemon=False).open()

    assert before == dump(path)
    assert not backup.exists()
    for store in opened(path):
        assert SCHEMA_VERSION == store.schema_version


def test_a_kill_in_the_middle_leaves_the_file_as_it_was(path: Path, backup: Path) -> None:
    """The backup stays, as nobody was there to take it away; the next opening does all of it."""
    before = dump(path)
    pid = os.fork()
    if not pid:
        try:
            migration.STEPS = [(2, _killed)]
            SqliteStore(path, daemon=False).open()
        finally:
            os._exit(1)
    (_, status) = os.waitpid(pid, 0)

    assert signal.SIGKILL == os.WTERMSIG(status)
    assert before == dump(path)
    assert before == dump(backup)
    for store in opened(path):
        assert SCHEMA_VERSION == store.schema_version
        assert {"ready": 3} == store.count(Filter())


def _killed(sql: sqlite3.Connection) -> None:
    STEPS[0][1](sql)
    os.kill(os.getpid(), signal.SIGKILL)


def test_without_room_for_the_backup_the_file_is_refused_and_left(path: Path, backup: Path, monkeypatch):
    """With how much is needed: a daemon that started on half an upgrade would be worse."""
    before = dump(path)
    found = type("Found", (), {"f_bavail": 1, "f_frsize": 4096})
    with monkeypatch.context() as patch:
        patch.setattr(migration.os, "statvfs", lambda _: found)
        with pytest.raises(StoreUnavailable, match=r"expected 0\.1 MiB free on its disk for the upgrade"):
            SqliteStore(path, daemon=False).open()

    assert before == dump(path)
    assert not backup.exists()


def test_a_disk_that_fills_up_during_the_backup_leaves_no_part_of_it(path: Path, backup: Path, monkeypatch):
    """The room that was looked at can be another's a moment later."""
    before = dump(path)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(migration.os, "fsync", full)
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            SqliteStore(path, daemon=False).open()

    assert before == dump(path)
    assert [] == sorted(path.parent.glob("*backup*"))


def test_a_backup_of_a_killed_upgrade_is_made_anew(path: Path, backup: Path) -> None:
    """It may be older than the file."""
    backup.write_bytes(b"half")
    before = dump(path)
    for _ in opened(path):
        pass

    assert before == dump(backup)


def test_a_newer_file_is_refused(path: Path) -> None:
    """Also to be looked at: its tables may mean something else."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    for examine in (False, True):
        newer = rf"\(version {SCHEMA_VERSION + 1}\); this one knows up to {SCHEMA_VERSION};"
        with pytest.raises(StoreUnusable, match=newer):
            SqliteStore(path, daemon=False, examine=examine).open()

    assert before == path.read_bytes()


def test_what_only_looks_says_the_version_and_leaves_it(path: Path, backup: Path) -> None:
    """`doctor` and `check`: who runs them may still want to go back."""
    before = dump(path)
    said = {found.name: found.value for found in checks.file(path.parent, 0)}

    assert (
        f"version 1; the next start upgrades it to {SCHEMA_VERSION}"
        == said["schema"]
        == checks.examine(path.parent)
    )
    assert before == dump(path)
    assert not backup.exists()


def test_a_spool_of_an_earlier_version_hands_over_what_it_has(path: Path) -> None:
    """It is a file like the store's: its deliveries were acknowledged."""
    spool = Spool(path, most=2**20)
    spool.open()
    try:
        kept = spool.oldest(10)
    finally:
        spool.close()

    assert ["github.push", "order.paid"] == [one.event.topic for one in kept if isinstance(one.event, Event)]
    assert [1, 0] == [len(one.tasks) for one in kept]
    assert ObjectId("65a000000000000000000001") == kept[0].tasks[0].event_id
