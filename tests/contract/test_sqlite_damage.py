"""Rows of the embedded file that hold what no task has: set aside, shown, and in nobody's way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import bson
import pytest

from bus.admin import Admin
from bus.model import BUSY, COMPLETE, ERROR, READY, Filter, MonQTask, Posting, Receipt, Report
from bus.store.fields import ASIDE
from bus.store.sqlite.store import MEMORY, SqliteStore

from .samples import (
    CLOCK,
    NAME,
    NOW,
    ONE,
    TWO,
    a_delivery,
    a_fan_out,
    a_task,
    held,
    later,
    post,
)

# column, what is put there, what is said about it
WRONG: list[tuple[str, Any, str]] = [
    ("body", b"rubbish", "args: cannot be read ("),
    ("body", bson.encode({"args": [], "kwargs": {}}), "context: cannot be read (it is missing)"),
    ("body", bson.encode({"args": {}, "kwargs": {}, "context": {}}), "args: expected an array, got dict"),
    ("body", bson.encode({"args": [], "kwargs": {}, "context": {}, "timeout": "1 h"}), "timeout: expected"),
    ("history", b"rubbish", "history: cannot be read ("),
    ("history", bson.encode({"v": [5]}), "history: expected an array, got list [5]"),
    ("id", "text", "id: expected 12 bytes, got 'text'"),
    ("id", b"", "id: expected 12 bytes, got b''"),
    ("time_queue", "yesterday", "time_queue: expected a date, got str 'yesterday'"),
    ("task_name", b"shop", "task_name: expected text, got bytes b'shop'"),
    ("rank", b"x", "priority: cannot be read (rank b'x')"),
    ("attempt", 2**63 - 1, "attempt: expected a number, got float"),
    ("generation", 2**63 - 1, "generation: expected a number, got float"),
    ("crashes", "many", "crashes: expected a number, got str 'many'"),
    ("topic", None, "topic: expected text, got BadText"),  # put in as text that is no UTF-8
    ("event_id", b"short", "event_id: expected an ObjectId, got bytes b'short'"),
    ("result", b"rubbish", "result: cannot be read ("),
    ("progress", bson.encode({"v": 5}), "progress: expected a document, got int 5"),
]


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with closing(SqliteStore(MEMORY, daemon=False)) as store:
        store.open()
        yield store


@pytest.fixture
def sql(store: SqliteStore) -> sqlite3.Connection:
    """For doing damage behind the store's back."""
    return store._connection.sql


def damage(sql: sqlite3.Connection, task: MonQTask, column: str, value: Any) -> None:
    cast, given = ("CAST(? AS TEXT)", b"\xff\xfe") if value is None else ("?", value)
    sql.execute(f"UPDATE task SET {column} = {cast} WHERE id = ?", (given, task.id.binary))


