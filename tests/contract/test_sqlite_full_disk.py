"""The embedded store on a disk that runs full: new work is refused first, ends are still recorded.

The disks are real and small (tmpfs), so these claims need root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bus.errors import StoreFull, StoreUnavailable
from bus.model import COMPLETE, Filter, Posting, Report
from bus.store.sqlite.disk_space import RESERVE_BYTES
from bus.store.sqlite.store import SqliteStore

from .samples import NAME, NOW, ONE, a_task, held, post

MIB = 1024**2
PIECE = 64 * 1024


class SmallDisk:
    """A tmpfs of its own, with a stranger's file that takes what it is told to take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stranger = folder / "stranger"

    @property
    def free(self) -> int:
        """Bytes that are free."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Take all but *leave* bytes."""
        with self._stranger.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, self._stranger.stat().st_size + self.free - leave)

    def empty(self) -> None:
        """Give back what `fill` took."""
        self._stranger.unlink()


@pytest.fixture
def new_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Mounts a disk of so many MiB."""
    mounted: list[Path] = []

    def new(size: int) -> SmallDisk:
        if os.geteuid() != 0:
            pytest.skip("not root: only root may mount a small disk")
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=0700", "tmpfs", str(folder)]
        if subprocess.run(words, check=False, capture_output=True).returncode:
            reason = f"cannot mount a tmpfs at {folder}: CAP_SYS_ADMIN is missing"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        mounted.append(folder)
        return SmallDisk(folder)

    yield new
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(new_disk: Callable[[int], SmallDisk]) -> SmallDisk:
    return new_disk(64)


@pytest.fixture
def store(disk: SmallDisk) -> Iterator[SqliteStore]:
    """An opened store of a daemon, with a watermark of 8 MiB."""
    store = SqliteStore(disk.folder / "monqbus.db", daemon=True, min_free=8 * MIB)
    with closing(store):
        store.open()
        yield store


def told(store: SqliteStore) -> list[str]:
    """The facts that tending brings to light."""
    return [notice.fact for notice in store.tend()]


def test_the_reserve_takes_its_blocks(store: SqliteStore, disk: SmallDisk) -> None:
    """A sparse file would promise room that is not there."""
    reserve = (disk.folder / "reserve").stat()

    assert (RESERVE_BYTES, 0o600) == (reserve.st_blocks * 512, reserve.st_mode & 0o777)
    assert ["store.reserve_made"] == told(store)


def test_below_the_watermark_new_work_is_refused_and_the_rest_goes_on(
    store: SqliteStore, disk: SmallDisk
) -> None:
    """Claims, ends, reading, operator actions: whoever finishes makes room."""
    (task, waiting) = held(store)[0], post(store, a_task())[0]
    told(store)
    disk.fill(leave=4 * MIB)
    facts = told(store) + told(store)

    with pytest.raises(StoreFull, match=r"low on disk space: expected 8\.0 MiB free for .* got 4\.0 MiB"):
        store.post([Posting([a_task()])])
    with pytest.raises(StoreFull):
        store.ping()
    assert ["store.low_on_space"] == facts
    assert [waiting.id] == [one.id for one in store.claim(ONE, {NAME}, 9, NOW).tasks]
    assert [True] == store.report([Report(task.claim, {"state": COMPLETE})])
    assert 1 == store.move([waiting.id], ["busy"], {"state": "skipped"})
    assert 1 == store.delete([waiting.id], ["skipped"])
    assert {"complete": 1} == store.count(Filter())


def test_with_room_again_new_work_is_taken_and_that_is_told_once(store: SqliteStore, disk: SmallDisk) -> None:
    """Nobody has to restart anything."""
    disk.fill(leave=4 * MIB)
    told(store)
    disk.empty()

    assert ["store.has_space"] == told(store) + told(store)
    store.ping()
    post(store, a_task())
    assert {"ready": 1} == store.count(Filter())


def test_an_end_that_finds_the_disk_full_gets_the_room_of_the_reserve(
    store: SqliteStore, disk: SmallDisk
) -> None:
    """Or the task would run again after the next start."""
    tasks = held(store, 4)
    told(store)
    disk.fill()
    reports = [Report(task.claim, {"state": COMPLETE, "result": "x" * MIB}) for task in tasks]

    assert [True] * 4 == store.report(reports)
    assert {"complete": 4} == store.count(Filter())
    assert not (disk.folder / "reserve").exists()
    assert ["store.low_on_space", "store.reserve_spent"] == told(store) + told(store)


def test_the_room_of_the_reserve_is_not_for_new_work(store: SqliteStore, disk: SmallDisk) -> None:
    """More is free then than the watermark asks for."""
    (task,) = held(store)
    disk.fill()
    store.report([Report(task.claim, {"state": COMPLETE, "result": "x" * 3 * MIB})])
    assert disk.free > 8 * MIB

    for _ in range(2):
        with pytest.raises(StoreFull, match="is full: new work is refused until there is room"):
            store.post([Posting([a_task()])])
        told(store)


def test_the_reserve_is_made_anew_when_there_is_room(store: SqliteStore, disk: SmallDisk) -> None:
    """And only then new work is taken again."""
    (task,) = held(store)
    disk.fill()
    store.report([Report(task.claim, {"state": COMPLETE, "result": "x" * 5 * MIB})])
    told(store)
    disk.empty()

    assert ["store.reserve_made", "store.has_space"] == told(store) + told(store)
    assert (disk.folder / "reserve").stat().st_blocks * 512 == RESERVE_BYTES
    post(store, a_task())


def test_a_post_that_finds_the_disk_full_is_refused_and_leaves_the_reserve(
    store: SqliteStore, disk: SmallDisk
) -> None:
    """Somebody filled the disk within the second between two looks."""
    told(store)
    disk.fill()
    refused = None
    while refused is None:
        try:
            post(store, a_task(args=["x" * MIB]))
        except StoreUnavailable as error:
            refused = error

    assert isinstance(refused, StoreFull)
    assert ["store.low_on_space"] == told(store)
    assert (disk.folder / "reserve").exists()


def test_a_daemon_starts_on_a_full_disk_and_refuses(disk: SmallDisk) -> None:
    """What waits can run and make room; an exit would be an outage of everything."""
    path = disk.folder / "monqbus.db"
    with closing(SqliteStore(path, daemon=True, min_free=MIB)) as first:
        first.open()
        (task,) = post(first, a_task())
    (disk.folder / "reserve").unlink()
    disk.fill()

    with closing(SqliteStore(path, daemon=True, min_free=MIB)) as second:
        second.open()
        assert ["store.reserve_missing", "store.low_on_space"] == told(second)
        assert task == second.get(task.id)
        with pytest.raises(StoreFull):
            second.ping()
        disk.empty()
        told(second)
        second.ping()


def test_on_a_small_disk_there_is_no_reserve_and_that_is_told_once(
    new_disk: Callable[[int], SmallDisk],
) -> None:
    """It would take what it is meant to keep."""
    disk = new_disk(24)
    with closing(SqliteStore(disk.folder / "monqbus.db", daemon=True, min_free=4 * MIB)) as store:
        store.open()
        (task,) = held(store)

        assert ["store.reserve_missing"] == told(store) + told(store)
        assert not (disk.folder / "reserve").exists()
        disk.fill()
        with pytest.raises(StoreUnavailable, match="the disk is full; free some of it"):
            store.report([Report(task.claim, {"state": COMPLETE, "result": "x" * 5 * MIB})])
        disk.empty()
        told(store)
        told(store)
        assert [True] == store.report([Report(task.claim, {"state": COMPLETE})])
        store.ping()


def test_room_inside_the_file_counts(store: SqliteStore, disk: SmallDisk) -> None:
    """SQLite's file never gets smaller: a store that filled its own disk would refuse for ever."""
    tasks = post(store, *(a_task(args=["x" * MIB]) for _ in range(16)))
    disk.fill(leave=4 * MIB)
    before = told(store)
    store.move([task.id for task in tasks], ["ready"], {"state": "skipped"})
    store.delete([task.id for task in tasks], ["skipped"])

    assert "store.low_on_space" in before
    assert ["store.has_space"] == told(store)
    post(store, a_task(args=["x" * MIB]))
