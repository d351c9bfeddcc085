"""What a scrape measures: what loops have found already, by name, and never a call of the store."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple, cast

import pytest

from bus.daemon.gauges import Gauges, Measured
from bus.daemon.services import Services
from bus.engine.health import Health
from bus.maintenance.queue_depth import QueueDepth
from bus.maintenance.store_monitor import StoreMonitor
from bus.maintenance.unknown_tasks import UnknownTasks
from bus.metrics import Counts
from bus.metrics.exposition import page
from bus.metrics.families import FAMILIES

from .conftest import Engine


@pytest.fixture
def records() -> list[Health]:
    return []


@pytest.fixture
def counts(engine: Engine) -> Counts:
    return Counts(lambda: engine.registry.tasks, dict, dict)


class Scene(NamedTuple):
    """*parts* and what is measured of them."""

    parts: SimpleNamespace
    measure: Gauges


@pytest.fixture
def scene(engine: Engine, counts: Counts, records: list[Health]) -> Scene:
    """Of a daemon with the parts of *engine*; nothing ticks by itself."""
    parts = SimpleNamespace(
        clock=engine.clock,
        store=engine.store,
        store_monitor=StoreMonitor(engine.store, engine.clock),
        spool=None,
        services=Services(engine.clock, lambda: records),
        queue_depth=QueueDepth(engine.store, engine.clock, 1000),
        unknown_tasks=UnknownTasks(engine.store, lambda: engine.registry.tasks),
        lanes=engine.lanes,
        recorder=engine.recorder,
        public=SimpleNamespace(connections=[1, 2, 3]),
        readiness=SimpleNamespace(complaint=lambda: None),
    )
    made = Gauges(cast("Measured", parts), counts)
    return Scene(parts, made)


def test_what_waits_is_told_by_name_and_age(engine: Engine, scene: Scene) -> None:
    """Names that nobody knows are one; the age is that of the task which has been due longest."""
    engine.declare(lambda: None, "known")
    for name in ("known", "stranger-1", "stranger-2"):
        engine.waiting(name=name)
    engine.waiting(name="known", delay=500)
    engine.clock.advance(90)
    scene.parts.unknown_tasks.tick()
    scene.parts.queue_depth.tick()

    values = scene.measure()

    assert {("known",): 2, ("other",): 2} == values["monqbus_ready_tasks"]
    assert {(): 90.0} == values["monqbus_oldest_ready_task_age_seconds"]
    assert {("ready",): 4, ("busy",): 0} == values["monqbus_tasks"]


def test_what_is_not_due_has_no_age(engine: Engine, scene: Scene) -> None:
    """Nor has an empty store."""
    scene.parts.unknown_tasks.tick()
    empty = scene.measure()["monqbus_oldest_ready_task_age_seconds"]
    engine.waiting(delay=500)
    scene.parts.unknown_tasks.tick()

    assert [{(): 0.0}] * 2 == [empty, scene.measure()["monqbus_oldest_ready_task_age_seconds"]]


def test_slots_are_told_by_lane(engine: Engine, scene: Scene) -> None:
    """Those that are set aside count as taken."""
    engine.add_lane("cpu", 2)
    engine.pool.reserve(1)

    values = scene.measure()

    assert {("greenlets",): engine.slots["greenlets"], ("cpu",): 2} == values["monqbus_slots"]
    assert {("greenlets",): 0, ("cpu",): 1} == values["monqbus_slots_taken"]


def test_who_has_died_is_counted(scene: Scene, records: list[Health]) -> None:
    """Among those that work."""
    records += [Health("one"), Health("two")]
    records[0].die("killed")

    assert {(): 1} == scene.measure()["monqbus_services_failing"]


def test_a_scrape_asks_the_store_for_nothing(engine: Engine, scene: Scene, counts: Counts) -> None:
    """One that is away answers no slower, and says so."""
    engine.faulty.sleep()
    scene.parts.store_monitor.tick()

    values = scene.measure()

    assert {(): False} == values["monqbus_store_up"]
    assert b"monqbus_store_up 0.0" in page(counts, values)


def test_every_gauge_of_the_table_is_measured_where_there_is_a_spool(scene: Scene) -> None:
    """And no other; without a spool that one is left out."""
    table = {one.name for one in FAMILIES if one.kind == "gauge"}

    assert table - {"monqbus_spool_deliveries"} == scene.measure().keys()
