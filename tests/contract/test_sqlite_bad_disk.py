"""The embedded store on a disk that fails: nothing acknowledged is lost, and it goes on by itself.

Each store is a process of its own. The disk is real, with a shim between (bad_disk.c) that fails to
sync and knows what a power cut would have left.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bad_disk import BadDisk

ROOT = Path(__file__).parents[2]
ENOUGH_FOR_A_CHECKPOINT = 2000


class Machine:
    """A computer with one *disk*, and *data* as its programs see it."""

    def __init__(self, folder: Path, shim: Path) -> None:
        self.disk = BadDisk(shim, folder)
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self._environ = {**os.environ, **self.disk.environ}
        self._keeper: subprocess.Popen[str] | None = None

    def start(self, *words: str) -> Machine:
        """Start a store on the disk."""
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.storekeeper", str(self.data / "monqbus.db"), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=self._environ,
        )  # fmt: skip
        assert "open" == self._answer()
        return self

    def __call__(self, *words: object) -> Any:
        """What the store answers to *words*."""
        assert self._keeper is not None and self._keeper.stdin is not None
        print(*words, file=self._keeper.stdin, flush=True)
        return self._answer()

    def kill(self) -> None:
        """SIGKILL; the kernel's cache stays."""
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.communicate()
            self._keeper = None

    def lose_power(self) -> None:
        """What was not on the disk is gone. A working disk stands in the machine afterwards."""
        self.kill()
        self.disk.mend()
        shutil.rmtree(self.data)
        shutil.copytree(self.disk.ondisk, self.data)

    def _answer(self) -> Any:
        assert self._keeper is not None and self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        assert line, f"the store ended with {self._keeper.wait()}"
        return json.loads(line)


@pytest.fixture
def new_machine(tmp_path: Path, shim: Path) -> Iterator[Callable[[], Machine]]:
    made: list[Machine] = []

    def new() -> Machine:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Machine(folder, shim))
        return made[-1]

    yield new
    for machine in made:
        machine.kill()


@pytest.fixture
def machine(new_machine: Callable[[], Machine]) -> Machine:
    return new_machine().start()


def test_the_machine_really_forgets_what_was_not_synced(machine: Machine) -> None:
    """The control of this file: acknowledged is kept, refused is gone, after a power cut."""
    machine("post", "kept")
    machine.disk.fail()
    machine("post", "gone")
    machine.lose_power()

    assert ["kept"] == machine.start()("deliveries")


def test_a_post_that_cannot_be_synced_is_refused_and_leaves_nothing(machine: Machine) -> None:
    """The sender is told to come again; when it does, the event is new."""
    machine("post", "one")
    machine.disk.fail()
    refused = machine("post", "two")
    seen = machine("deliveries")
    machine.disk.mend()

    assert "StoreUnavailable" in refused
    assert "disk I/O error; look at the disk's space, mode and health" in refused
    assert ["one"] == seen
    assert machine("post", "two") is False
    assert machine("post", "two") is True
    assert ["one", "two"] == machine("deliveries")


def test_ends_are_recorded_when_the_disk_works_again(machine: Machine) -> None:
    """A failed report changes nothing, so it can be made again."""
    machine("post", "one")
    machine.disk.fail()
    refused = machine("end")
    machine.disk.mend()

    assert "StoreUnavailable" in refused
    assert [True] == machine("end")
    assert {"complete": 1} == machine("count")


def test_what_is_acknowledged_after_a_failed_sync_survives_a_power_cut(machine: Machine) -> None:
    """The next transaction is written over the failed one: the log has no hole."""
    machine("post", "one", 20_000)
    machine.disk.fail()
    machine("post", "two", 50_000)
    machine.disk.mend()
    machine("post", "three")
    machine.lose_power()

    assert ["one", "three"] == machine.start()("deliveries")


@pytest.mark.parametrize("ending", ["", "-wal", ".db"])
def test_a_checkpoint_that_fails_costs_nothing(machine: Machine, ending: str) -> None:
    """Pages that the disk did not take are copied again."""
    machine("flood", "before", ENOUGH_FOR_A_CHECKPOINT)
    machine.disk.fail(ending)
    done = machine("flood", "while", ENOUGH_FOR_A_CHECKPOINT)
    machine.disk.mend()
    machine("flood", "after", ENOUGH_FOR_A_CHECKPOINT)
    acknowledged = ENOUGH_FOR_A_CHECKPOINT * (2 + (done == ENOUGH_FOR_A_CHECKPOINT))
    machine.lose_power()

    assert {"ready": acknowledged} == machine.start()("count")
    assert [("ok",)] == _checked(machine)


def _acknowledged_after_a_restart(machine: Machine, *words: str) -> list[str]:
    """What is left of an event that was refused, then repeated to the next process, then powerless."""
    machine("post", "one", 20_000)
    machine.disk.fail()
    machine("post", "two", 20_000)
    machine.kill()
    machine.disk.mend()
    machine.start(*words)
    assert machine("post", "two") is True  # its frames were in the kernel's cache: it looks stored
    machine("post", "three")
    machine.lose_power()
    left: list[str] = machine.start()("deliveries")
    return left


def test_what_a_killed_process_could_not_sync_is_made_durable_by_the_next_one(machine: Machine) -> None:
    """Linux takes it for written. The new process writes the log again before it believes it."""
    assert ["one", "three", "two"] == _acknowledged_after_a_restart(machine)


def test_without_writing_the_log_again_acknowledged_events_are_lost(new_machine) -> None:
    """The control: the hole in the log swallows what came behind it, too."""
    assert ["one"] == _acknowledged_after_a_restart(new_machine().start("control"), "control")


def test_a_file_that_may_not_grow_refuses_and_goes_on_when_it_may(machine: Machine) -> None:
    """As with a quota: the error is not a full disk, but it ends by itself, too."""
    machine("flood", "before", 200)
    machine("limit", 100_000)
    refused = machine("flood", "while", 400)
    machine("limit", -1)

    assert "StoreUnavailable" in refused
    assert machine("post", "after") is False


def _checked(machine: Machine) -> list[tuple[str]]:
    machine.kill()
    connection = sqlite3.connect(machine.data / "monqbus.db")
    try:
        return connection.execute("PRAGMA integrity_check").fetchall()
    finally:
        connection.close()
