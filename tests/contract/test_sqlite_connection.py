"""The one connection to the embedded file: what it does when a transaction can neither end nor go back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event as Signal
from gevent.monkey import get_original

from bus.errors import StoreError, StoreHeld, StoreUnavailable
from bus.model import Filter, MonQTask, Posting, Receipt
from bus.regex import LONGEST_SEARCHED
from bus.store.sqlite import connection
from bus.store.sqlite import filter as sqlite_filter
from bus.store.sqlite.rows import INSERT_TASK, task_to_row
from bus.store.sqlite.store import LARGE_BYTES, SqliteStore

from .samples import PATIENCE, a_delivery, a_task, post, together


class Driver:
    """A driver's connection, with faults: it may neither commit nor roll back, or its commits hang."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real
        self.is_stuck = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if self.is_stuck and sql == "ROLLBACK":
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.execute(sql, *values)

    def commit(self) -> None:
        if self.is_stuck:
            raise sqlite3.OperationalError("disk I/O error")
        self._real.commit()


@pytest.fixture(params=[True, False], ids=["daemon", "command"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    """An opened store with one task in it, in a daemon and in any other process."""
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=request.param)) as store:
        store.open()
        post(store, a_task())
        yield store


def get_stuck(store: SqliteStore) -> None:
    """Put a connection in the middle of a transaction that it cannot leave."""
    connection = store._connection
    assert connection._connection is not None
    driver = Driver(connection._connection)
    driver.is_stuck = True
    connection._connection = driver  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        post(store, a_task())


def test_a_connection_that_cannot_go_back_is_opened_anew_under_the_same_lock(
    store: SqliteStore, tmp_path: Path
) -> None:
    """Nobody can slip in between, and what was half written is gone."""
    get_stuck(store)
    with pytest.raises(StoreHeld):
        SqliteStore(tmp_path / "monqbus.db", daemon=False).open()

    assert {"ready": 1} == store.count(Filter())
    post(store, a_task())
    assert {"ready": 2} == store.count(Filter())


def insert(store: SqliteStore, task: MonQTask) -> None:
    """What a job that brings work does, and no more."""
    store._connection.sql.execute(INSERT_TASK, task_to_row(task))


def test_a_job_that_fails_half_way_goes_back_on_the_same_connection(store: SqliteStore) -> None:
    """A new one would read a log that the disk may not have."""
    kept = store._connection.sql

    def half() -> None:
        insert(store, a_task())
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        store._connection.write(half)
    assert {"ready": 1} == store.count(Filter())
    assert kept is store._connection.sql


def test_while_it_cannot_be_opened_anew_every_call_says_so(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the first call after that works."""
    get_stuck(store)

    def fail(*_: object) -> None:
        raise StoreUnavailable("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "connect", fail)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="no disk"):
                store.ping()
    store.ping()
    assert {"ready": 1} == store.count(Filter())


def test_closing_never_raises_whatever_the_disk_does(store: SqliteStore, tmp_path: Path) -> None:
    """A daemon that stops has more to close, and the lock must go."""
    get_stuck(store)
    store.close()

    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=False)) as other:
        other.open()
        assert {"ready": 1} == other.count(Filter())


def test_a_failing_disk_is_asked_once_for_a_batch_and_not_for_each_of_it(tmp_path: Path) -> None:
    """A disk may take half a minute for each failure."""
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=True)) as store:
        store.open()
        tries = _count_commits(store, sqlite3.OperationalError("disk I/O error"))

        def one_post() -> None:
            with suppress(StoreUnavailable):
                post(store, a_task())

        together(*[one_post] * 50)
        assert 1 <= len(tries) <= 2


def test_a_statement_that_fails_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    """Only the disk's errors are everybody's: a pattern that is none is its caller's."""
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=True)) as store:
        store.open()
        post(store, a_task(state="error", result="boom"))

        def find(pattern: str) -> int | str:
            try:
                return len(store.find(Filter(error=pattern), 10))
            except Exception as error:  # noqa: BLE001 - told apart below
                return type(error).__name__

        answers = together(*(lambda p=p: find(p) for p in ("boom", "(", "b..m")))
        assert [1, "BadFilter", 1] == answers


