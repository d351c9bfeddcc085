"""`monqbus doctor`: every part has its line, and what is wrong has its remedy."""

from __future__ import annotations

import os
import resource
import sqlite3
import zoneinfo
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import bson
import pymongo
import pytest

from bus.cli import doctor as command
from bus.clock import Clock
from bus.model import Posting
from bus.steady_clock import Mark
from bus.store import open_store
from bus.store.clock_mark import this_boot, write_mark
from bus.store.mongo import schema
from bus.store.sqlite.rows import SCHEMA_VERSION
from tests.acceptance.daemons import Daemon
from tests.contract.samples import NAME, NOW, ONE, a_task
from tests.mongod import Deployment

from .console import Command, Said, write_place

PROGRAM = ["monqbus", "python", "glibc", "gevent", "greenlet", "pymongo", "flask", "werkzeug", "sqlite",
           "certificates", "time zones"]  # fmt: skip
PLACE = ["config", "open files", "data_dir", "disk", "room", "daemon"]


def _found(said: Said, name: str) -> dict[str, object]:
    (row,) = [row for row in said.rows if row["name"] == name]
    return row


VERSION_1 = Path(__file__).parents[1] / "contract" / "files" / "version1.db"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config in the working directory, with its data folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    return write_place(tmp_path)


@pytest.fixture
def daemon(place: Path) -> Iterator[Daemon]:
    """A running daemon on the embedded store."""
    running = Daemon(place.rename(place.with_name("running.ini")))
    try:
        yield running.start()
    finally:
        running.kill()


def test_a_new_place_is_well(run: Command, place: Path) -> None:
    """One line for each part: verdict, name, value, what is worth knowing; exit 0."""
    said = run("doctor", "--config", place)
    names = [row["name"] for row in run("doctor", "--config", place, "--json").rows]

    assert 0 == said.code, said.out
    assert [*PROGRAM, *PLACE, "store"] == names
    assert [line for line in said.lines if line.startswith("ok       ")] == said.lines
    assert f"ok       data_dir    {place.parent}/data, mode 0700" in said.lines
    assert "not there yet; a daemon makes it when it starts" in said.lines[-1]
    assert [] == list((place.parent / "data").iterdir())  # it looks, and leaves nothing behind


def test_a_place_that_is_not_there_yet_is_well(run: Command, place: Path) -> None:
    """Before the first start there is no data folder."""
    (place.parent / "data").rmdir()

    assert "not there yet; it is made at the first start" in run("doctor", "--config", place).out


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "ok       time        the queue's goes with this machine's"),
        (3600, "warning  time        the queue's is 3600 s ahead of this machine's; the clock was set back"),
        (-3600, "warning  time        the queue's is 3600 s behind this machine's; the clock was set ahead"),
    ],
)
def test_a_clock_that_was_set_is_said(run: Command, place: Path, seconds: float, words: str) -> None:
    """By the mark of the last daemon."""
    clock = Clock()
    now = clock.wall().timestamp()
    mark = Mark(now + seconds, now, now + seconds, clock.boottime(), this_boot())
    write_mark(place.parent / "data", mark)
    said = run("doctor", "--config", place)

    assert (0, 1) == (said.code, len([line for line in said.lines if line.startswith(words)])), said.out


def test_it_works_beside_a_running_daemon(run: Command, daemon: Daemon) -> None:
    """The daemon has the file, and is asked instead."""
    said = run("doctor", "--config", daemon.config, "--json")

    assert 0 == said.code, said.out
    assert "answers on its control socket, 0 tasks stored" == _found(said, "daemon")["value"]


def test_a_stored_file_is_read_whole(run: Command, place: Path) -> None:
    """It says so, or that it is damaged and what to do."""
    path = place.parent / "data" / "monqbus.db"
    open_store("sqlite", path.parent).close()
    well = run("doctor", "--config", place, "--json")
    path.write_bytes(b"no database at all" * 1000)
    damaged = run("doctor", "--config", place, "--json")

    assert str(_found(well, "store")["value"]).endswith("read and without damage")
    assert (0, 1) == (well.code, damaged.code)
    assert "problem" == _found(damaged, "store")["verdict"]
    assert str(path) in str(_found(damaged, "store")["value"])


