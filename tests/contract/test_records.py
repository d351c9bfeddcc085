"""A record is changed only by whoever has read it as it is stored: else one would undo another's change."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import gevent
import pymongo
import pytest

from bus.model import Record
from bus.store.mongo.store import MongoStore
from bus.store.sqlite.store import SqliteStore

from .samples import NOW

ONE = Record("schedule", "nightly", {"seen": NOW, "n": 1})


def test_a_record_that_is_new_is_stored_as_version_one(store):
    assert [True] == store.keep_records([ONE])
    assert [replace(ONE, version=1)] == store.records("schedule")


def test_a_record_is_changed_from_the_version_that_is_stored(store):
    store.keep_records([ONE])
    changed = replace(ONE, fields={"n": 2}, version=1)

    assert [True] == store.keep_records([changed])
    assert [replace(changed, version=2)] == store.records("schedule")


@pytest.mark.parametrize("version", [0, 2, 7])
def test_from_another_version_it_stays_as_it_is(store, version):
    store.keep_records([ONE])

    assert [False] == store.keep_records([replace(ONE, fields={"n": 9}, version=version)])
    assert [replace(ONE, version=1)] == store.records("schedule")


def test_without_fields_it_is_forgotten_from_its_version_alone(store):
    store.keep_records([ONE])
    gone = replace(ONE, fields={})

    assert [False] == store.keep_records([replace(gone, version=2)])
    assert [True] == store.keep_records([replace(gone, version=1)])
    assert [] == store.records("schedule")


def test_each_of_a_call_is_answered_for_itself(store):
    store.keep_records([ONE])
    other = replace(ONE, name="hourly")

    assert [False, True] == store.keep_records([ONE, other])


def test_a_thousand_of_a_call_are_answered_each_for_itself(store):
    """New ones, ones from their version and from another one, and ones that are forgotten."""
    first = [replace(ONE, name=f"{number}") for number in range(0, 1000, 2)]
    assert [True] * 500 == store.keep_records(first)
    mixed = [replace(ONE, name=f"{number}", version=number % 4 // 2) for number in range(1000)]
    mixed[4] = replace(mixed[4], fields={})
    mixed[6] = replace(mixed[6], fields={})
    written = store.keep_records(mixed)

    expected = [(number % 2 == 0 and number % 4 == 2) or number % 4 == 1 for number in range(1000)]
    assert expected == written
    assert 749 == len(store.records("schedule"))


def test_a_record_twice_in_a_call_is_written_once(store):
    assert [True, False] == store.keep_records([ONE, replace(ONE, fields={"n": 2})])
    assert [replace(ONE, version=1)] == store.records("schedule")


def test_the_records_of_a_kind_come_by_name_and_without_those_of_others(store):
    store.keep_records(
        [replace(ONE, name=name, kind=kind) for kind in ("a", "ab", "b") for name in ("2", "1", "x:y")]
    )

    assert ["1", "2", "x:y"] == [record.name for record in store.records("a")]
    assert ["1", "2", "x:y"] == [record.name for record in store.records("b")]
    assert [] == store.records("c")


def test_of_many_that_begin_at_one_version_one_wins(store):
    store.keep_records([ONE])
    writers = [
        gevent.spawn(store.keep_records, [replace(ONE, fields={"n": number}, version=1)])
        for number in range(20)
    ]
    gevent.joinall(writers)

    assert 1 == sum(writer.value == [True] for writer in writers)
    assert 2 == store.records("schedule")[0].version


def test_records_are_there_after_the_store_was_opened_again(request, new_store):
    if request.node.callspec.params["new_store"] == "sqlite-memory":
        pytest.skip("a store in memory is gone when it is closed")
    store = new_store()
    store.keep_records([ONE])
    store.close()

    assert [replace(ONE, version=1)] == new_store().records("schedule")


def test_a_row_that_nobody_can_read_comes_without_fields_and_can_be_written_anew(tmp_path):
    store = SqliteStore(tmp_path / "monqbus.db", daemon=True)
    with closing(store):
        store.open()
        store.keep_records([ONE])
        store._sql.execute("UPDATE record SET document = x'0badcafe'")

        assert [replace(ONE, fields={}, version=1)] == store.records("schedule")
        assert [True] == store.keep_records([replace(ONE, version=1)])
        assert [replace(ONE, version=2)] == store.records("schedule")


@pytest.mark.parametrize("version", ["one", None, [], {"a": 1}, float("nan")])
def test_a_document_that_others_have_spoiled_can_be_written_anew(mongo_address, version):
    store = MongoStore(mongo_address, daemon=True)
    with closing(store):
        store.open()
        with pymongo.MongoClient(mongo_address) as client:
            client.get_default_database()["monq_record"].insert_one(
                {"_id": "schedule:nightly", "version": version, "fields": 7}
            )

        assert [replace(ONE, fields={})] == store.records("schedule")
        assert [True] == store.keep_records([ONE])
        assert [replace(ONE, version=1)] == store.records("schedule")
