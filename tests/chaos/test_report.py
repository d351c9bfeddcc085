"""The rows of docs/guarantees.md come from the lines of a run, and hide nothing that is wrong."""

from __future__ import annotations

from typing import Any

from .report import markdown

FIGURES = {
    "acked": 2532, "duplicates": 4, "in_flight_at_kills": 117, "kills": 10, "missed": [], "passed": True,
    "ready_again_max_seconds": 0.61, "works_again_max_seconds": None, "longest_without_2xx_seconds": 0.64,
}  # fmt: skip


def line(**more: Any) -> dict[str, Any]:
    return {"store": "embedded", "scenario": "daemon killed", **FIGURES, **more}


def test_a_row_has_the_figures_of_a_scenario_and_what_its_controls_show():
    """The controls of the same scenario on another store are not its own."""
    controls = [
        line(control="acknowledged before stored", shows="lost", lost=117),
        line(control="no lock", shows="overlaps", overlaps=3),
        line(control="no fences", shows="stale_accepted", stale_accepted=5, store="mongodb"),
    ]

    assert (
        "| embedded, daemon killed, 10 kills | 2 532 | 4 of 117 | 0.6 s | – | 0.6 s "
        "| 117 lost: acknowledged before stored; 3 overlaps: no lock |\n"
    ) == markdown([line(), *controls])


def test_a_row_says_what_is_wrong_or_could_not_be_run():
    """A table that is filled without a look at the verdict still tells it."""
    wrong = markdown([line(passed=False, missed=["overlaps"])])
    broken = {
        "store": "mongodb",
        "scenario": "stepdown",
        "broken": "Broken: ended by itself",
        "passed": False,
    }

    assert "| **WRONG: overlaps** |\n" in wrong
    assert "| MongoDB, stepdown | – | – | – | – | – | Broken: ended by itself |\n" == markdown([broken])