def test_doctor_and_check_say_the_schema_version_and_leave_it(run: Command, place: Path) -> None:
    """Who looks may still want to go back; the first command that changes the file upgrades it."""
    path = place.parent / "data" / "monqbus.db"
    path.write_bytes(VERSION_1.read_bytes())
    path.chmod(0o600)
    before = [run(name, "--config", place) for name in ("doctor", "check")]
    names = {one.name for one in path.parent.iterdir()}
    changed = run("retry", "--name", "x", "--config", place)
    after = [run(name, "--config", place) for name in ("doctor", "check")]

    assert [0, 0, 0, 0, 0] == [said.code for said in (*before, changed, *after)]
    assert [f"version 1; the next start upgrades it to {SCHEMA_VERSION}"] * 2 == [
        _schema(said.lines) for said in before
    ]
    assert [f"version {SCHEMA_VERSION}"] * 2 == [_schema(said.lines) for said in after]
    assert "monqbus.db.v1-backup" not in names
    assert path.with_name("monqbus.db.v1-backup").is_file()


def _schema(lines: list[str]) -> str:
    """What is said of the schema, whatever stands before it."""
    (line,) = [line for line in lines if "schema   " in line]
    return line.split("schema")[1].strip()


def test_tasks_that_nobody_can_read_are_told_and_listed(run: Command, place: Path) -> None:
    """With the reason, and what to do; nothing of it stops the commands."""
    path = place.parent / "data" / "monqbus.db"
    with closing(open_store("sqlite", path.parent)) as store:
        tasks = [a_task() for _ in range(4)]
        store.post([Posting([task]) for task in tasks])
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE task SET body = x'00' WHERE seq = 1")
        file.execute("UPDATE task SET id = 'an id' WHERE seq = 2")
        history = bson.encode({"v": [{}]})
        file.execute("UPDATE task SET history = ?, state = 'error' WHERE seq = 3", (history,))
    listed = run("list", "--config", place)
    rows = run("list", "--json", "--config", place).rows
    shown = run("show", str(tasks[2].id), "--config", place)
    before = run("doctor", "--config", place, "--json")
    with closing(open_store("sqlite", path.parent)) as store:
        store.claim(ONE, {NAME}, 1, NOW)
        store.claim(ONE, {NAME}, 1, NOW)
    after = run("doctor", "--config", place)
    aside = run("list", "--config", place)

    assert (0, 5, 4, 0) == (listed.code, len(listed.lines), len(rows), shown.code)
    assert 1 == sum("args: cannot be read (" in line for line in aside.lines)
    assert 1 == sum(line.startswith("(unreadable id) ") for line in listed.lines)
    assert "tasks" not in [row["name"] for row in before.rows]
    assert "warning  tasks       2 cannot be read and were set aside; `monqbus list" in after.out


def test_every_mistake_of_the_config_has_its_line(run: Command, place: Path) -> None:
    """With file and line, after the versions: those help whoever is asked about it."""
    place.write_text("[monqbus]\nstor = sqlite\nlog_level = loud\n")
    said = run("doctor", "--config", place, "--json")
    mistakes = [str(row["value"]) for row in said.rows if row["name"] == "config"]

    assert 1 == said.code
    assert [f"{place}:2", f"{place}:3"] == [text.partition(": ")[0] for text in mistakes]
    assert PROGRAM == [row["name"] for row in said.rows][: len(PROGRAM)]


def test_an_open_data_folder_is_a_warning(run: Command, place: Path) -> None:
    """Warnings alone are exit 0; the remedy can be pasted."""
    folder = place.parent / "data"
    folder.chmod(0o755)
    said = run("doctor", "--config", place, "--json")
    row = _found(said, "data_dir")

    assert 0 == said.code
    assert ("warning", f"run: chmod 700 {folder}") == (row["verdict"], row["note"])


def test_a_data_folder_of_somebody_else_is_a_warning(run: Command, place: Path, monkeypatch) -> None:
    """Files made by this user would shut the daemon out."""
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    row = _found(run("doctor", "--config", place, "--json"), "data_dir")

    assert "warning" == row["verdict"]
    assert f"it belongs to user {uid}" in str(row["note"])


