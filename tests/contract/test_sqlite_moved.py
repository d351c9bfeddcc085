"""The embedded store's files deleted, moved or replaced under it: what nobody will find is no 202."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path

import pytest

from bus.errors import StoreHeld, StoreUnavailable, StoreUnusable
from bus.model import COMPLETE, Filter, Report
from bus.store import checks as look
from bus.store import open_spool, require_room
from bus.store.sqlite import file_identity, path_lock
from bus.store.sqlite.connection import Connection
from bus.store.sqlite.store import SqliteStore

from .samples import NAME, NOW, ONE, PATIENCE, a_delivery, a_fan_out, a_task, post

Harm = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data_dir."""
    return tmp_path / "data"


@pytest.fixture
def path(folder: Path) -> Path:
    """Where the store's file is."""
    return folder / "monqbus.db"


@pytest.fixture(params=[True, False], ids=["daemon", "command"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[SqliteStore]:
    """An opened store with one task in it, in a daemon and in any other process."""
    with closing(SqliteStore(path, daemon=request.param)) as store:
        store.open()
        post(store, a_task())
        store.tend()
        yield store


@pytest.fixture
def daemons(path: Path) -> Iterator[SqliteStore]:
    """The same of a daemon alone: nobody tends another one."""
    with closing(SqliteStore(path, daemon=True)) as store:
        store.open()
        post(store, a_task())
        store.tend()
        yield store


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def told(store: SqliteStore) -> list[str]:
    """The facts that tending brings to light."""
    return [notice.fact for notice in store.tend()]


def delete_the_file(path: Path) -> None:
    path.unlink()


def delete_all_files(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def delete_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def move_the_file(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace_the_file(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def replace_the_folder(path: Path) -> None:
    shutil.copytree(path.parent, path.parent.with_name("copy"))
    move_the_folder(path)
    path.parent.with_name("copy").rename(path.parent)


def link_elsewhere(path: Path) -> None:
    other = path.parent.with_name("other")
    other.mkdir()
    shutil.copy(path, other / path.name)
    path.unlink()
    path.symlink_to(other / path.name)


HARMS = [
    delete_the_file,
    delete_all_files,
    delete_the_folder,
    move_the_file,
    move_the_folder,
    replace_the_file,
    replace_the_folder,
    link_elsewhere,
]


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_committed_into_a_file_that_is_not_at_its_path_is_not_acknowledged(
    store: SqliteStore, path: Path, harm: Harm
) -> None:
    """From the very first commit, and without anybody tending it: the next start would find nothing."""
    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    harm(path)

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"expected the file that this process has open, got"):
            post(store, a_task())
    with pytest.raises(StoreUnavailable):
        store.ping()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.report([Report(task.claim, {"state": COMPLETE})])
    with pytest.raises(StoreUnavailable):
        store.claim(ONE, {NAME}, 10, NOW)


@pytest.mark.parametrize("harm", HARMS)
def test_that_it_is_there_already_is_no_answer_either(store: SqliteStore, path: Path, harm: Harm) -> None:
    """The first try may have stored it where nobody finds it; its repetition changes nothing."""
    (task,) = store.claim(ONE, {NAME}, 1, NOW).tasks
    delivery, end = a_fan_out(a_delivery(), a_task()), Report(task.claim, {"state": COMPLETE})
    harm(path)

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            store.post([delivery])
    store._connection.sql.execute("BEGIN IMMEDIATE")
    store._report(end)
    store._connection.sql.execute("COMMIT")
    with pytest.raises(StoreUnavailable):
        store.report([end])


@pytest.mark.parametrize("harm", HARMS)
def test_what_the_lost_files_hold_can_still_be_read_and_saved(
    store: SqliteStore, path: Path, tmp_path: Path, harm: Harm
) -> None:
    """By a backup, with all that was acknowledged and at most the first of what was not."""
    tasks = store.find(Filter(), 10)
    harm(path)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            post(store, a_task())

    store.backup(tmp_path / "saved.db")
    with closing(SqliteStore(tmp_path / "saved.db", daemon=False)) as saved:
        saved.open()
        found = saved.find(Filter(), 10)
        assert {task.id for task in tasks} <= {task.id for task in found}
        assert len(found) <= len(tasks) + 1
    assert len(found) == len(store.find(Filter(), 10))


def test_the_remedy_names_the_descriptors_of_deleted_files(
    daemons: SqliteStore, path: Path, tmp_path: Path
) -> None:
    """Copied together while nothing more is written to them, they are the store."""
    (task,) = daemons.find(Filter(), 10)
    delete_all_files(path)
    with pytest.raises(StoreUnavailable) as caught:
        daemons.ping()
    found = re.findall(r"(/proc/\d+/fd/\d+) to ([\w.-]+)", str(caught.value))
    copies = {name: Path(source) for source, name in found}
    for name, source in copies.items():
        (tmp_path / name).write_bytes(source.read_bytes())

    assert {"monqbus.db", "monqbus.db-wal"} == set(copies)
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=False)) as saved:
        saved.open()
        assert [task.id] == [one.id for one in saved.find(Filter(), 10)]


def test_where_a_moved_file_is_now_is_said(store: SqliteStore, path: Path) -> None:
    """With what to do: moving it back is enough."""
    move_the_folder(path)

    with pytest.raises(StoreUnavailable, match=r"it was moved to .*/elsewhere/monqbus\.db; move it back"):
        store.ping()


def test_once_it_is_back_at_its_path_the_work_goes_on_by_itself(daemons: SqliteStore, path: Path) -> None:
    """Nothing has to be restarted, and each change is told once."""
    move_the_folder(path)
    first = told(daemons) + told(daemons)
    path.parent.with_name("elsewhere").rename(path.parent)
    then = told(daemons) + told(daemons)

    assert (["store.moved"], ["store.restored"]) == (first, then)
    daemons.ping()
    post(daemons, a_task())
    assert {"ready": 2} == daemons.count(Filter())


def test_a_call_finds_out_by_itself_that_the_files_are_back(store: SqliteStore, path: Path) -> None:
    """It need not wait for the next time that somebody tends the store."""
    move_the_folder(path)
    with pytest.raises(StoreUnavailable):
        store.ping()
    path.parent.with_name("elsewhere").rename(path.parent)

    store.ping()


def test_a_log_that_was_deleted_is_made_anew_and_nothing_is_lost(daemons: SqliteStore, path: Path) -> None:
    """All that it held goes into the file first; what is acknowledged then survives the process."""
    (task,) = daemons.find(Filter(), 10)
    log_of(path).unlink()
    with pytest.raises(
        StoreUnavailable, match=r"-wal: expected the file that this process has open, got nothing"
    ):
        daemons.ping()

    assert ["store.moved", "store.restored"] == told(daemons)
    (later,) = post(daemons, a_task())
    copied = path.parent.with_name("as-after-a-kill")
    shutil.copytree(path.parent, copied, ignore=shutil.ignore_patterns("*.lock"))
    with closing(SqliteStore(copied / "monqbus.db", daemon=False)) as next_one:
        next_one.open()
        assert {task.id, later.id} == {one.id for one in next_one.find(Filter(), 10)}


def test_a_log_that_was_deleted_before_the_store_closes_loses_nothing(store: SqliteStore, path: Path) -> None:
    """SQLite writes it into the file at the end."""
    log_of(path).unlink()
    store.close()

    with closing(SqliteStore(path, daemon=False)) as next_one:
        next_one.open()
        assert {"ready": 1} == next_one.count(Filter())


def test_closing_leaves_alone_what_has_taken_the_place_of_the_files(store: SqliteStore, path: Path) -> None:
    """A rescued file and its log lie there perhaps, and SQLite deletes a log by its name."""
    delete_all_files(path)
    path.write_bytes(b"rescued")
    log_of(path).write_bytes(b"rescued too")
    store.close()

    assert (b"rescued", b"rescued too") == (path.read_bytes(), log_of(path).read_bytes())


def test_a_connection_that_cannot_go_back_is_not_opened_anew_on_another_file(
    store: SqliteStore, path: Path
) -> None:
    """An empty new store would answer as if all was well."""
    delete_all_files(path)
    store._connection._is_stuck = True

    with pytest.raises(StoreUnavailable, match="got nothing"):
        store.ping()
    assert not path.exists()


@pytest.mark.parametrize("harm", [delete_all_files, delete_the_folder, move_the_folder])
@pytest.mark.parametrize("daemon", [True, False], ids=["daemon", "command"])
def test_nobody_else_opens_the_path_while_the_first_holder_lives(
    store: SqliteStore, path: Path, harm: Harm, daemon: bool
) -> None:
    """It would begin with an empty store beside one that still runs tasks: the lock file is gone, too."""
    harm(path)
    with pytest.raises(
        StoreHeld, match=rf"held by pid {os.getpid()}, although its files were deleted or moved"
    ):
        SqliteStore(path, daemon=daemon).open()
    assert not path.exists()

    store.close()
    with closing(SqliteStore(path, daemon=daemon)) as next_one:
        next_one.open()


def test_a_dead_holder_holds_no_path(path: Path) -> None:
    """Its lock is the kernel's, and ends with it, whatever killed it."""
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.storekeeper", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert keeper.stdout is not None
    assert "open" == json.loads(keeper.stdout.readline())
    path.with_suffix(".lock").unlink()
    with pytest.raises(StoreHeld, match=f"held by pid {keeper.pid}"):
        SqliteStore(path, daemon=False).open()
    keeper.kill()
    keeper.communicate(timeout=PATIENCE)

    with closing(SqliteStore(path, daemon=False)) as next_one:
        next_one.open()


@pytest.mark.parametrize("stranger", ["another user", "another folder", "one who lets nobody in"])
def test_who_only_has_the_same_name_does_not_keep_anybody_out(
    path: Path, monkeypatch: pytest.MonkeyPatch, stranger: str
) -> None:
    """Names of sockets are everybody's: another user takes one, or another container means another folder."""
    with socket.socket(socket.AF_UNIX) as taken, ExitStack() as stack:
        taken.bind("\0monqbus/" + sha256(os.fsencode(path)).hexdigest())
        taken.listen(0)
        if stranger == "one who lets nobody in":
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.connect(taken.getsockname())  # the only one that its backlog takes
        elif stranger == "another user":
            monkeypatch.setattr(path_lock.PathLock, "_is_trusted", lambda self, user: False)
        else:
            monkeypatch.setattr(path_lock.os.path, "samestat", lambda *_: False)

        with closing(SqliteStore(path, daemon=False)) as store:
            store.open()
            post(store, a_task())


def test_many_who_have_asked_hide_no_holder(daemons: SqliteStore, path: Path) -> None:
    """Each that was refused stands in the backlog until the holder, while tending, lets it go."""
    path.with_suffix(".lock").unlink()
    for _ in range(3):
        for _ in range(100):
            with pytest.raises(StoreHeld):
                path_lock.PathLock(path).take()
        daemons.tend()


def test_an_empty_folder_whose_path_somebody_holds_is_not_taken_for_a_new_store(
    daemons: SqliteStore, path: Path
) -> None:
    """`list` would show nothing, and say so as if it were true."""
    delete_the_folder(path)
    path.parent.mkdir(0o700)

    with pytest.raises(StoreHeld, match="although its files were deleted"):
        require_room(path.parent)
    assert [] == list(path.parent.iterdir())


def test_a_deleted_lock_file_is_made_and_locked_anew(daemons: SqliteStore, path: Path) -> None:
    """Others look there first, and read who holds the store."""
    path.with_suffix(".lock").unlink()

    assert ["store.restored"] == told(daemons) + told(daemons)
    assert f"pid {os.getpid()} " in path.with_suffix(".lock").read_text()
    with pytest.raises(StoreHeld, match="; stop it, or use a data_dir"):
        SqliteStore(path, daemon=False).open()


def test_a_deleted_reserve_is_made_anew(daemons: SqliteStore, path: Path) -> None:
    """A full disk must not be the moment to find out."""
    (path.parent / "reserve").unlink()

    assert ["store.reserve_made"] == told(daemons) + told(daemons)


# at the start


def leave_only_the_log(path: Path) -> bytes:
    """A killed daemon's log, without its file."""
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()
        store.post([a_fan_out(a_delivery(), a_task())])
        left = log_of(path).read_bytes()
    path.unlink()
    log_of(path).write_bytes(left)
    return left


def test_a_log_without_its_file_is_refused_and_left_alone(path: Path) -> None:
    """SQLite would take it for a new store and delete the log with all that was acknowledged."""
    left = leave_only_the_log(path)

    for daemon in (True, False):
        with pytest.raises(
            StoreUnusable, match=r"got only .*-wal, which holds acknowledged work: put the file back"
        ):
            SqliteStore(path, daemon=daemon).open()
    with pytest.raises(StoreUnusable):
        list(look.file(path.parent, 0))
    assert (False, left) == (path.exists(), log_of(path).read_bytes())


@pytest.mark.parametrize("most", [0, 2**20])
def test_the_log_of_a_spool_without_its_file_is_refused(folder: Path, most: int) -> None:
    """Deliveries are in it, also when no spool is wanted any more."""
    left = leave_only_the_log(folder / "spool.sqlite")

    with pytest.raises(StoreUnusable, match=r"spool\.sqlite: expected the file beside its log"):
        open_spool(folder, most)
    assert left == log_of(folder / "spool.sqlite").read_bytes()


def test_an_empty_log_without_its_file_is_a_new_store(path: Path) -> None:
    """There is nothing in it."""
    path.parent.mkdir()
    log_of(path).touch()
    with closing(SqliteStore(path, daemon=False)) as store:
        store.open()
        post(store, a_task())


# what it costs


def test_looking_costs_one_question_a_file_and_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a sync that is nothing; reading asks nothing."""
    asked: list[str] = []
    stat = os.stat

    def count(name: str) -> os.stat_result:
        asked.append(name)
        return stat(name)

    monkeypatch.setattr(file_identity.os, "stat", count)
    store._connection.write(store._connection._beat)
    written = [Path(name).name for name in asked]
    asked.clear()
    store.get(a_task().id)
    store.find(Filter(), 10)

    assert (["monqbus.db", "monqbus.db-wal"], []) == (written, asked)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: only root may mount")
def test_a_disk_that_is_unmounted_under_the_store_and_mounted_again(tmp_path: Path) -> None:
    """As `umount --lazy` does it: the files are open, and nobody finds them."""
    disk, folder = tmp_path / "disk", tmp_path / "data"
    for place in (disk, folder):
        place.mkdir()
    if subprocess.run(
        ["mount", "--bind", str(disk), str(folder)], check=False, capture_output=True
    ).returncode:
        pytest.skip("cannot mount: CAP_SYS_ADMIN is missing")
    is_mounted = True
    try:
        with closing(SqliteStore(folder / "monqbus.db", daemon=True)) as store:
            store.open()
            told(store)
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
            is_mounted = False
            with pytest.raises(StoreUnavailable, match="it was deleted, unmounted or replaced"):
                post(store, a_task())
            assert ["store.moved"] == told(store)
            with pytest.raises(StoreHeld):
                SqliteStore(folder / "monqbus.db", daemon=False).open()
            subprocess.run(["mount", "--bind", str(disk), str(folder)], check=True)
            is_mounted = True
            assert ["store.restored"] == told(store)
            post(store, a_task())
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_store_in_memory_has_no_place() -> None:
    connection = Connection(":memory:", daemon=False, min_free=0)
    connection.open(examine=False)

    assert ((), None) == (connection.tend(), connection._place)
    connection.close()
