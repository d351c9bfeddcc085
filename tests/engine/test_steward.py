"""The store looks after itself, and somebody tells."""

from __future__ import annotations

from bus.engine.steward import PAUSE_SECONDS, Steward
from bus.store import Notice


def test_what_the_store_notices_is_told_in_order(engine, facts, monkeypatch):
    news = [Notice("store.reserve_made", {"free_bytes": 1}), Notice("store.has_space", {"free_bytes": 2})]
    monkeypatch.setattr(engine.faulty._store, "tend", lambda: news)

    assert PAUSE_SECONDS == Steward(engine.store).tick()
    assert [("store.reserve_made", {"free_bytes": 1}), ("store.has_space", {"free_bytes": 2})] == facts.told


def test_a_store_that_is_away_is_not_told_here(engine, facts):
    """Those who need it for their work say so; once a second would be too often."""
    engine.faulty.sleep()

    assert PAUSE_SECONDS == Steward(engine.store).tick()
    assert [] == facts.told


def test_a_store_without_a_disk_has_nothing_to_say(engine, facts):
    Steward(engine.store).tick()

    assert [] == facts.told