def test_the_hub_turns_while_a_text_is_searched(tmp_path: Path) -> None:
    """The worst pattern and text that are taken: the search lets go of the interpreter lock."""
    text = "".join("abx"[number * number % 7 % 3] for number in range(LONGEST_SEARCHED))
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=True)) as store:
        store.open()
        post(store, a_task(state="error", result=text))
        searching = gevent.spawn(store.find, Filter(error="(.{0,90})z"), 10)
        turns = 0
        while not searching.ready():
            gevent.sleep(0)
            turns += 1

        assert [] == searching.get()
        assert turns > 100


def test_a_search_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the store, so it ends before its caller gives up; what runs beside it is done."""
    monkeypatch.setattr(sqlite_filter, "SEARCH_SECONDS", -1.0)
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=True)) as store:
        store.open()
        post(store, a_task(state="error", result="boom"))

        def search() -> str:
            try:
                return str(store.find(Filter(error="boom"), 10))
            except StoreError as error:
                return str(error)

        said, _ = together(search, lambda: post(store, a_task()))

        assert "the search took longer than" in said
        assert "narrow it" in said
        assert {"error": 1, "ready": 1} == store.count(Filter())


def _count_commits(store: SqliteStore, error: sqlite3.Error) -> list[int]:
    """Let every commit fail from now on; the list grows with each."""
    connection = store._connection
    assert connection._connection is not None
    tries: list[int] = []

    class Failing(Driver):
        def commit(self) -> None:
            tries.append(1)
            raise error

    connection._connection = Failing(connection._connection)  # type: ignore[assignment]
    return tries


def test_a_call_that_hangs_in_the_disk_is_left_in_time_and_the_next_are_refused(tmp_path: Path) -> None:
    """The sender gets its 503; what was asked may still happen, and a repetition finds it."""
    gate = Signal()
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=True)) as store:
        store.open()
        group = store._connection._group
        assert group is not None
        perform = group._perform
        group._perform = lambda jobs: gate.wait(PATIENCE) and perform(jobs)
        task = a_task()
        with pytest.raises(StoreUnavailable, match="the outcome is unknown"):
            group.submit(lambda: insert(store, task), 0.01)
        waiting = gevent.spawn(store.ping)
        gevent.idle()
        gate.set()
        waiting.get(timeout=PATIENCE)

        assert task == store.get(task.id)


def test_a_commit_whose_greenlet_is_killed_is_whole_and_the_next_ones_follow(tmp_path: Path) -> None:
    """A handler's `gevent.killall`: what is being committed may be neither cut in two nor overtaken."""
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=True)) as store:
        store.open()
        connection = store._connection
        assert connection._connection is not None and connection._group is not None
        hold, held = get_original("threading", "Event")(), gevent.get_hub().loop.async_()
        begun = Signal()
        held.start(begun.set)

        class Slow(Driver):
            def commit(self) -> None:
                held.send()
                assert hold.wait(PATIENCE)
                super().commit()

        connection._connection = Slow(connection._connection)  # type: ignore[assignment]
        posting = gevent.spawn(post, store, a_task())
        assert begun.wait(PATIENCE)
        waiting = gevent.spawn(post, store, a_task())
        gevent.idle()
        for _ in range(3):
            connection._group._draining.kill(block=False)
            gevent.idle()
        hold.set()
        gevent.joinall([posting, waiting], timeout=PATIENCE, raise_error=True)
        held.close()

        assert {"ready": 2} == store.count(Filter())


def test_a_large_posting_is_written_in_the_native_thread(tmp_path: Path, monkeypatch: Any) -> None:
    """Its statements would hold the hub for as long as a thousand small ones; those stay where they were."""
    threads: dict[int, int] = {}
    with closing(SqliteStore(tmp_path / "monqbus.db", daemon=True)) as store:
        store.open()
        write = store._post

        def noted(posting: Posting) -> Receipt:
            threads[len(posting.event.body) if posting.event else 0] = get_original("_thread", "get_ident")()
            return write(posting)

        monkeypatch.setattr(store, "_post", noted)
        small, large = a_delivery("small"), a_delivery("large")
        large.body = bytes(2 * LARGE_BYTES)
        store.post([Posting([], small)])
        store.post([Posting([], large)])
        found = store.event(large.id)

    here = get_original("_thread", "get_ident")()
    assert here == threads[len(small.body)]
    assert here != threads[len(large.body)]
    assert large == found
