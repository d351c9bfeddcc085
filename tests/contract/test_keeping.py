"""Keep: a store copied into another one, and a backup made while the work goes on."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import gevent
import pytest

from bus.copying import copy, size
from bus.errors import StoreError
from bus.model import COMPLETE, Filter, Posting, Report
from bus.store import checks, open_memory_store, open_store
from bus.store.contract import Store

from .samples import NOW, ONE, a_delivery, a_fan_out, a_task, held, post, together

ALL = Filter()


@pytest.fixture
def source():
    """An embedded store with tasks in every state, two events and a key."""
    store = open_memory_store()
    fan_out = a_fan_out(a_delivery("d-1"), a_task("a"), a_task("b"))
    alone = a_delivery("d-2")
    store.post([fan_out, Posting([], alone)])
    post(store, a_task(key="one", args=[1, {"$where": "."}], priority=50), a_task(time_queue=NOW))
    (ended,) = held(store, name="e")
    store.report([Report(ended.claim, {"state": COMPLETE, "result": [1], "time_stop": NOW})])
    held(store, name="busy")
    yield store
    store.close()


def everything(store: Store):
    tasks = {task.id: task for task in store.find(ALL, 1000)}
    return tasks, {event.id: event for event in store.events(1000)}


# copy


def test_a_copy_has_every_task_and_event_as_it_was(source, store: Store) -> None:
    """Ids, states, claims, bodies, delivery ids."""
    told: list[int] = []

    assert (2, 6, []) == copy(source, store, told.append)
    assert everything(source) == everything(store)
    assert size(source) == told[-1] == 8


def test_a_redelivery_after_the_copy_is_recognised(source, store: Store) -> None:
    copy(source, store)
    (receipt,) = store.post([Posting([], a_delivery("d-2"))])

    assert receipt.duplicate


def test_a_copy_that_was_cut_short_is_completed_by_the_next(source, store: Store) -> None:
    class CutShort(Exception):
        pass

    def stop(count: int) -> None:
        if count > 2:
            raise CutShort

    with pytest.raises(CutShort):
        copy(source, store, stop)
    copy(source, store)

    assert everything(source) == everything(store)


def test_what_has_gone_on_in_the_copy_is_not_set_back(source, store: Store) -> None:
    """A second copy finds a task that a daemon on the new store has ended meanwhile."""
    copy(source, store)
    (task,) = store.claim(ONE, {"a"}, 1, NOW).tasks
    store.report([Report(task.claim, {"state": COMPLETE})])
    copy(source, store)

    assert "complete" == store.get(task.id).state  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["ended", "claimed again"])
def test_a_copy_of_a_store_that_was_worked_on_since_the_last_copy_is_refused(
    source, store: Store, how
) -> None:
    """The copy still says ready: it would run once more."""
    copy(source, store)
    (task,) = source.claim(ONE, {"a"}, 1, NOW).tasks
    fields = {"state": COMPLETE} if how == "ended" else {"state": "ready", "worker": None}
    source.report([Report(task.claim, fields)])

    with pytest.raises(StoreError, match=f"task {task.id} .* has worked on this store since"):
        copy(source, store)
    assert "ready" == store.get(task.id).state  # type: ignore[union-attr]


def test_a_store_with_events_of_its_own_is_refused(source, store: Store) -> None:
    store.post([Posting([], a_delivery("d-9"))])

    with pytest.raises(StoreError, match=r"event .*name an empty database"):
        copy(source, store)
    assert 1 == len(store.events(10))


def test_events_that_do_not_arrive_are_missed(source, store: Store, monkeypatch) -> None:
    """The target is asked for each of them, not believed."""
    monkeypatch.setattr(type(store), "adopt", lambda *_: None)

    with pytest.raises(StoreError, match="2 of 2 events did not arrive"):
        copy(source, store)


def test_a_store_with_tasks_of_its_own_is_refused(source, store: Store) -> None:
    post(store, a_task())

    with pytest.raises(StoreError, match="name an empty database"):
        copy(source, store)
    assert 1 == len(store.find(ALL, 10))


def test_what_cannot_be_read_stays_behind_and_is_told(source, store: Store) -> None:
    """A task of which a part can be read comes in `error`: it must not run with that part alone."""
    sql = source._connection.sql
    ready, other = source.find(Filter(states=("ready",)), 2)
    events = source.events(2)
    sql.execute("UPDATE task SET body = ? WHERE id = ?", (b"rubbish", ready.id.binary))
    sql.execute("UPDATE task SET id = 'rubbish' WHERE id = ?", (other.id.binary,))
    sql.execute("UPDATE event SET document = ? WHERE id = ?", (b"rubbish", events[0].id.binary))

    copied = copy(source, store)
    there = store.get(ready.id)

    assert (1, 5) == (copied.events, copied.tasks)
    assert [f"event {events[0].id}: ", f"task {other.task_name}: "] == [
        sentence[: sentence.index(": ") + 2] for sentence in copied.left
    ]
    assert there is not None
    assert ("error", True) == (there.state, there.result.startswith("args: cannot be read"))


@pytest.mark.needs("shared")
def test_what_the_rules_of_the_target_forbid_stays_behind_and_is_told(source, store: Store) -> None:
    """The others arrive, also by the next copy."""
    refused = source.find(ALL, 1)[0]
    with store._connection.call() as database:  # type: ignore[attr-defined]
        database.command("collMod", "monq_task", validator={"_id": {"$ne": refused.id}})

    first, second = copy(source, store), copy(source, store)

    assert first == second
    assert (2, 5) == (first.events, first.tasks)
    assert [True] == [f"task {refused.id}: " in sentence for sentence in first.left]


@pytest.mark.parametrize("kind", ["task", "event"])
def test_a_key_that_another_one_holds_is_told(store: Store, kind: str) -> None:
    if kind == "task":
        post(store, a_task(key="k"))
        with pytest.raises(StoreError, match="its key 'k' is held by another task"):
            store.adopt([a_task(key="k")], [])
    else:
        store.post([Posting([], a_delivery("d"))])
        with pytest.raises(StoreError, match="is held by another event"):
            store.adopt([], [a_delivery("d")])


def test_events_come_newest_first_page_by_page(store: Store) -> None:
    events = [a_delivery(f"d-{n}") for n in range(5)]
    store.post([Posting([], event) for event in events])
    ids = [event.id for event in reversed(events)]
    first = store.events(2)

    assert ids[:2] == [event.id for event in first]
    assert ids[2:] == [event.id for event in store.events(10, first[-1].id)]


# backup


@pytest.fixture
def file_store(tmp_path: Path):
    """An embedded store as a daemon has it."""
    store = open_store("sqlite", tmp_path / "data", daemon=True)
    yield store
    store.close()


def restored(path: Path, folder: Path) -> Store:
    """The store that a backup is, put in place as the documents say."""
    folder.mkdir(mode=0o700)
    (folder / "monqbus.db").write_bytes(path.read_bytes())
    checks.examine(folder)
    return open_store("sqlite", folder)


def test_a_backup_is_one_file_of_its_owner_with_everything_in_it(file_store, tmp_path):
    post(file_store, *(a_task(args=["x" * 1000]) for _ in range(3000)))
    path = tmp_path / "backup.db"
    file_store.backup(path)

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert {"backup.db", "data"} == {one.name for one in tmp_path.iterdir()}
    copy = restored(path, tmp_path / "new")
    assert everything(file_store) == everything(copy)
    copy.close()


def test_work_goes_on_between_the_steps_of_a_backup(file_store, tmp_path):
    """Posts are answered while it is made, what was acknowledged before it began is in it."""
    before = post(file_store, *(a_task(args=["x" * 2000]) for _ in range(4000)))
    posted, over = [], []

    def keep_posting():
        while not over:
            posted.extend(post(file_store, a_task()))
            gevent.sleep(0)

    def backup():
        file_store.backup(tmp_path / "backup.db")
        over.append(True)

    together(backup, keep_posting)
    copy = restored(tmp_path / "backup.db", tmp_path / "new")
    there = {task.id for task in copy.find(ALL, 100_000)}
    copy.close()

    assert len(posted) > 2, "nothing was posted while the backup was made"
    assert {task.id for task in before} <= there
    assert {task.id for task in before} | {task.id for task in posted} == {
        task.id for task in file_store.find(ALL, 100_000)
    }


def test_without_a_daemon_a_backup_is_made_at_once(tmp_path):
    with_tasks = open_store("sqlite", tmp_path / "data")
    (task,) = post(with_tasks, a_task())
    with_tasks.backup(tmp_path / "backup.db")
    with_tasks.close()
    copy = restored(tmp_path / "backup.db", tmp_path / "new")

    assert [task] == copy.find(ALL, 10)
    copy.close()


def test_a_backup_never_replaces_a_file(file_store, tmp_path):
    path = tmp_path / "backup.db"
    path.write_text("precious")

    with pytest.raises(StoreError, match="is there already; name a new file"):
        file_store.backup(path)
    assert "precious" == path.read_text()


def test_a_backup_to_nowhere_says_so_and_the_store_goes_on(file_store, tmp_path):
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        file_store.backup(tmp_path / "nowhere" / "backup.db")

    post(file_store, a_task())


def test_a_backup_that_is_given_up_leaves_nothing_and_the_store_goes_on(file_store, tmp_path):
    """Its caller has gone: the copying thread ends, no file stays behind, no lock is held."""
    post(file_store, *(a_task(args=["x" * 2000]) for _ in range(4000)))
    greenlet = gevent.spawn(file_store.backup, tmp_path / "backup.db")
    while not (tmp_path / "backup.db.part").exists():
        gevent.sleep(0)
        assert not greenlet.dead, "it was over before it could be given up"
    greenlet.kill()

    assert ["data"] == [one.name for one in tmp_path.iterdir()]
    (task,) = post(file_store, a_task())
    assert task == file_store.get(task.id)
    file_store.backup(tmp_path / "second.db")
    assert "ok" == sqlite3.connect(tmp_path / "second.db").execute("PRAGMA quick_check").fetchone()[0]


@pytest.mark.needs("shared")
def test_a_shared_store_has_tools_of_its_own(store: Store, tmp_path) -> None:
    with pytest.raises(StoreError, match="use mongodump"):
        store.backup(tmp_path / "backup.db")
