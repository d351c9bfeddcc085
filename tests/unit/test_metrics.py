"""Counting: bounded labels, right buckets, the text that is written, and nothing imported for nobody."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bus.clock import Clock
from bus.metrics import Counts
from bus.metrics.counts import _DELIVERIES, _OUTCOMES, _PLAIN, _TICKS, MOST_NAMES, TASK_SECONDS, Histogram
from bus.metrics.exposition import LINES, page
from bus.metrics.families import FAMILIES
from bus.model import Event, MonQTask
from bus.telemetry import FACTS
from tests.program import ROOT

CLOCK = Clock()
EVIL = ['a"b', "a\nb 1", "a\\", "", "é" * 1000, '"} 1\nmonqbus_ready 0', "\x00", "\ud800"]


@pytest.fixture
def names() -> set[str]:
    """What the registry and the configuration know."""
    return {"shop.mail", "github"}


@pytest.fixture
def counts(names: set[str]) -> Counts:
    return Counts(lambda: names, lambda: names, lambda: names)


def a_task(name: str, waited: float = 0.0) -> MonQTask:
    now = CLOCK.now()
    task = MonQTask(CLOCK.new_id(), name, [], {}, now)
    task.time_start = now + timedelta(seconds=waited)
    return task


def refusal(hook: str) -> dict[str, object]:
    return {"hook": hook, "code": "not_verified", "status": 401}


def hear_everything(counts: Counts, name: str) -> None:
    """Every fact that is counted, about one *name*."""
    task = a_task(name)
    for fact in ("task.posted", "task.started", "task.lost", "task.rescued"):
        counts(fact, {"task": task})
    for fact in _OUTCOMES:
        counts(fact, {"task": task, "seconds": 0.1})
    event = Event(CLOCK.new_id(), "a.topic", CLOCK.now(), hook=name, body=b"")
    for fact in _DELIVERIES:
        counts(fact, {"event": event})
    for fact in _TICKS:
        counts(fact, {"schedule": name})
    counts("event.refused", refusal(name))
    counts.respond(name, "202", 0.1)


def test_unknown_names_of_any_content_are_one_label(counts: Counts) -> None:
    """Whoever chooses the name of a hook or a task chooses no label, and no line of the text."""
    for name in [*EVIL, *(f"stranger-{number}" for number in range(1000))]:
        hear_everything(counts, name)

    labels = {labels[0] for counter in counts.counters.values() for labels in counter if labels}
    assert labels == {"other"}
    rows = {label for histogram in counts.histograms.values() for label in histogram.rows}
    assert rows == {"other"}


def test_known_names_are_bounded_too(counts: Counts, names: set[str]) -> None:
    """A reload after a reload brings new ones; the first keep their labels."""
    names.update(f"task-{number:04}" for number in range(2 * MOST_NAMES))
    for name in sorted(names):
        hear_everything(counts, name)
    hear_everything(counts, "task-0000")

    assert MOST_NAMES + 1 == len(counts.counters["monqbus_tasks_posted_total"])
    assert 2 == counts.counters["monqbus_tasks_posted_total"][("task-0000",)]


def test_names_of_any_content_are_escaped_in_the_text(counts: Counts, names: set[str]) -> None:
    """Those that the registry does know: the parser reads each back, and no sample that is not there."""
    evil = [name for name in EVIL if (name and name.isprintable()) or "\n" in name]
    names.update(evil)
    for name in evil:
        counts("task.posted", {"task": a_task(name)})

    text = page(counts, {}).decode()

    told = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(evil) == {sample.labels["task"] for sample in told["monqbus_tasks_posted"].samples}
    assert "monqbus_ready" not in told


def test_a_bucket_has_what_is_at_most_its_bound(counts: Counts) -> None:
    """Prometheus' le; the last one has everything, and the sum stands beside it."""
    for seconds in (0.005, 0.0051, 4000.0):
        counts("task.finished", {"task": a_task("shop.mail"), "seconds": seconds})

    text = page(counts, {}).decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    found = {
        (sample.name.rpartition("_")[2], sample.labels.get("le")): sample.value
        for sample in families["monqbus_task_run_seconds"].samples
    }
    assert [1, 2, 2, 3] == [found["bucket", le] for le in ("0.005", "0.01", "3600.0", "+Inf")]
    assert (3, 4000.0101) == (found["count", None], found["sum", None])


