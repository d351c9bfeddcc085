"""The simulation of daemons that claim from one queue, whose figures stand in docs/scaling.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.collisions import APART, CLAIMS, HEAD, PAUSE, POLICIES, alone, simulate

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
ROWS = {
    HEAD: "the first 100, as it is",
    PAUSE: "… with a random pause after a loss",
    APART: "one of the first 4",
}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_daemon_alone_loses_no_race(policy: str) -> None:
    """Each take gets its whole batch."""
    end = simulate(1, 10, 1.0, policy)

    assert (10 * CLAIMS, CLAIMS, 0, 0) == end[:4]
    assert (1.0, 0.0) == alone(1)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_page_says_what_the_simulation_shows(policy: str) -> None:
    """The same seed, the same figures: of two and of four daemons here, those of more take seconds."""
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| 1 ms | {ROWS[policy]}")]
    shown = [cell.strip() for cell in row.split("|")[3:5]]
    ends = [simulate(daemons, 100, 1.0, policy) for daemons in (2, 4)]
    expected = [f"{end.empty / end.takes:.0%} · {end.takes / end.tasks * 100:.1f}" for end in ends]

    assert [text.replace("%", " %") for text in expected] == shown
