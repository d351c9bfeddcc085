"""The program's entry knows the daemon before it has parsed anything."""

from __future__ import annotations

import pytest

import monqbus


@pytest.mark.parametrize(
    "line",
    ["run", "run --config a.ini", "--config a.ini run", "--config=a.ini run", "--debug run --only post"],
)
def test_the_daemon_is_recognised_wherever_its_options_stand(line):
    """Only then are the zygote forked and the process patched."""
    assert monqbus._asks_to_run(line.split())


@pytest.mark.parametrize(
    "line", ["", "--help", "post run", "--config run check", "check --config run", "--config"]
)
def test_other_commands_are_not_taken_for_it(line):
    assert not monqbus._asks_to_run(line.split())