def test_a_row_that_cannot_be_read_stops_no_claim(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """It ends in `error` with the reason, in front of all others as it was; they run."""
    bad = post(store, *(a_task(priority=99, args=[n]) for n in range(len(WRONG))))
    good = post(store, *(a_task() for _ in range(5)))
    for task, (column, value, _) in zip(bad, WRONG, strict=True):
        damage(sql, task, column, value)

    claimed = [task for _ in WRONG for task in store.claim(ONE, {NAME}, 3, NOW).tasks]
    told = [notice.fields["reason"] for notice in store.tend()]

    assert good == [store.get(task.id) and task for task in good]
    assert [task.id for task in good] == [task.id for task in claimed]
    assert {ERROR: len(WRONG), BUSY: 5} == store.count(Filter())
    for column, _, said in WRONG:
        assert any(reason.startswith(said) for reason in told), (column, said, told)
    assert len(WRONG) == sum(store.count(Filter(states=(ERROR,), error=ASIDE)).values())


@pytest.mark.parametrize(("column", "value", "said"), WRONG)
def test_it_is_shown_and_can_be_purged(
    store: SqliteStore, sql: sqlite3.Connection, column: str, value: Any, said: str
) -> None:
    """Before it was met and afterwards, whatever is wrong, its id too."""
    (task,) = post(store, a_task())
    damage(sql, task, column, value)
    (before,) = store.find(Filter(), 9)
    store.claim(ONE, {NAME}, 9, NOW)

    (after,) = store.find(Filter(states=(ERROR,)), 9)
    (looked_at,) = [store.get(after.id)]

    assert before.fault.partition(":")[0] == said.partition(":")[0]
    assert after == looked_at
    assert after.result.startswith(said)
    assert 1 == Admin(store, CLOCK).purge(Filter()).done
    assert [] == store.find(Filter(), 9)


def test_one_that_was_corrected_runs_after_a_retry(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """As the reason says."""
    (task,) = post(store, a_task(args=[1]))
    (body,) = sql.execute("SELECT body FROM task").fetchone()
    damage(sql, task, "body", b"rubbish")
    store.claim(ONE, {NAME}, 9, NOW)

    damage(sql, task, "body", body)
    store.move([task.id], {ERROR}, {"state": READY, "result": None})
    (claimed,) = store.claim(ONE, {NAME}, 9, NOW).tasks

    assert [1] == claimed.args


def test_an_orphan_that_cannot_be_read_stops_no_rescue(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """Nor one that names no instance: nobody would ever have ended it."""
    bad, nobodys, good = held(store, 3, instance=TWO)
    damage(sql, bad, "history", b"rubbish")
    sql.execute("UPDATE task SET worker = NULL WHERE id = ?", (nobodys.id.binary,))

    assert [good.id] == [task.id for task in store.orphans(ONE, 9)]
    assert {ERROR: 2, BUSY: 1} == store.count(Filter())


def test_a_claim_that_cannot_be_named_stops_no_audit(store: SqliteStore, sql: sqlite3.Connection) -> None:
    bad, good = held(store, 2)
    damage(sql, bad, "generation", "x")

    assert [good.claim] == store.held(ONE)
    assert {ERROR: 1, BUSY: 1} == store.count(Filter())


def test_a_task_whose_delivery_cannot_be_read_does_not_run_without_it(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """It is set aside, and says which event; other deliveries run."""
    bad, good = (a_fan_out(a_delivery(name), a_task()) for name in ("bad", "good"))
    store.post([bad, good])
    sql.execute("UPDATE event SET document = ? WHERE key = 'github:bad'", (b"rubbish",))

    claimed = store.claim(ONE, {NAME}, 9, NOW).tasks
    aside = store.get(bad.tasks[0].id)

    assert [(good.tasks[0].id, b'{"n": 1}')] == [
        (task.id, task.event and task.event.body) for task in claimed
    ]
    assert aside is not None
    assert (ERROR, True) == (aside.state, aside.result.startswith("event topic: expected text, got null"))
    assert [""] == [event.fault for event in store.events(9) if event.id == good.event.id]  # type: ignore[union-attr]


def test_a_delivery_whose_first_event_cannot_be_read_is_still_known(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Its sender repeated it for ever and was told 500."""
    first = a_delivery("d")
    store.post([a_fan_out(first, a_task())])
    sql.execute("UPDATE event SET document = ?", (b"rubbish",))

    assert [Receipt([], first.id, duplicate=True)] == store.post([Posting([], a_delivery("d"))])


def test_a_redelivery_brings_again_what_cannot_be_read_of_the_first(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Nobody can tell which tasks it had: it gets those of the redelivery, and their handlers its body."""
    first = a_delivery("d")
    store.post([a_fan_out(first, a_task("gone"))])
    sql.execute("UPDATE event SET document = ?", (b"rubbish",))
    again = a_fan_out(a_delivery("d"), a_task())

    (receipt,) = store.post([again])
    (task,) = store.claim(ONE, {NAME}, 9, NOW).tasks

    assert Receipt([again.tasks[0].id], first.id, replayed=True) == receipt
    assert (again.tasks[0].id, b'{"n": 1}') == (task.id, task.event and task.event.body)
    assert [Receipt(receipt.task_ids, first.id, duplicate=True)] == store.post(
        [a_fan_out(a_delivery("d"), a_task())]
    )


def test_a_moment_beyond_all_calendars_is_waited_for(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """To say when the next task is due must not fail."""
    far, soon = post(store, a_task(), a_task(time_queue=later(60)))
    damage(sql, far, "time_queue", 2**62)

    claimed = store.claim(ONE, {NAME}, 9, NOW)
    store.delete([soon.id], {READY})
    store.move([soon.id], {READY}, {"state": COMPLETE})

    assert ([], later(60)) == claimed
    assert store.claim(ONE, {NAME}, 9, NOW).next_due is not None


def test_an_end_is_written_whatever_stands_in_its_row(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """By the claim alone."""
    tasks = held(store, len(WRONG))
    for task, (column, value, _) in zip(tasks, WRONG, strict=True):
        if column not in ("id", "generation"):
            damage(sql, task, column, value)

    ends = store.report([Report(task.claim, {"state": COMPLETE}) for task in tasks])

    assert [True] * len(WRONG) == ends
