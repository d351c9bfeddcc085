"""`backup` and `copy`: beside a running daemon, without one, and into MongoDB."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.acceptance.daemons import Daemon
from tests.mongod import Deployment

from .console import Command, write_place

FAR = ("--delay", "1d")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The config of an empty embedded store."""
    return write_place(tmp_path)


@pytest.fixture
def daemon(place: Path) -> Iterator[Daemon]:
    """A daemon on it."""
    running = Daemon(place)
    try:
        yield running.start()
    finally:
        running.kill()


@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """The address of an empty database."""
    deployment: Deployment = request.getfixturevalue("standalone")
    return deployment.address(f"keep_{uuid4().hex[:8]}")


def test_a_backup_beside_a_running_daemon_can_be_put_in_its_place(
    daemon: Daemon, place: Path, run: Command, tmp_path: Path
) -> None:
    """What operations.md tells: copy it to data_dir/monqbus.db of a stopped daemon."""
    posted = run("post", "cliapp.double", "--args", "[21]", *FAR, "--config", place).lines
    file = tmp_path / "kept.db"
    said = run("backup", file, "--config", place)
    assert (0, [str(file)], "") == (said.code, said.lines, said.err)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)

    (tmp_path / "new").mkdir()
    new = write_place(tmp_path / "new")
    (tmp_path / "new" / "data").mkdir(mode=0o700)
    shutil.copy(file, tmp_path / "new" / "data" / "monqbus.db")
    assert posted == [row["id"] for row in run("list", "--json", "--config", new).rows]


def test_a_backup_without_a_daemon_is_the_same(place: Path, run: Command, tmp_path: Path) -> None:
    run("post", "cliapp.double", "--args", "[1]", *FAR, "--config", place)

    assert 0 == run("backup", tmp_path / "kept.db", "--config", place).code
    assert (tmp_path / "kept.db").read_bytes().startswith(b"SQLite format 3")


@pytest.mark.usefixtures("daemon")
def test_a_backup_that_is_there_already_is_one_line_and_stays(
    place: Path, run: Command, tmp_path: Path
) -> None:
    file = tmp_path / "kept.db"
    file.write_text("precious")
    said = run("backup", file, "--config", place)

    assert 0 != said.code
    assert f"monqbus: {file}: is there already; name a new file\n" == said.err
    assert "precious" == file.read_text()


def test_a_copy_brings_every_task_and_says_what_to_do_next(place: Path, run: Command, target: str) -> None:
    ids = [
        run("post", "cliapp.double", "--args", f"[{n}]", *FAR, "--config", place).lines[0] for n in range(3)
    ]
    said = run("copy", "--to", target, "--config", place)

    assert (0, "") == (said.code, said.err)
    assert re.match(r"copied 0 events and 3 tasks, all of them found in mongodb://", said.lines[0])
    assert f"next: write that store into {place}" in said.lines[1]
    place.write_text(place.read_text().replace("store = sqlite", f"store = {target}"))
    assert set(ids) == {row["id"] for row in run("list", "--json", "--config", place).rows}


def test_a_store_that_a_daemon_has_is_not_copied(
    daemon: Daemon, place: Path, run: Command, target: str
) -> None:
    """What it takes in meanwhile would stay behind."""
    said = run("copy", "--to", target, "--config", place)

    assert 73 == said.code
    assert f"held by pid {daemon.pid}" in said.err


@pytest.mark.parametrize(
    ("to", "code", "error"),
    [
        ("sqlite", 64, "expected a MongoDB address, got sqlite"),
        ("env:NOT_SET_ANYWHERE", 78, "it is not set"),
        ("postgres://u:geheim@h/d", 78, "expected sqlite or mongodb://"),
    ],
)
def test_a_target_that_cannot_be_meant_is_one_line(
    place: Path, run: Command, to: str, code: int, error: str
) -> None:
    said = run("copy", "--to", to, "--config", place)

    assert code == said.code
    assert error in said.err
    assert "geheim" not in said.err
