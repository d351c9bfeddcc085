"""The dashboard and the alert rules name metrics, labels and values that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from bus.cli.parser import build_parser
from bus.metrics.counts import _DELIVERIES, _OUTCOMES, _TICKS
from bus.metrics.families import FAMILIES
from bus.metrics.observed import VERBS
from tests.markdown import DOCS

PLACE: Final = DOCS / "monitoring"
TABLE: Final = {one.name: one for one in FAMILIES}
OF_PROMETHEUS: Final = {"instance", "job", "le"}
VALUES: Final = {
    "monqbus_task_runs_total": set(_OUTCOMES.values()),
    "monqbus_deliveries_total": set(_DELIVERIES.values()),
    "monqbus_schedule_ticks_total": set(_TICKS.values()),
    "monqbus_cpu_worker_restarts_total": {"crashed", "recycled"},
    "monqbus_tasks": {"ready", "busy"},
    "monqbus_store_call_seconds": set(VERBS),
}
"""What the labels `outcome`, `reason`, `state` and `verb` of a metric may be."""


def panels() -> Iterator[tuple[str, str, str]]:
    """Of each question of the dashboard its panel, the question, and the words of its legend."""
    dashboard = json.loads((PLACE / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for one in dashboard["annotations"]["list"]:
        yield one["name"], one["expr"], ""
    for one in dashboard["templating"]["list"]:
        yield one["name"], one["query"].replace("label_values", "").replace(", instance", ""), ""


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((PLACE / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def questions() -> list[tuple[str, str, str]]:
    """All of both files."""
    alerts = ((rule["alert"], rule["expr"], " ".join(rule["annotations"].values())) for rule in rules())
    return [*panels(), *alerts]


def family_of(name: str) -> str:
    """The metric of the table that a sample's *name* belongs to; the name itself when there is none."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    return base if base in TABLE and TABLE[base].kind == "histogram" else name


@pytest.mark.parametrize(("title", "expr", "words"), questions())
def test_a_question_asks_for_what_is_exported(title: str, expr: str, words: str) -> None:
    """Its metrics are in the table, and the labels that it compares, groups by and shows are theirs."""
    named = {family_of(name) for name in re.findall(r"monqbus_\w+", expr)}
    labels = OF_PROMETHEUS.union(*(TABLE[name].labels for name in named if name in TABLE))
    compared = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expr)
    grouped = [label for inner in re.findall(r"by \(([^)]*)\)", expr) for label in re.split(r",\s*", inner)]
    shown = re.findall(r"{{\s*(?:\$labels\.)?(\w+)\s*}}", words)

    assert set() == named - TABLE.keys(), title
    assert set() == {*compared, *grouped, *shown} - labels, title


@pytest.mark.parametrize(("title", "expr", "_"), questions())
def test_a_question_is_asked_as_its_kind_wants(title: str, expr: str, _: str) -> None:
    """A rate of a gauge, or a counter as it stands, shows nonsense; parentheses close."""
    for name, before in ((name, expr[:at]) for at, name in _named(expr)):
        kind = TABLE[family_of(name)].kind
        is_rated = re.search(r"(rate|increase)\($", before) is not None
        is_changed = before.endswith("changes(")
        assert is_rated == (kind != "gauge") or is_changed, (title, name)
    assert expr.count("(") == expr.count(")")
    assert expr.count("{") == expr.count("}")


def _named(expr: str) -> list[tuple[int, str]]:
    return [(found.start(), found[0]) for found in re.finditer(r"monqbus_\w+", expr)]


@pytest.mark.parametrize(("title", "expr", "_"), questions())
def test_values_of_labels_are_such_as_there_are(title: str, expr: str, _: str) -> None:
    """A misspelt outcome would be an alert that never comes."""
    for name, inner in re.findall(r"(monqbus_\w+){([^}]*)}", expr):
        known = VALUES.get(family_of(name))
        asked = re.findall(r'(?:outcome|state|verb|reason)=~?"([^"]*)"', inner) if known else []

        assert set() == {one for text in asked for one in text.split("|")} - (known or set()), title


def test_every_metric_is_shown_or_watched() -> None:
    """One that nobody looks at would be a line of each scrape for nothing."""
    asked = {family_of(name) for _, expr, _ in questions() for name in re.findall(r"monqbus_\w+", expr)}

    assert set() == TABLE.keys() - asked


def test_alerts_say_what_to_do_with_commands_that_are_there() -> None:
    """A summary and a remedy, each name once; the parser understands every command as it stands."""
    rows = rules()
    remedies = [row["annotations"]["remedy"] for row in rows]
    commands = [command for remedy in remedies for command in re.findall(r"`monqbus ([^`]+)`", remedy)]

    assert len({row["alert"] for row in rows}) == len(rows)
    assert all({"summary", "remedy"} == row["annotations"].keys() for row in rows)
    assert len(re.findall(r"monqbus [a-z]", " ".join(remedies))) == len(commands) > 0
    for command in commands:
        build_parser().parse_args(re.sub(r"{{.*?}}", "a.name", command).split())


def test_panels_do_not_cover_each_other() -> None:
    """Each has its own place in the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((PLACE / "grafana.json").read_text())["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert taken.isdisjoint(own)
        taken |= own
