"""Serial keys in MongoDB, where a key is freed by one write and passed on by the next."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from bus.errors import StoreUnavailable
from bus.model import COMPLETE, READY, Claim, Posting, Report
from bus.store.mongo import MongoStore, serial
from bus.store.mongo.schema import TASKS

from .samples import NAME, NOW, ONE, a_task, post

KEY = f"{NAME} 1"


@pytest.fixture
def store(mongo_address: str) -> Any:
    """A daemon's store."""
    with closing(MongoStore(mongo_address, daemon=True)) as store:
        store.open()
        yield store


def line(store: MongoStore, *marks: Any) -> Any:
    return post(store, *(a_task(args=[mark], serial=KEY) for mark in marks))


def begun(store: MongoStore) -> list[Any]:
    return [task.args[0] for task in store.claim(ONE, {NAME}, 9, NOW).tasks]


def tasks_of(store: MongoStore) -> Any:
    return store._connection.database[TASKS]


class Died(BaseException):
    """The process was killed here."""


def die(*_: Any) -> None:
    raise Died


def test_an_end_whose_process_dies_before_the_next_one_goes_on_is_mended(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ended task still holds the key: any daemon sees that within a second."""
    first, _ = line(store, 1, 2)
    begun(store)
    monkeypatch.setattr(serial, "pass_on", die)
    with pytest.raises(Died):
        store._reports.write([Report(Claim(first.id, ONE.id, 1), {"state": COMPLETE}, serial=KEY)])
    monkeypatch.undo()
    before = begun(store)
    store.tend()

    assert ([], [2]) == (before, begun(store))
    assert 0 == tasks_of(store).count_documents({"holds": {"$exists": True}, "state": COMPLETE})


def test_a_post_whose_process_dies_before_its_task_has_its_place_is_mended(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored and says that its place is open."""
    monkeypatch.setattr(serial, "pass_on", die)
    with pytest.raises(Died):
        store._intake.store([Posting([a_task(args=[1], serial=KEY), a_task(args=[2], serial=KEY)])])
    monkeypatch.undo()
    before = begun(store)
    store.tend()

    assert ([], [1]) == (before, begun(store))
    assert 0 == tasks_of(store).count_documents({"placing": True})


def test_an_end_by_another_program_lets_the_next_one_go_on(store: MongoStore) -> None:
    """A shell, or a monqbus that knows no keys."""
    first, _ = line(store, 1, 2)
    tasks_of(store).update_one({"_id": first.id}, {"$set": {"state": COMPLETE}})
    store.tend()

    assert [2] == begun(store)


def test_nothing_lets_two_of_one_key_be_claimed(store: MongoStore) -> None:
    """The index of holders refuses it, whoever tries."""
    _, second = line(store, 1, 2)

    with pytest.raises(Exception, match="monqbus_holder"):
        tasks_of(store).update_one({"_id": second.id}, {"$set": {"holds": KEY}})


def test_an_outage_behind_an_end_fails_no_report(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is written; the next one goes on when the store is tended."""

    def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    first, _ = line(store, 1, 2)
    begun(store)
    monkeypatch.setattr(serial, "pass_on", away)
    held = store.report([Report(Claim(first.id, ONE.id, 1), {"state": COMPLETE}, serial=KEY)])
    monkeypatch.undo()
    store.tend()

    assert ([True], [2]) == (held, begun(store))


def test_the_marks_are_gone_when_all_has_its_place(store: MongoStore) -> None:
    """What is left to look at each second is nothing, however many wait."""
    line(store, *range(20))

    marked = {"placing": {"$exists": True}}
    assert 0 == tasks_of(store).count_documents(marked)
    assert 19 == tasks_of(store).count_documents({"due": {"$exists": True}, "state": READY})
