"""The store is taken away under a daemon: nothing is answered 202 that nobody will find."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.mongod import Deployment

from .conftest import New, Ran
from .daemons import Daemon
from .test_deliveries import delivery

Harm = Callable[[Path], None]


def delete_the_files(data: Path) -> None:
    for file in data.glob("monqbus.*"):
        file.unlink()


def delete_the_folder(data: Path) -> None:
    shutil.rmtree(data)


def move_the_folder(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))


def deliver(daemon: Daemon, *numbers: int) -> list[int]:
    """The statuses with which these deliveries are answered."""
    return [daemon.request("POST", "/hooks/github", *delivery(number, "push"))[0] for number in numbers]


@pytest.mark.parametrize("harm", [delete_the_files, delete_the_folder, move_the_folder])
def test_from_the_first_delivery_after_it_the_answer_is_503_and_readyz_says_why(
    new_daemon: New, ran: Ran, harm: Harm
) -> None:
    """With the remedy; and no second daemon begins anew on that path meanwhile."""
    daemon = new_daemon().start()
    data = daemon.config.parent / "data"
    accepted = deliver(daemon, 1)
    daemon.wait_for("task.finished", "name=accepted.note")
    harm(data)
    refused = deliver(daemon, 2, 3, 4)
    ready, why = daemon.request("GET", "/readyz")
    told = daemon.wait_for("store.moved")
    second = new_daemon(name="second")
    second.config.write_text(daemon.config.read_text())
    second.launch()
    code = second.wait()

    assert ([202], [503, 503, 503], 503) == (accepted, refused, ready)
    assert f"{data}/monqbus.db: expected the file that this process has open, got nothing" in str(
        why["detail"]
    )
    assert ("move it back" if harm is move_the_folder else "monqbus backup FILE") in told
    assert 73 == code
    assert f"held by pid {daemon.pid}, although its files were deleted or moved" in second.log.read_text()
    assert 200 == daemon.request("GET", "/healthz")[0]
    assert [] == [line for line in daemon.lines if "Traceback" in line or "loop.failed" in line]
    assert 1 == len(ran(1))
    assert 0 == daemon.stop()
    assert "store.failed doing=closing" in daemon.lines[-1]


def test_a_check_beside_a_daemon_that_has_lost_its_files_says_so(new_daemon: New) -> None:
    """The configuration is right, and yet nothing is."""
    daemon = new_daemon().start()
    delete_the_files(daemon.config.parent / "data")
    daemon.wait_for("store.moved")
    checked = daemon.monqbus("check")

    assert 0 == checked.returncode
    assert "warning: the daemon that is running: store: " in checked.stderr


def test_when_the_folder_is_back_everything_goes_on_and_nothing_was_lost(new_daemon: New, ran: Ran) -> None:
    """What was refused and is sent again runs once, and a restart finds all of it."""
    daemon = new_daemon().start()
    data = daemon.config.parent / "data"
    move_the_folder(data)
    refused = deliver(daemon, 1, 2)
    daemon.wait_for("store.moved")
    data.with_name("elsewhere").rename(data)
    daemon.wait_for("store.restored")
    accepted = deliver(daemon, 1, 2)
    lines = ran(2)
    daemon.wait_for("task.finished", "name=accepted.note", times=2)
    daemon.kill()
    daemon.start()

    assert [503, 503] == refused
    assert {200, 202} >= set(accepted)
    assert ["github.push d-1 1", "github.push d-2 2"] == sorted(lines)
    assert 2 == json.loads(daemon.monqbus("count", "--json").stdout)["complete"]
    assert 0 == daemon.stop()


def test_what_the_deleted_files_held_is_saved_by_a_backup(new_daemon: New, ran: Ran, tmp_path: Path) -> None:
    """The daemon that still has them open writes it; put in their place, it is the store."""
    daemon = new_daemon().start()
    data = daemon.config.parent / "data"
    waiting = daemon.monqbus("post", "accepted.add", "--args", "[1, 2]", "--delay", "1h").stdout.strip()
    delete_the_files(data)
    saved = daemon.monqbus("backup", str(tmp_path / "saved.db"))
    daemon.stop()
    shutil.copy(tmp_path / "saved.db", data / "monqbus.db")
    daemon.start()

    assert 0 == saved.returncode, saved.stderr
    assert waiting in daemon.monqbus("list", "--json").stdout
    assert 0 == daemon.stop()


def test_a_log_without_its_file_is_one_line_and_exit_69(new_daemon: New) -> None:
    """The daemon was killed and the file deleted: what the log holds is not thrown away by a start."""
    daemon = new_daemon().start()
    path = daemon.config.parent / "data" / "monqbus.db"
    log = path.with_name("monqbus.db-wal")
    daemon.kill()
    left = log.read_bytes()
    path.unlink()
    daemon.launch()
    code = daemon.wait()

    (line,) = daemon.lines
    assert 69 == code
    assert line.startswith(f"monqbus: {path}: expected the file beside its log, got only {log}")
    assert left == log.read_bytes()


def test_after_a_dropped_database_new_work_runs_without_a_restart(
    standalone: Deployment, new_daemon: New, ran: Ran
) -> None:
    """Collections, indexes and feed are made anew; that acknowledged work may be lost is an error."""
    name = f"dropped_{uuid4().hex[:8]}"
    daemon = new_daemon(standalone.address(name)).start()
    before = deliver(daemon, 1)
    daemon.wait_for("task.finished", "name=accepted.note")
    standalone.client.drop_database(name)
    lost = daemon.wait_for("store.altered", "monq_task: dropped, renamed or replaced")
    daemon.wait_for("store.restored", "monq_task.monqbus_claim")
    after = deliver(daemon, 2, 3)
    lines = ran(3)

    assert ([202], [202, 202], 3) == (before, after, len(lines))
    assert "tasks that were acknowledged may be lost" in lost
    assert 200 == daemon.request("GET", "/readyz")[0]
    assert [] == [line for line in daemon.lines if "Traceback" in line or "loop.failed" in line]
    assert 0 == daemon.stop()


def test_tasks_in_a_capped_collection_are_503_and_readyz_says_why(
    standalone: Deployment, new_daemon: New
) -> None:
    """From the moment it is seen, and at the next start: it would delete what was acknowledged."""
    name = f"capped_{uuid4().hex[:8]}"
    daemon = new_daemon(standalone.address(name)).start()
    standalone.client[name].command("convertToCapped", "monq_task", size=10**6)
    daemon.wait_for("store.altered", "expected an ordinary collection, got a capped one")
    refused = deliver(daemon, 1)
    ready, why = daemon.request("GET", "/readyz")
    daemon.stop()
    daemon.launch()
    code = daemon.wait()

    assert ([503], 503) == (refused, ready)
    assert "monq_task: expected an ordinary collection, got a capped one" in str(why["detail"])
    assert (1, "monq_task: expected an ordinary collection" in daemon.lines[0]) == (code, True)
