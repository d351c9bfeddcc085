"""A daemon some part of which does not work any more says so, or ends and says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import CONFIG, New, Ran
from .daemons import Daemon, until

APP = """\
import gc
import os
from pathlib import Path

import gevent
from bus.engine import claimer
from bus.errors import StoreUnavailable
from bus.store import open_store
from bus.store.mongo import MongoStore
from bus.store.sqlite.store import SqliteStore
from monqbus import event_handler, task

PLACE = Path(os.environ["PLACE"])
claimer.POLL_SECONDS = 0.5  # so that three of its periods are over soon

def broken(real):
    def claim(*args):
        if (PLACE / "broken").exists():
            raise StoreUnavailable("claim: /srv/secret/path says no")
        return real(*args)
    return claim

for store in (SqliteStore, MongoStore):
    store.claim = broken(store.claim)

@event_handler("open.hello")
def hello(topic, event):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("hello\\n")

@task
def kill_all():
    for one in [one for one in gc.get_objects() if isinstance(one, gevent.Greenlet)]:
        one.kill(block=False)  # each by itself: killall ends with the first that cannot be ended in the hub
    gevent.sleep(0)

@task
def kill_loop(name):
    for one in gc.get_objects():
        if isinstance(one, gevent.Greenlet) and getattr(getattr(one, "_run", None), "__self__", None):
            if getattr(one._run.__self__, "name", "") == name:
                one.kill(block=False)

@task
def kill_main():
    gevent.kill(gevent.get_hub().parent)
"""
TEXT = CONFIG.replace("apps = accepted", "apps = reaping").replace("path = {apps}", "path = ./apps")
HELLO = {"X-Kind": "hello"}


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> Path:
    """The app of these daemons."""
    path = tmp_path / "apps" / "reaping.py"
    path.parent.mkdir()
    path.write_text(APP)
    return path


def ready(daemon: Daemon, status: int) -> dict[str, object]:
    """What `/readyz` says once it says *status*."""
    until(lambda: ["so"] if daemon.request("GET", "/readyz")[0] == status else [], 1)
    return daemon.request("GET", "/readyz")[1]


def test_claims_that_fail_again_and_again_make_it_not_ready(
    address: str, new_daemon: New, ran: Ran, tmp_path: Path
) -> None:
    """The store answers, deliveries are stored, nothing of them would ever run; mended, it goes on."""
    daemon = new_daemon(address, text=TEXT).start()
    ready(daemon, 200)
    (tmp_path / "broken").touch()
    told = daemon.wait_for("service.failing", 'service="claimer of greenlets"')
    detail = str(ready(daemon, 503)["detail"])
    stranger = daemon.request("GET", "/readyz", headers={"X-Forwarded-For": "203.0.113.9"})
    doctor = daemon.monqbus("doctor", "--json")
    rows = [json.loads(line) for line in doctor.stdout.splitlines()]

    assert "/srv/secret/path says no" in told
    assert detail.startswith("claimer of greenlets: has not succeeded for ")
    assert "(StoreUnavailable: claim: /srv/secret/path says no)" in detail
    assert (503, "not ready") == (stranger[0], stranger[1]["detail"])
    assert 1 == doctor.returncode
    assert ["ready", "services"] == [row["name"] for row in rows if row["verdict"] == "problem"]
    (tmp_path / "broken").unlink()
    daemon.wait_for("service.recovered", 'service="claimer of greenlets"')
    assert {"status": "ready"} == ready(daemon, 200)
    assert 202 == daemon.request("POST", "/hooks/open", b"x", HELLO)[0]
    assert ["hello"] == ran(1)
    assert 0 == daemon.stop()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("reaping.kill_all",), "service=recorder"),
        (("reaping.kill_loop", "--args", '["rescuer"]'), "service=rescuer"),
        (("reaping.kill_loop", "--args", '["claimer of greenlets"]'), 'service="claimer of greenlets"'),
        (("reaping.kill_loop", "--args", '["recorder"]'), "service=recorder"),
        (("reaping.kill_main",), 'service="main greenlet"'),
    ],
)
def test_a_part_that_was_killed_ends_the_daemon_with_its_reason(
    address: str, new_daemon: New, ran: Ran, words: tuple[str, ...], named: str
) -> None:
    """Exit 1, so that whoever watches it starts it again; it never stays as a shell that answers 202."""
    daemon = new_daemon(address, text=TEXT).start()
    assert 202 == daemon.request("POST", "/hooks/open", b"x", HELLO)[0]
    ran(1)
    daemon.monqbus("post", *words)
    code = daemon.wait()

    (line,) = [line for line in daemon.lines if "service.died" in line and named in line]
    assert 1 == code
    assert "GreenletExit" in line
    assert "daemon.stopped" in daemon.lines[-1]
    assert [] == [line for line in daemon.lines if "task.unrecorded" in line]

    daemon.start()
    assert 202 == daemon.request("POST", "/hooks/open", b"x", HELLO)[0]
    assert ["hello"] * 2 == ran(2)


def test_a_flood_of_forged_deliveries_is_a_few_lines_and_their_number(new_daemon: New) -> None:
    """A line each was 44 GiB a day over one connection."""
    daemon = new_daemon(text=TEXT).start()
    for _ in range(100):
        assert 401 == daemon.request("POST", "/hooks/github", b"{}")[0]
    assert 0 == daemon.stop()

    assert 10 == len([line for line in daemon.lines if "event.refused" in line])
    (omitted,) = [line for line in daemon.lines if "refusals.omitted" in line]
    assert "hook=github status=401 code=not_verified count=90" in omitted