def test_a_histogram_grows_by_labels_alone() -> None:
    """However many observations there are."""
    histogram = Histogram(TASK_SECONDS)
    for number in range(10_000):
        histogram.observe("one", number)

    assert [len(TASK_SECONDS) + 2] == [len(row) for row in histogram.rows.values()]


def test_the_wait_is_from_the_moment_a_task_was_due(counts: Counts) -> None:
    """A clock that was set back makes no negative one."""
    counts("task.started", {"task": a_task("shop.mail", waited=2.0)})
    counts("task.started", {"task": a_task("shop.mail", waited=-5.0)})

    assert [1.0, 1.0, 2.0] == [counts.wait.rows["shop.mail"][place] for place in (0, 8, -1)]


def test_counted_facts_and_metrics_are_those_of_the_tables(counts: Counts) -> None:
    """A renamed fact would be counted no more, and nobody would see it."""
    assert set() == counts._hears.keys() - FACTS.keys()
    assert {one.name for one in FAMILIES if one.kind == "histogram"} == counts.histograms.keys()
    assert set(_PLAIN.values()) <= counts.counters.keys()


def test_counted_facts_with_numbers_add_them(counts: Counts) -> None:
    """Seconds of a block, ticks of a schedule."""
    for seconds in (0.75, 1.5):
        counts("hub.unblocked", {"at": "", "seconds": seconds})
    counts("schedule.missed", {"schedule": "github", "count": 7})

    assert 2.25 == counts.counters["monqbus_hub_blocked_seconds_total"][()]
    assert 7 == counts.counters["monqbus_schedule_ticks_total"]["github", "missed"]


def test_published_events_are_no_deliveries(counts: Counts) -> None:
    """They are unhandled too, when nobody takes them."""
    counts("event.unhandled", {"event": Event(CLOCK.new_id(), "a.topic", CLOCK.now())})

    assert {} == counts.counters["monqbus_deliveries_total"]
    assert 1 == counts.counters["monqbus_events_unhandled_total"][()]


def test_names_of_metrics_follow_the_conventions() -> None:
    """Prefix, base units, _total for what only grows; https://prometheus.io/docs/practices/naming/."""
    for one in FAMILIES:
        assert one.name.startswith("monqbus_")
        assert one.name.endswith("_total") == (one.kind == "counter")
        assert one.kind != "histogram" or one.name.endswith("_seconds")
        assert one.means.endswith(".")


def test_a_scrape_lets_the_hub_turn(counts: Counts, names: set[str]) -> None:
    """After each metric, and within a large one, whose help and type stand once nevertheless."""
    names.update(f"task-{number:04}" for number in range(MOST_NAMES))
    for name in sorted(names):
        hear_everything(counts, name)
    turns: list[None] = []

    text = page(counts, {}, lambda: turns.append(None)).decode()

    assert len(text.splitlines()) / len(turns) < LINES
    heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert sum(one.kind != "gauge" for one in FAMILIES) == len(heads)
    told = {family.name: family.samples for family in text_string_to_metric_families(text)}
    assert (MOST_NAMES + 1) * (len(TASK_SECONDS) + 3) == len(told["monqbus_task_run_seconds"])


def test_the_library_is_imported_only_for_the_listener() -> None:
    """Commands, and daemons without [admin], do not pay for it."""
    code = "import sys, bus.daemon.build, bus.metrics; sys.exit('prometheus_client' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode
