"""A folder held open: what is done in it is done there, and stays there."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from gevent.monkey import get_original

from bus.files.held_folder import BURST, HeldFolder, interference


@pytest.fixture
def home(tmp_path: Path):
    """A folder, held open."""
    with HeldFolder.at(tmp_path) as folder:
        yield folder


def test_a_new_file_never_is_an_old_one(home: HeldFolder, tmp_path: Path):
    """Nor what a link of that name leads to."""
    (tmp_path / "link").symlink_to(tmp_path / "made")
    (tmp_path / "file").touch()

    for name in ("link", "file"):
        with pytest.raises(FileExistsError):
            home.create(name)
    assert not (tmp_path / "made").exists()


def test_links_are_not_followed_inside(home: HeldFolder, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "to_folder").symlink_to(tmp_path / "folder")
    (tmp_path / "to_file").symlink_to("/dev/null")

    with pytest.raises(NotADirectoryError):
        home.inside("to_folder")
    with pytest.raises(OSError, match="symbolic"):
        home.open("to_file", os.O_RDONLY)
    assert home.has("to_file")


def test_what_stands_in_for_a_removed_folder_stays(home: HeldFolder, tmp_path: Path):
    """Its name is somebody else's by then."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "file").touch()
    with home.inside("ours") as ours:
        (tmp_path / "ours").rename(tmp_path / "moved")
        (tmp_path / "ours").mkdir()
        home.remove("ours", ours)

    assert (tmp_path / "ours").is_dir()
    assert [] == list((tmp_path / "moved").iterdir())


def test_others_get_their_turn_while_much_is_removed(home: HeldFolder, tmp_path: Path):
    """Counted in files, whatever they weigh."""
    (tmp_path / "much").mkdir()
    for number in range(3 * BURST):
        (tmp_path / "much" / str(number)).touch()
    pauses: list[int] = []
    with home.inside("much") as much:
        home.remove("much", much, lambda: pauses.append(len(much.names())))

    assert len(pauses) >= 3
    assert not (tmp_path / "much").exists()


def test_a_folder_is_closed_at_once(tmp_path: Path):
    """Not at the next turn of the hub: of a deep tree there would be too many."""
    with HeldFolder.at(tmp_path) as folder:
        pass

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(folder.descriptor)


def test_a_tree_deeper_than_the_descriptors_is_removed(tmp_path: Path):
    """Without a turn of the hub between."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=descriptor)
        inner = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        get_original("os", "close")(descriptor)
        descriptor = inner
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor + 20, limits[1]))
    try:
        with HeldFolder.at(tmp_path) as home:
            home.clear()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        get_original("os", "close")(descriptor)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mode", "sticky", "said"),
    [
        (0o700, False, None),
        (0o755, False, None),
        (0o775, False, "its mode 0775 lets others write"),
        (0o702, True, "its mode 0702 lets others write"),
        (0o1777, True, None),
        (0o1777, False, "its mode 1777 lets others write"),
    ],
)
def test_who_else_could_exchange_files_is_told_by_the_mode(tmp_path: Path, mode: int, sticky: bool, said):
    tmp_path.chmod(mode)

    assert said == interference(tmp_path.stat(), sticky=sticky)


def test_a_folder_of_somebody_else_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of root's it is not said: root can do everything anyway."""
    found = tmp_path.stat()
    monkeypatch.setattr(os, "geteuid", lambda: found.st_uid + 1)

    said = interference(found)

    assert said == (None if found.st_uid == 0 else f"it belongs to user {found.st_uid}")
