"""The mark on the disk: whole or not there, and never a reason not to start."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from bus.steady_clock import Mark
from bus.store.clock_mark import LATEST, read_mark, this_boot, write_mark

MARK = Mark(1.7e9 + 0.125, 1.7e9, 1.7e9 + 1, 5000.5, "boot", 4000.25)


@pytest.mark.parametrize("mark", [MARK, MARK._replace(doubted_at=None)])
def test_a_mark_comes_back_as_it_was(tmp_path: Path, mark: Mark) -> None:
    """The later one takes the place of the earlier one; only its owner reads it."""
    write_mark(tmp_path, MARK._replace(boot="earlier"))
    write_mark(tmp_path, mark)

    assert mark == read_mark(tmp_path)
    assert ["clock"] == [path.name for path in tmp_path.iterdir()]
    assert 0o600 == stat.S_IMODE((tmp_path / "clock").stat().st_mode)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "{}", "\xff",
        json.dumps({**MARK._asdict(), "at": "now"}),
        json.dumps({**MARK._asdict(), "at": None}),
        json.dumps({**MARK._asdict(), "at": LATEST * 2}),
        json.dumps({**MARK._asdict(), "wall": float("nan")}),
        json.dumps({**MARK._asdict(), "horizon": -1}),
        json.dumps({**MARK._asdict(), "more": 1}),
    ],
)  # fmt: skip
def test_rubbish_is_as_good_as_no_mark(tmp_path: Path, text: str) -> None:
    """The daemon then begins with the wall clock."""
    (tmp_path / "clock").write_text(text, encoding="latin-1")

    assert read_mark(tmp_path) is None


def test_no_folder_no_mark(tmp_path: Path) -> None:
    assert read_mark(tmp_path / "nowhere") is None


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """Whoever can write there must not choose what is overwritten."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "clock.new").symlink_to(victim)

    with pytest.raises(OSError, match="symbolic link"):
        write_mark(tmp_path, MARK)
    assert "precious" == victim.read_text()


def test_a_boot_has_a_name() -> None:
    assert this_boot() == this_boot() != ""
