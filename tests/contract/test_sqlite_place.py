"""Where the embedded store's files lie: nobody else can write there, and no name leads out of there."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bus.errors import ConfigError, MonqbusError, StoreError
from bus.store import as_owner_of, open_memory_store, open_store, require_room
from bus.store.sqlite.disk_space import RESERVE_BYTES, DiskSpace
from bus.store.sqlite.store import SqliteStore

from .samples import a_task, post

NOBODY = pwd.getpwnam("nobody")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder."""
    path = tmp_path / "data"
    path.mkdir(0o700)
    return path


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file elsewhere that nothing may touch."""
    path = tmp_path / "precious"
    path.write_bytes(b"precious " * 1000)
    return path


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A data folder of nobody's, in a place that everybody can enter."""
    with tempfile.TemporaryDirectory() as outer:
        os.chmod(outer, 0o755)  # noqa: PTH101, S103 - as a home is
        path = Path(outer) / "data"
        path.mkdir(0o700)
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        yield path


@pytest.mark.parametrize("name", ["monqbus.lock", "monqbus.db", "monqbus.db-wal"])
def test_a_link_in_a_files_place_is_refused(folder: Path, precious: Path, name: str) -> None:
    """What it leads to is neither cut nor written."""
    (folder / name).symlink_to(precious)
    if name.endswith("wal"):
        (folder / "monqbus.db").touch()
    before = precious.read_bytes()

    with pytest.raises(MonqbusError):
        open_store("sqlite", folder)
    assert before == precious.read_bytes()


def test_a_link_to_nothing_makes_nothing(folder: Path, tmp_path: Path) -> None:
    for name in ("monqbus.lock", "monqbus.db"):
        (folder / name).symlink_to(tmp_path / "made")
        with pytest.raises(MonqbusError):
            open_store("sqlite", folder)
        (folder / name).unlink()

    assert not (tmp_path / "made").exists()


def test_a_lock_that_is_a_pipe_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "monqbus.lock")

    with pytest.raises(ConfigError, match="cannot lock"):
        open_store("sqlite", folder)


@pytest.mark.parametrize("leads_to", ["precious", "nothing"])
def test_a_link_in_the_reserves_place_is_replaced(folder: Path, precious: Path, leads_to: str) -> None:
    """A file of 16 MiB appears nowhere but in the data folder."""
    target = precious.with_name(leads_to)
    before = precious.read_bytes()
    (folder / "reserve").symlink_to(target)
    disk = DiskSpace(folder, 0)
    disk.look()

    assert ["store.reserve_made"] == [notice.fact for notice in disk.news()]
    assert not (folder / "reserve").is_symlink()
    assert RESERVE_BYTES == (folder / "reserve").stat().st_size
    assert before == precious.read_bytes()
    assert target.exists() == (leads_to == "precious")


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
@pytest.mark.parametrize("daemon", [True, False])
def test_a_folder_that_others_can_write_to_is_refused(folder: Path, mode: int, daemon: bool) -> None:
    """Sticky or not: new names in it would be others' as well."""
    folder.chmod(mode)

    with pytest.raises(ConfigError, match=f"mode {mode:04o} lets others write; run as its owner, or give it"):
        open_store("sqlite", folder, daemon=daemon)
    with pytest.raises(ConfigError, match="lets others write"):
        require_room(folder)
    assert [] == list(folder.iterdir())


@root_only
def test_a_daemon_of_root_refuses_somebody_elses_folder(theirs: Path) -> None:
    """Its owner could exchange every file under it."""
    with pytest.raises(
        ConfigError, match=f"got {theirs}: it belongs to user {NOBODY.pw_uid}; run as its owner"
    ):
        open_store("sqlite", theirs, daemon=True)
    assert [] == list(theirs.iterdir())


@root_only
def test_a_command_of_roots_leaves_files_of_the_folders_owner(theirs: Path) -> None:
    """Else the daemon could not open them; and root is root again afterwards."""
    before = os.getgroups()
    with closing(open_store("sqlite", theirs)) as store:
        post(store, a_task())
        owners = {path.name: path.stat().st_uid for path in theirs.iterdir()}

    assert {"monqbus.db", "monqbus.db-wal", "monqbus.lock", "reserve"} == set(owners)
    assert {NOBODY.pw_uid} == set(owners.values())
    assert (0, 0, before) == (os.geteuid(), os.getegid(), os.getgroups())


@root_only
def test_a_folder_that_root_makes_in_somebodys_is_theirs(theirs: Path) -> None:
    open_store("sqlite", theirs / "deeper").close()

    assert {NOBODY.pw_uid} == {
        path.stat().st_uid for path in (theirs / "deeper", *(theirs / "deeper").iterdir())
    }


@root_only
def test_the_owners_links_lead_root_nowhere(theirs: Path, precious: Path) -> None:
    """Not even one that is there only at the worst moment: all is opened with the owner's rights."""
    precious.chmod(0o600)
    before = precious.read_bytes()
    with as_owner_of(theirs), pytest.raises(PermissionError):
        precious.open()
    (theirs / "reserve").symlink_to(precious)
    open_store("sqlite", theirs).close()

    assert before == precious.read_bytes()
    assert NOBODY.pw_uid == (theirs / "reserve").lstat().st_uid


def test_looking_for_room_makes_nothing(tmp_path: Path) -> None:
    require_room(tmp_path / "not" / "there")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_backup_where_others_can_exchange_files_is_refused(tmp_path: Path, mode: int) -> None:
    """SQLite opens the copy by its name, which may be a link by then."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(mode)
    with closing(open_memory_store()) as store:
        with pytest.raises(StoreError, match=rf"its mode {mode:04o} lets others write; .* chmod \+t {place}"):
            store.backup(place / "copy.db")
        assert [] == list(place.iterdir())
        place.chmod(0o1777)
        store.backup(place / "copy.db")

    assert 0o600 == stat.S_IMODE((place / "copy.db").stat().st_mode)
    assert ["copy.db"] == [path.name for path in place.iterdir()]


@pytest.mark.parametrize("name", ["copy.db", "copy.db.part"])
def test_a_backup_follows_no_link(tmp_path: Path, precious: Path, name: str) -> None:
    before = precious.read_bytes()
    (tmp_path / name).symlink_to(precious)
    with closing(SqliteStore(":memory:", daemon=False)) as store:
        store.open()

        with pytest.raises(StoreError, match=f"{name}: is there already"):
            store.backup(tmp_path / "copy.db")
    assert before == precious.read_bytes()
