"""The loop that takes over the inbox: it ends its passes, whatever comes meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.apps.calls import Batch, prepare
from bus.apps.options import Options
from bus.maintenance.inbox_collector import BATCH, Collector
from bus.model import Filter
from bus.store.inbox.postings import to_payload
from bus.store.inbox.writer import InboxWriter


@pytest.fixture
def writer(tmp_path: Path):
    writer = InboxWriter(tmp_path)
    yield writer
    writer.close()


@pytest.fixture
def collector(engine, tmp_path: Path):
    collector = Collector(tmp_path, engine.office, engine.clock)
    yield collector
    collector.close()


def post(engine, writer: InboxWriter, count: int = 1) -> None:
    tasks = [prepare(engine.clock, "elsewhere", [], {}, Options(), {}) for _ in range(count)]
    writer.append(to_payload(Batch(tasks), engine.clock.now()))


def count(engine) -> int:
    return sum(engine.store.count(Filter()).values())


def test_posts_that_never_end_do_not_keep_who_asks(engine, writer, collector, monkeypatch):
    """What came after the question is taken over later."""
    post(engine, writer)
    take_over = engine.office.take_over
    monkeypatch.setattr(
        engine.office, "take_over", lambda batches: (take_over(batches), post(engine, writer))
    )
    collector.collect()

    assert 1 == count(engine)


def test_posts_that_never_end_do_not_keep_the_loop_from_showing_that_it_lives(
    engine, writer, collector, monkeypatch
):
    post(engine, writer)
    take_over = engine.office.take_over
    monkeypatch.setattr(
        engine.office, "take_over", lambda batches: (take_over(batches), post(engine, writer))
    )

    assert [0, 0, 0] == [collector.tick() for _ in range(3)]
    assert 3 == count(engine)


def test_many_posts_of_one_record_are_stored_in_several_calls(engine, writer, collector, monkeypatch):
    """The hub turns between them."""
    calls = []
    take_over = engine.office.take_over
    monkeypatch.setattr(
        engine.office, "take_over", lambda batches: calls.append(sum(map(len, batches))) or take_over(batches)
    )
    post(engine, writer, 2 * BATCH + 1)
    collector.collect()

    assert [BATCH, BATCH, 1] == calls
    assert 2 * BATCH + 1 == count(engine)
