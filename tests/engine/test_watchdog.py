"""A hub that stands still is told while it does, by the name of the task that holds it."""

from __future__ import annotations

import _socket  # gevent's sockets would let the hub turn
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import gevent
import pytest

from bus.clock import Clock
from bus.maintenance import watchdog
from bus.maintenance.watchdog import RECENT_SECONDS, Watchdog

from .conftest import Engine, Facts, death_of

PATIENCE = 5.0
Told = list[tuple[str, Mapping[str, Any]]]


class Ahead(Clock):
    """A real clock whose time may pass at once, and whose wall clock can be *set* otherwise."""

    ahead = 0.0
    set = 0.0

    def monotonic(self):
        return super().monotonic() + self.ahead

    def wall(self):
        return super().wall() + timedelta(seconds=self.ahead + self.set)


@pytest.fixture
def told() -> Told:
    """What was told from the watchdog's thread."""
    return []


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


@pytest.fixture
def dog(told: Told, clock: Ahead) -> Iterator[Watchdog]:
    """A watchdog of the test's own hub that has begun to look."""
    watching = Watchdog(clock, lambda fact, fields: told.append((fact, fields)))
    watching.start()
    yield watching
    watching.stop()


def burn_until(holds: Callable[[], object]) -> None:
    """Compute without yielding."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "nobody told within the time"


def test_a_task_that_computes_is_named_while_it_does(engine: Engine, dog: Watchdog, told: Told):
    """The handler itself sees that it was told, before it yields once; the line it stands at is in it."""
    engine.declare(lambda: burn_until(lambda: told), "app.burn")
    task = engine.waiting(name="app.burn")
    ended = engine.perform(task)

    ((fact, fields),) = told
    assert "complete" == ended.state
    assert "hub.blocked" == fact
    assert task.id == fields["task"].id
    assert "engine/test_watchdog.py:" in fields["at"]
    assert "burn_until < " in fields["at"]
    assert "executor.py" not in fields["at"]
    assert 0.5 <= fields["seconds"]
    assert watchdog.REMEDY == fields["remedy"]


def test_of_a_deep_stack_the_handlers_own_line_is_told_too(engine: Engine, dog: Watchdog, told: Told):
    """Three lines inside a library say nothing to whoever has to mend the handler."""

    def deep(steps: int) -> None:
        if steps:
            deep(steps - 1)
        else:
            burn_until(lambda: told)

    def handler() -> None:
        deep(9)

    engine.declare(handler, "app.deep")
    engine.perform(engine.waiting(name="app.deep"))

    *nearest, gap, own = [line.split()[-1] for line in told[0][1]["at"].split(" < ")]
    assert (3, "deep") == (len(nearest), nearest[-1])  # the look may find it in the lambda, too
    assert ("…", "handler") == (gap, own)


def test_a_blocking_c_call_is_noticed_as_well(engine: Engine, dog: Watchdog, told: Told, facts: Facts):
    """One that lets other threads run, as drivers' calls do; the test reads from a native socket."""
    pair = _socket.socketpair()
    dog._tell = lambda fact, fields: (told.append((fact, fields)), pair[1].send(b"x"))
    engine.declare(lambda: pair[0].recv(1), "app.wait")
    engine.perform(engine.waiting(name="app.wait"))
    for end in pair:
        end.close()

    assert ["hub.blocked"] == [fact for fact, _ in told]
    assert told[0][1]["at"].endswith("<lambda>")


def test_the_end_of_a_block_is_told_once_with_how_long_it_was(
    engine: Engine, dog: Watchdog, told: Told, facts: Facts
):
    """To every listener, from the hub; the block itself only once however long it lasts."""
    begun = time.monotonic()
    engine.declare(lambda: burn_until(lambda: time.monotonic() > begun + 1.5), "app.burn")
    task = engine.waiting(name="app.burn")
    engine.perform(task)
    fields = facts.wait_for("hub.unblocked")

    assert 1 == len(told)
    assert task.id == fields["task"].id
    assert 1.4 <= fields["seconds"] <= time.monotonic() - begun + 0.1
    assert 1 == facts.names.count("hub.unblocked")


def test_a_block_without_a_task_is_told_by_its_place_alone(dog: Watchdog, told: Told):
    """Nobody is blamed for it, and /readyz does not know what to do about it."""
    burn_until(lambda: told)

    ((_, fields),) = told
    assert {"at", "seconds"} == fields.keys()
    assert "burn_until" in fields["at"]
    assert dog.complaint is None


def test_a_task_is_complained_about_while_it_blocks_and_for_ten_seconds_after(
    engine: Engine, dog: Watchdog, told: Told, clock: Ahead, facts: Facts
):
    """Whoever waited for an answer meanwhile hears why; later ones hear it until it is old."""
    during: list[str | None] = []
    engine.declare(lambda: (burn_until(lambda: told), during.append(dog.complaint)), "app.burn")
    task = engine.waiting(name="app.burn")
    before = dog.complaint
    engine.perform(task)
    facts.wait_for("hub.unblocked")
    after = dog.complaint
    clock.ahead = RECENT_SECONDS + 0.1

    words = f" s by task app.burn ({task.id}); declare the task cpu=True"
    assert before is None
    assert [True, True] == [words in (text or "") for text in (during[0], after)]
    assert dog.complaint is None


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_clock_that_is_set_hides_no_block_and_makes_none(  # noqa: PLR0917 - fixtures
    engine: Engine, dog: Watchdog, told: Told, clock: Ahead, facts: Facts, seconds: float
):
    """Told while it lasts, with how long it is by the time that passes; the complaint ends in time."""
    clock.set = seconds
    engine.declare(lambda: burn_until(lambda: told), "app.burn")
    engine.perform(engine.waiting(name="app.burn"))
    free = facts.wait_for("hub.unblocked")
    assert 0 < told[0][1]["seconds"] <= free["seconds"] < PATIENCE
    clock.ahead = RECENT_SECONDS + 0.1

    assert dog.complaint is None


def test_a_hub_that_turns_is_left_alone(dog: Watchdog, told: Told, facts: Facts):
    """Many short steps in a row are no block, however long the row is."""
    deadline = time.monotonic() + 1.2

    def busy() -> None:
        while time.monotonic() < deadline:
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(busy) for _ in range(20)])

    assert [] == told
    assert "hub.unblocked" not in facts.names


def test_a_watchdog_outlives_what_it_cannot_tell(
    dog: Watchdog, told: Told, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """A fault while it looks is said on stderr, and the next block is told all the same."""
    scene = watchdog._scene
    with monkeypatch.context() as broken:
        broken.setattr(watchdog, "_scene", lambda _: 1 / 0)
        said: list[str] = []
        burn_until(lambda: said.append(capfd.readouterr().err) or "ZeroDivisionError" in "".join(said))
    assert watchdog._scene is scene
    gevent.sleep(0)
    burn_until(lambda: told)

    assert ["hub.blocked"] == [fact for fact, _ in told]


def test_a_watchdog_whose_thread_has_ended_says_so(
    dog: Watchdog, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Nobody would be named any more."""

    class Odd(BaseException):
        """Nobody expects it."""

    def leave(_: Watchdog) -> None:
        raise Odd("out of place")

    died = death_of(dog.health)
    monkeypatch.setattr(Watchdog, "_look", leave)

    assert died.wait(PATIENCE)
    assert "Odd: out of place" == dog.health.death


def test_a_watchdog_that_was_stopped_has_not_died(told: Told, clock: Ahead):
    dog = Watchdog(clock, lambda *_: None)
    dog.start()
    dog.stop()
    gevent.idle()

    assert dog.health.death is None
