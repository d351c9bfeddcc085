"""Schedules in real daemons: fired while they run, missed while they do not, seen and run by hand."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.mongod import Deployment

from .daemons import Daemon, until

CONFIG = """\
[monqbus]
store = {store}
data_dir = {name}
apps = planned
path = ./apps
[worker]
lease = 10s
drain = 2s
[http]
listen = 127.0.0.1:0
[schedule:seconds]
every = 1s
task = planned.note
args = ["seconds"]
missed = {missed}
missed_within = 1h
[schedule:yearly]
cron = 0 0 1 1 *
timezone = Europe/Berlin
topic = year.over
"""
APP = """\
import os
from monqbus import c, event_handler, schedule, task

def write(*words):
    with open(os.environ["RAN"], "a") as file:
        file.write(" ".join(map(str, words)) + "\\\\n")

@task
def note(word):
    write(word, int(c.task.scheduled_for.timestamp()))

@event_handler("year.over")
def celebrate(topic):
    write(topic, c.task.scheduled_for.isoformat())

@schedule("0 0 29 2 *", name="leap", args=["leap"])
@schedule(every=3600, name="hourly", args=["hourly"])
@task
def other(word):
    write(word)
""".replace("\\\\n", "\\n")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place whose daemons are ended afterwards."""
    made = Place(tmp_path)
    yield made
    for daemon in made.daemons:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()


class Place:
    """An app, a file into which its tasks write, and daemons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran = folder / "ran"
        self.ran.touch()
        (folder / "apps").mkdir()
        (folder / "apps" / "planned.py").write_text(APP)
        self.daemons: list[Daemon] = []

    def daemon(self, name: str = "a", store: str = "sqlite", missed: str = "all") -> Daemon:
        """One that is not started yet."""
        path = self.folder / f"{name}.ini"
        path.write_text(CONFIG.format(store=store, name=name, missed=missed))
        self.daemons.append(Daemon(path, RAN=str(self.ran)))
        return self.daemons[-1]

    def lines(self, word: str) -> list[str]:
        """What tasks have written that begins with *word*."""
        return [line for line in self.ran.read_text().splitlines() if line.startswith(word)]

    @property
    def seconds(self) -> list[int]:
        """The moments for which the task of each second has run."""
        return sorted(int(line.split()[1]) for line in self.lines("seconds"))


def test_each_second_runs_once_over_kills_of_the_daemon(place: Place) -> None:
    """Those of the time in which none ran included."""
    daemon = place.daemon()
    for count in (2, 4, 6):
        daemon.start()
        until(lambda: place.lines("seconds"), count)
        daemon.kill()
    daemon.start()
    until(lambda: place.lines("seconds"), 9)
    daemon.stop()
    ran, tasks = place.seconds, rows(daemon, "list", "--name", "planned.note")

    assert list(range(ran[0], ran[-1] + 1)) == sorted(set(ran))
    assert len(tasks) in (len(set(ran)), len(set(ran)) + 1)  # the last tick may wait for the next start


def test_three_daemons_on_one_database_store_each_tick_once(place: Place, standalone: Deployment) -> None:
    """One of them is killed on the way."""
    address = standalone.address(f"planned_{uuid4().hex[:8]}")
    daemons = [place.daemon(name, address) for name in "abc"]
    for daemon in daemons:
        daemon.start()
    until(lambda: place.lines("seconds"), 3)
    daemons[0].kill()
    until(lambda: place.lines("seconds"), 8, 40)
    for daemon in daemons[1:]:
        daemon.stop()
    ticks = rows(daemons[1], "events", "list", "--kind", "schedule")
    moments = sorted(
        int(datetime.fromisoformat(tick["key"].partition("@")[2].replace("Z", "+00:00")).timestamp())
        for tick in ticks
        if tick["key"].startswith("seconds@")
    )

    assert list(range(moments[0], moments[-1] + 1)) == moments
    assert {1} == {len(tick["task_ids"]) for tick in ticks}


def rows(daemon: Daemon, *words: str) -> list[dict[str, Any]]:
    """The rows that a command prints."""
    said = daemon.monqbus(*words, "--json", "--limit", "1000")
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_one_runs_by_hand_beside_the_daemon_and_without_it(place: Place) -> None:
    daemon = place.daemon().start()
    said = daemon.monqbus("schedules", "run", "yearly", "hourly")
    assert (0, "") == (said.returncode, said.stderr)
    assert 2 == len(said.stdout.split())
    until(lambda: place.lines("year.over"), 1)
    until(lambda: place.lines("hourly"), 1)
    daemon.stop()
    assert 0 == daemon.monqbus("schedules", "run", "hourly").returncode
    daemon.start()
    until(lambda: place.lines("hourly"), 2)

    refused = daemon.monqbus("schedules", "run", "hourli")
    assert (1, "monqbus: schedule hourli: not declared; did you mean hourly?\n") == (
        refused.returncode,
        refused.stderr,
    )


def test_they_are_listed_with_their_next_moments_and_their_last_tick(place: Place) -> None:
    daemon = place.daemon().start()
    until(lambda: place.lines("seconds"), 2)
    listed = [json.loads(line) for line in daemon.monqbus("schedules", "--json").stdout.splitlines()]
    text = daemon.monqbus("schedules").stdout

    assert ["hourly", "leap", "seconds", "yearly"] == [row["name"] for row in listed]
    assert all(3 == len(row["next"]) for row in listed)
    assert listed[2]["outcome"] in ("complete", "busy")
    assert listed[3]["next"][0].endswith("-12-31T23:00:00.000Z")
    assert "yearly  topic year.over  cron 0 0 1 1 * Europe/Berlin  " in text
    assert "-01-01 00:00:00 CET" in text


def test_an_edit_and_a_reload_begin_the_changed_one_anew(place: Place) -> None:
    daemon = place.daemon().start()
    until(lambda: place.lines("seconds"), 1)
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace("every = 1s", "every = 100d"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    (row,) = [
        json.loads(line)
        for line in daemon.monqbus("schedules", "--json").stdout.splitlines()
        if '"seconds"' in line
    ]

    assert "every 8640000s" == row["moments"]


def test_check_names_what_is_wrong_with_a_schedule_and_what_is_odd(place: Place) -> None:
    daemon = place.daemon()
    with daemon.config.open("a") as file:
        file.write(
            "[schedule:lost]\nevery = 1h\ntask = planned.nothing\n"
            "[schedule:odd]\ncron = 0 0 29 2 *\ntopic = nobody.hears\n"
            "[schedule:wrong]\nat = 2020-01-01T00:00:00Z\ntask = planned.note\nargs = [1, 2]\n"
        )
    said = daemon.monqbus("check")

    assert 78 == said.returncode
    problems = said.stderr.splitlines()
    assert any("a.ini:21: [schedule:lost] task: no app declares planned.nothing" in line for line in problems)
    assert any("a.ini:27: [schedule:wrong] task planned.note: " in line for line in problems)
    assert any("a.ini:24: [schedule:odd] topic: no handler for 'nobody.hears'" in line for line in problems)
    assert any("a.ini:24: [schedule:odd]: comes only every" in line for line in problems)
    assert any("planned.py:16: @schedule leap: comes only every" in line for line in problems)
    assert any("a.ini:27: [schedule:wrong]: never comes any more" in line for line in problems)
    assert "schedule yearly → topic year.over" in said.stdout
