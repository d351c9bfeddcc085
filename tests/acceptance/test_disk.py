"""A daemon on a disk with too little room, on one that fails, and one whose file is damaged."""

from __future__ import annotations

from pathlib import Path

from tests.bad_disk import BadDisk

from .conftest import New, Ran
from .test_deliveries import delivery


def test_without_room_new_work_is_refused_and_what_waits_still_runs(new_daemon: New, ran: Ran) -> None:
    """/readyz and commands say why; the task that came before is done."""
    daemon = new_daemon()
    daemon.monqbus("post", "accepted.linger", "--args", "[0]")
    daemon.config.write_text(
        daemon.config.read_text().replace("store = sqlite", "store = sqlite\nmin_free = 1024GiB")
    )
    daemon.start()
    daemon.wait_for("store.low_on_space", "min_free_bytes=1099511627776")
    daemon.wait_for("task.finished", "name=accepted.linger")

    status, problem = daemon.request("POST", "/hooks/open", b"{}", {"X-Kind": "a"})
    ready, why = daemon.request("GET", "/readyz")
    posted = daemon.monqbus("post", "accepted.add", "--args", "[1, 2]")
    assert (503, "store_unavailable") == (status, problem["code"])
    assert (503, "not_ready") == (ready, why["code"])
    assert "low on disk space: expected 1048576.0 MiB free" in str(why["detail"])
    assert 69 == posted.returncode
    assert "new work is refused; free some, or lower [monqbus] min_free" in posted.stderr
    assert 0 == daemon.monqbus("purge", "--state", "complete").returncode
    assert 1 == len([line for line in daemon.lines if "event.refused" in line])
    assert 0 == daemon.stop()


def test_a_damaged_file_is_one_line_and_exit_69(new_daemon: New) -> None:
    """Nothing is moved: what to do is for people to decide."""
    daemon = new_daemon()
    path = daemon.config.parent / "data" / "monqbus.db"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"Dear diary, " * 1000)
    daemon.launch()
    code = daemon.wait()

    (line,) = daemon.lines
    assert 69 == code
    assert line.startswith(f"monqbus: {path}: damaged (file is not a database); it stays where it is")
    assert b"Dear diary, " * 1000 == path.read_bytes()


def test_a_disk_that_fails_to_sync_ends_nothing_and_loses_nothing(
    new_daemon: New, ran: Ran, shim: Path, tmp_path: Path
) -> None:
    """Not acknowledged while it fails; what the sender repeats then is one event and runs once."""
    disk = BadDisk(shim, tmp_path)
    daemon = new_daemon()
    daemon.environ.update(disk.environ)
    daemon.start()
    body, headers = delivery(1, "push")
    disk.fail()
    refused = [daemon.request("POST", "/hooks/github", body, headers) for _ in range(3)]
    ready, why = daemon.request("GET", "/readyz")
    alive = daemon.request("GET", "/healthz")[0]
    disk.mend()
    accepted = [daemon.request("POST", "/hooks/github", body, headers) for _ in range(2)]

    assert [(503, "store_unavailable")] * 3 == [(status, said["code"]) for status, said in refused]
    assert (200, 503) == (alive, ready)
    assert "disk I/O error; look at the disk's space, mode and health" in str(why["detail"])
    assert [202, 200] == [status for status, _ in accepted]
    assert accepted[0][1]["tasks"] == accepted[1][1]["tasks"]
    assert 1 == len(ran(1))
    daemon.wait_for("task.finished", "name=accepted.note")
    assert 200 == daemon.request("GET", "/readyz")[0]
    assert 1 == daemon.monqbus("list", "--json").stdout.count('"id"')
    assert [] == [line for line in daemon.lines if "Traceback" in line or "loop.failed" in line]
    assert 0 == daemon.stop()
