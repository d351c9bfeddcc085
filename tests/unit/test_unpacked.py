"""The folders that killed executables leave behind: swept by the next one, and nothing else is."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

from bus.process import executable

DEAD = "_MEI7fffffffabcdef"
"""A pid that no kernel gives."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where executables are unpacked; ours is among them, and held."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path / "_MEI0000ours"), raising=False)
    (tmp_path / "_MEI0000ours").mkdir()
    return tmp_path


def left(place: Path, name: str = DEAD) -> Path:
    """A folder that a killed one had taken."""
    folder = place / name
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "library.so").write_bytes(b"x")
    (folder / executable.TAKEN).touch()
    return folder


def test_what_was_taken_and_is_held_no_more_is_removed(place: Path):
    folder = left(place)

    assert (1, False) == (executable.sweep(), folder.exists())


def test_what_somebody_holds_stays(place: Path):
    folder = left(place)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)

    assert (0, True) == (executable.sweep(), (folder / "deep" / "library.so").exists())
    os.close(descriptor)


def test_our_own_is_held_from_the_start(place: Path):
    executable._hold_folder()
    executable._hold_folder()  # a second time does no harm

    assert 0 == executable.sweep()
    assert (place / "_MEI0000ours" / executable.TAKEN).exists()


def test_a_link_is_nobodys_folder(place: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = left(tmp_path_factory.mktemp("elsewhere"))
    (place / DEAD).symlink_to(elsewhere)

    assert (0, True) == (executable.sweep(), (elsewhere / executable.TAKEN).exists())


def test_a_fresh_one_that_was_not_taken_yet_is_being_unpacked(place: Path):
    """For a minute, by the clock of the disk; then its bootloader is dead."""
    folder = left(place)
    (folder / executable.TAKEN).unlink()
    fresh = executable.sweep()
    os.utime(folder, (1, 1))

    assert (0, 1) == (fresh, executable.sweep())
    assert not folder.exists()
