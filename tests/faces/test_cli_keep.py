"""`backup` and `copy`: beside a running daemon, without one, and into MongoDB."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pymongo
import pytest

from bus.model import Filter, Posting
from bus.store import open_store
from tests.acceptance.daemons import Daemon
from tests.contract.samples import a_delivery, a_task
from tests.mongod import Deployment
from tests.program import PROGRAM

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


@pytest.mark.parametrize("beside", ["a daemon", "nobody"])
def test_a_backup_that_is_there_already_is_one_line_and_stays(
    request: pytest.FixtureRequest, place: Path, run: Command, tmp_path: Path, beside: str
) -> None:
    """Exit 1 in both ways: nothing is out of reach."""
    if beside == "a daemon":
        request.getfixturevalue("daemon")
    file = tmp_path / "kept.db"
    file.write_text("precious")
    said = run("backup", file, "--config", place)

    assert 1 == said.code
    assert f"monqbus: {file}: is there already; name a new file\n" == said.err
    assert "precious" == file.read_text()


@pytest.mark.parametrize(
    "words", [["list"], ["count"], ["show", "6b04ec3f28e9893927a81901"]], ids=lambda words: words[0]
)
def test_a_look_makes_no_collection(tmp_path: Path, run: Command, target: str, words: list[str]) -> None:
    """In a database whose name was mistyped, or before the first daemon."""
    place = write_place(tmp_path, target)
    code = run(*words, "--config", place).code
    with pymongo.MongoClient(target) as client:
        made = client.get_default_database().list_collection_names()

    assert code == (1 if words[0] == "show" else 0)
    assert [] == made


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


def _many(place: Path, count: int) -> set[str]:
    """The ids of so many tasks and as many events in the store of *place*."""
    store = open_store("sqlite", place.parent / "data")
    tasks = [a_task() for _ in range(count)]
    store.post([Posting([task]) for task in tasks])
    store.post([Posting([], a_delivery(f"d-{number}")) for number in range(count)])
    store.close()
    return {str(task.id) for task in tasks}


def _copying(place: Path, target: str, screen: int) -> subprocess.Popen[bytes]:
    # whatever runs the tests in its background has made them ignore Ctrl-C, and their children with them
    words = ["env", "--default-signal=INT", *PROGRAM, "copy", "--to", target, "--config", str(place)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=screen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_copy_that_ends_in_the_middle_is_completed_by_the_next(
    place: Path, run: Command, target: str, number: signal.Signals
) -> None:
    """It shows how far it is on a terminal; nothing is lost, nothing is there twice."""
    ids = _many(place, 3000)
    ours, theirs = pty.openpty()
    copying = _copying(place, target, theirs)
    os.close(theirs)
    seen = b""
    while b"%" not in seen:
        seen += os.read(ours, 1024)
    copying.send_signal(number)
    code = copying.wait()
    os.set_blocking(ours, False)
    with suppress(OSError):  # nothing more is there
        while piece := os.read(ours, 1024):
            seen += piece
    os.close(ours)
    again = run("copy", "--to", target, "--config", place)
    copied = open_store(target, place.parent)
    tasks, events = copied.find(Filter(), 10_000), copied.events(10_000)
    copied.close()

    assert (130 if number == signal.SIGINT else -number) == code
    assert (b"the same command completes it" in seen) == (number == signal.SIGINT)
    assert "░".encode() in seen
    assert 0 == again.code
    assert (ids, 3000) == ({str(task.id) for task in tasks}, len(events))
