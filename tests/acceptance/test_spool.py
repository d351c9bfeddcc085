"""MongoDB goes and comes back: with a spool each sender hears 202, and each delivery runs once, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests import mongod
from tests.mongod import Deployment

from .conftest import CONFIG, New, Ran
from .daemons import Daemon, until
from .test_deliveries import delivery

SPOOLING = CONFIG.replace("[http]\n", "[http]\nspool = 16MiB\n").replace(
    "[worker]\n", "[worker]\ngreenlets = 1\n"
)
LONGEST_ANSWER_SECONDS = 6.0


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """A mongod that these tests may kill."""
    deployment = mongod.standalone()
    yield deployment
    deployment.remove()


@pytest.fixture
def server(deployment: Deployment) -> Iterator[mongod.Mongod]:
    """It runs again after each test."""
    (server,) = deployment.members
    yield server
    if server.process.poll() is not None:
        server.start()


@pytest.fixture
def address(deployment: Deployment) -> str:
    return deployment.address(f"spooled_{uuid4().hex[:8]}")


def deliver(daemon: Daemon, *numbers: int) -> list[tuple[int, dict[str, object]]]:
    """The answers to these deliveries, each sent after the one before was answered."""
    answers = []
    for number in numbers:
        asked_at = time.monotonic()
        answers.append(daemon.request("POST", "/hooks/github", *delivery(number, "push")))
        assert time.monotonic() - asked_at < LONGEST_ANSWER_SECONDS
    return answers


def lines(*numbers: int) -> list[str]:
    """What the handler writes for them."""
    return [f"github.push d-{number} {number}" for number in numbers]


def test_an_outage_costs_no_delivery_and_no_order(
    new_daemon: New, ran: Ran, server: mongod.Mongod, address: str
) -> None:
    """202 within 6 s throughout; repeated ones are one event, whichever side of the outage they came."""
    daemon = new_daemon(address, text=SPOOLING).start()
    assert [202, 202] == [status for status, _ in deliver(daemon, 0, 1)]
    ran(2)
    server.kill()

    answers = deliver(daemon, *range(2, 20))
    assert {202} == {status for status, _ in answers}
    assert (200, {**answers[0][1], "duplicate": True}) == deliver(daemon, 2)[0]
    assert 202 == deliver(daemon, 1)[0][0]
    assert (
        200,
        {"status": "ready", "detail": "spooling: 19 deliveries wait for the store"},
    ) == daemon.request("GET", "/readyz")

    server.start()
    daemon.wait_for("spool.handed_over", "count=19")
    assert [202] == [status for status, _ in deliver(daemon, 20)]
    assert lines(*range(21)) == ran(21)
    assert 21 == len(ran())
    assert (200, {"status": "ready"}) == daemon.request("GET", "/readyz")
    shown = daemon.monqbus("show", str(answers[0][1]["tasks"][0]))  # type: ignore[index]
    assert "complete" in shown.stdout
    assert 0 == daemon.stop()


def test_a_frozen_server_is_an_outage_too(
    new_daemon: New, ran: Ran, server: mongod.Mongod, address: str
) -> None:
    """It holds its connections and answers nothing: what became of the first try is unknown."""
    daemon = new_daemon(address, text=SPOOLING).start()
    server.freeze()
    try:
        assert {202} == {status for status, _ in deliver(daemon, *range(5))}
    finally:
        server.thaw()
    daemon.wait_for("spool.handed_over")

    deliver(daemon, 5)

    assert sorted(lines(*range(6))) == sorted(ran(6))
    assert 0 == daemon.stop()
    assert 6 == len(ran())


def test_a_killed_daemon_hands_over_at_its_next_start(
    new_daemon: New, ran: Ran, server: mongod.Mongod, deployment: Deployment, address: str
) -> None:
    """Killed while the store is away, and once more in the middle of handing over."""
    numbers = range(300)
    daemon = new_daemon(address, text=SPOOLING).start()
    server.kill()
    assert {202} == {status for status, _ in deliver(daemon, *numbers)}
    daemon.kill()
    server.start()

    events = deployment.client[address.rpartition("/")[2]]["monq_event"]
    daemon.launch()
    until(lambda: ["some"] * events.count_documents({}), 1)
    daemon.kill()
    daemon.start()

    until(lambda: [line for line in daemon.lines if "spool.handed_over" in line] or _nothing_left(daemon), 1)
    # what the killed daemon had begun runs twice
    assert sorted(lines(*numbers)) == until(lambda: sorted(set(ran())), len(numbers))
    assert len(numbers) == events.count_documents({})
    assert 0 == daemon.stop()


def _nothing_left(daemon: Daemon) -> list[str]:
    """The kill may have come when all had been handed over."""
    is_open = any("spool.opened" in line for line in daemon.lines)
    return [] if is_open else ["nothing was left"]


def test_a_daemon_that_stops_in_an_outage_leaves_its_spool_to_the_next(
    new_daemon: New, ran: Ran, server: mongod.Mongod, address: str
) -> None:
    """TERM is obeyed; a start without MongoDB is refused; one with it needs no setting to hand over."""
    daemon = new_daemon(address, text=SPOOLING).start()
    server.kill()
    assert {202} == {status for status, _ in deliver(daemon, 0, 1)}
    assert 0 == daemon.stop()
    daemon.launch()
    assert 69 == daemon.wait()

    server.start()
    daemon = new_daemon(address).start()

    assert lines(0, 1) == ran(2)
    daemon.wait_for("spool.handed_over", "count=2")
    assert [202] == [status for status, _ in deliver(daemon, 2)]
    assert 0 == daemon.stop()


def test_without_a_spool_an_outage_is_503(new_daemon: New, server: mongod.Mongod, address: str) -> None:
    """The control: the same outage, the same sender."""
    daemon = new_daemon(address).start()
    server.kill()

    ((status, problem),) = deliver(daemon, 1)

    assert (503, "store_unavailable") == (status, problem["code"])
    assert 503 == daemon.request("GET", "/readyz")[0]