def test_too_few_open_files_are_a_warning(run: Command, place: Path, monkeypatch) -> None:
    """With the number that the configured connections want."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    row = _found(run("doctor", "--config", place, "--json"), "open files")

    assert ("256", "warning") == (row["value"], row["verdict"])
    assert "LimitNOFILE=768" in str(row["note"])


def test_check_warns_of_too_few_open_files(run: Command, place: Path, monkeypatch) -> None:
    """Before the start, too: the daemon would only say so when the first connection cannot be accepted."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))

    assert (
        "warning: open files: expected more than 256; [http] connections wants 768: "
        "ulimit -n 768, or LimitNOFILE=768 in the unit"
    ) in run("check", "--offline", "--config", place).err


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "verdict"), [(2**20, "problem"), (2**29, "warning"), (2**31, "ok")])
def test_a_full_disk_is_told(run: Command, place: Path, monkeypatch, free: int, verdict: str) -> None:
    """Below `min_free` deliveries are refused; below a gibibyte somebody should look."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(2**40, 2**40 - free, free))

    assert verdict == _found(run("doctor", "--config", place, "--json"), "room")["verdict"]


@pytest.mark.parametrize(("kind", "verdict"), [("ext4", "ok"), ("tmpfs", "warning"), ("nfs4", "problem")])
def test_where_sqlite_cannot_keep_its_promises_is_told(
    run: Command, place: Path, monkeypatch, kind: str, verdict: str
) -> None:
    """A network and a memory are no place for the store."""
    mounts = place.with_name("mountinfo")
    mounts.write_text(f"1 0 0:1 / / rw - {kind} device rw\n")
    monkeypatch.setattr("bus.store.sqlite.mounts.MOUNTS", mounts)
    row = _found(run("doctor", "--config", place, "--json"), "disk")

    assert (kind, verdict) == (row["value"], row["verdict"])


@pytest.mark.parametrize(("version", "says"), [((3, 51, 2), True), ((3, 51, 3), False)])
def test_the_race_of_old_sqlite_is_told(run: Command, place: Path, monkeypatch, version, says: bool) -> None:
    """It cannot happen with one connection; a second program on the file would bring it."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    row = _found(run("doctor", "--config", place, "--json"), "sqlite")

    assert ("ok", says) == (row["verdict"], "WAL reset" in str(row["note"]))


# MongoDB


@pytest.fixture
def on_mongo(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, str]:
    """A config for an empty database of the deployment that the parameter names, and its address."""
    deployment: Deployment = request.getfixturevalue(request.param)
    address = deployment.address(f"doctor_{uuid4().hex[:8]}")
    return write_place(tmp_path, address), address


@pytest.mark.parametrize("on_mongo", ["standalone", "replica_set"], indirect=True)
def test_a_mongodb_is_looked_at(run: Command, on_mongo: tuple[Path, str]) -> None:
    """Version, members, clock, indexes and feed: empty before the first daemon, made by it."""
    config, address = on_mongo
    before = run("doctor", "--config", config, "--json")
    open_store(address, config.parent / "data").close()
    after = run("doctor", "--config", config, "--json")

    is_single = "no replica set" in str(_found(after, "members")["value"])
    assert (0, 0) == (before.code, after.code), before.out
    assert ("nothing is stored yet", "not there yet") == (
        _found(before, "schema")["value"], _found(before, "feed")["value"],
    )  # fmt: skip
    assert ("all are there", True) == (
        _found(after, "indexes")["value"], "capped at 65536 bytes" in str(_found(after, "feed")["value"]),
    )  # fmt: skip
    assert str(_found(after, "schema")["value"]).startswith(
        "version 1; the next start of a daemon upgrades it"
    )
    assert ("warning" if is_single else "ok") == _found(after, "members")["verdict"]
    assert ("ok", "ok") == (_found(after, "store")["verdict"], _found(after, "clock")["verdict"])


@pytest.mark.parametrize("on_mongo", ["standalone"], indirect=True)
def test_what_somebody_removed_is_told(run: Command, on_mongo: tuple[Path, str]) -> None:
    """An index that is missing, a feed that is an ordinary collection."""
    config, address = on_mongo
    open_store(address, config.parent / "data").close()
    with pymongo.MongoClient(address) as client:
        database = client.get_default_database()
        database[schema.TASKS].drop_index(schema.CLAIM)
        database.drop_collection(schema.FEED)
        database[schema.FEED].insert_one({})
    said = run("doctor", "--config", config, "--json")

    assert f"missing indexes: monq_task.{schema.CLAIM}" == _found(said, "indexes")["value"]
    assert ("warning", "warning") == (_found(said, "indexes")["verdict"], _found(said, "feed")["verdict"])


class _Slow(Clock):
    """A clock that is a minute late."""

    def now(self):  # type: ignore[no-untyped-def]
        return super().now() - timedelta(minutes=1)


@pytest.mark.parametrize("on_mongo", ["standalone"], indirect=True)
def test_a_clock_that_is_wrong_is_told(run: Command, on_mongo: tuple[Path, str], monkeypatch) -> None:
    """By how much, and which way."""
    monkeypatch.setattr(command, "Clock", _Slow)
    row = _found(run("doctor", "--config", on_mongo[0], "--json"), "clock")

    assert "warning" == row["verdict"]
    assert "ahead of this machine's" in str(row["value"])


def test_a_mongodb_that_is_away_is_a_problem_and_no_secret_is_told(run: Command, tmp_path: Path) -> None:
    """Exit 1, with the remedy; the rest is told all the same."""
    config = write_place(tmp_path, "mongodb://me:hush@127.0.0.1:1/x?timeoutMS=300")
    said = run("doctor", "--config", config)

    assert 1 == said.code
    assert "problem  store" in said.out
    assert "see whether its servers run" in said.out
    assert "hush" not in said.out + said.err


def test_what_went_wrong_in_the_running_daemon_is_counted(run: Command, daemon: Daemon) -> None:
    """Facts that are worth a warning, since its start; ends that came too late are among them."""
    well = _found(run("doctor", "--config", daemon.config, "--json"), "facts")
    run("event", "nobody.listens", "--config", daemon.config)
    told = _found(run("doctor", "--config", daemon.config, "--json"), "facts")

    assert str(well["value"]).endswith("Z: nothing worth a warning")
    assert str(told["value"]).endswith("Z: event.unhandled 1")
    assert ("ok", "what they mean: docs/facts.md; which tasks: the log") == (told["verdict"], told["note"])


def test_the_services_of_a_daemon_that_is_well_are_counted(run: Command, daemon: Daemon) -> None:
    """Loops, threads, slots and listening sockets."""
    said = run("doctor", "--config", daemon.config, "--json")
    value = str(_found(said, "services")["value"])

    assert ("ok", "deliveries are taken") == (
        _found(said, "ready")["verdict"],
        _found(said, "ready")["value"],
    )
    assert value.startswith("all ")
    assert value.endswith(" do their work")
    assert int(value.split()[1]) > 12


def test_whoever_does_not_come_to_do_his_work_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """As a problem, with its last error and how long it has been so."""
    row = {"name": "rescuer", "state": "failing", "seconds": 16.2, "period": 5.0, "error": "ValueError: bad"}
    well = {**row, "name": "pruner", "state": "working"}
    status = {"reason": "rescuer: has not succeeded", "remark": None, "services": [well, row]}
    ready, services = command._readiness(status)

    assert ("ready", "rescuer: has not succeeded", "problem") == ready[:3]
    assert ("services", "rescuer is failing, last success 16 s ago (ValueError: bad)", "problem") == services[
        :3
    ]


def test_a_machine_without_certificates_or_time_zones_is_told(
    run: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of minimal images: no server is trusted, no zone is found, and nothing else says why."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    monkeypatch.setattr(zoneinfo, "TZPATH", ())

    def no_zone(key: str) -> None:
        raise zoneinfo.ZoneInfoNotFoundError(key)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", no_zone)
    said = run("doctor", "--config", place, "--json")
    found = {name: _found(said, name) for name in ("certificates", "time zones")}

    assert {"warning"} == {row["verdict"] for row in found.values()}
    assert "ca-certificates" in str(found["certificates"]["note"])
    assert "tzdata" in str(found["time zones"]["note"])
