"""The queue's time in a daemon: what waits when the clock is set, what is saved, what is told."""

from __future__ import annotations

from _queue import SimpleQueue  # blocks a native thread; gevent replaces that of `queue`
from datetime import timedelta

import pytest

from bus.clock import FrozenClock
from bus.maintenance import timekeeper
from bus.maintenance.pruner import Pruner
from bus.maintenance.timekeeper import SAVE_SECONDS, MarkFile, Timekeeper, queue_clock
from bus.model import Event, Posting
from bus.steady_clock import DOUBT_SECONDS, SteadyClock
from bus.store import open_spool
from bus.store.clock_mark import read_mark, this_boot, write_mark

from .conftest import Engine

HOUR = 3600.0
DAY = 24 * HOUR


class House:
    """An engine on the queue's time of a machine whose clock is set, and its next daemons."""

    def __init__(self, new_engine, folder) -> None:
        self.machine = FrozenClock()
        self.folder = folder
        self.queue = SteadyClock(self.machine, None, this_boot())
        self.engine: Engine = new_engine(4, self.queue)
        self.keeper = Timekeeper(self.queue, lambda mark: write_mark(folder, mark))
        self.keeper.tick()
        self.ran: list[str] = []
        self.engine.declare(lambda word="": self.ran.append(word), max_attempts=2)

    def set_clock(self, seconds: float) -> None:
        self.machine.step(seconds)
        self.live(1)

    def live(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.machine.advance(1)
            self.keeper.tick()

    def run(self) -> list[str]:
        """Run what is due; the words of all runs so far."""
        self.engine.claimer.tick()
        assert 0 == self.engine.pool.drain(5)
        self.engine.recorder.tick()
        return self.ran

    def restarted(self, spool=None) -> SteadyClock:
        """The clock of the next daemon."""
        return queue_clock(self.machine, self.folder, self.engine.store, spool)


@pytest.fixture
def house(new_engine, tmp_path):
    return House(new_engine, tmp_path)


def test_what_was_due_is_due_when_the_clock_is_set_back(house):
    """And what has a delay keeps it: neither earlier nor an hour later."""
    house.engine.waiting("due")
    house.engine.waiting("delayed", delay=60)
    house.set_clock(-HOUR)

    assert ["due"] == house.run()
    house.live(50)
    assert ["due"] == house.run()
    house.live(20)
    assert ["due", "delayed"] == house.run()


def test_what_was_due_is_due_after_a_restart_too(house):
    """The clock was set back while no daemon ran."""
    task = house.engine.waiting("due")
    house.live(5)
    house.keeper.save()
    house.machine.step(-HOUR)
    clock = house.restarted()

    assert clock.now() > task.time_queue > house.machine.now()


def test_a_delivery_of_a_moment_in_the_future_runs_in_the_present(house):
    """The clock was 400 days ahead for a minute; also its second attempt comes in time."""
    house.engine.declare(lambda topic, event: house.ran.append(event.body) or 1 / 0, "h", topic="a")
    house.set_clock(400 * DAY)
    event = Event(house.queue.new_id(), "a", house.queue.now(), hook="x", body=b"1")
    receipt = house.engine.office.deliver(event)
    house.run()
    house.set_clock(-400 * DAY)

    task = house.engine.store.get(receipt.task_ids[0])
    assert ([b"1"], "ready") == (house.ran, task.state)
    assert task.time_queue - house.machine.now() < timedelta(minutes=2)
    stored = house.engine.store.event(event.id)
    assert stored.expire_at - house.machine.now() <= timedelta(days=30)


def test_a_moment_in_the_future_makes_nothing_be_forgotten(house):
    """A redelivery is recognised afterwards, ended tasks are there, delayed ones have waited."""
    pruner = Pruner(house.engine.store, house.queue)
    house.engine.waiting("delayed", delay=DAY)
    ended = house.engine.waiting("ended")
    house.run()

    def deliver():
        clock = house.queue
        return house.engine.office.deliver(Event(clock.new_id(), "b", clock.now(), hook="x", delivery="1"))

    deliver()
    house.set_clock(400 * DAY)
    pruner.tick()
    house.run()
    house.set_clock(-400 * DAY)

    assert deliver().duplicate
    assert "complete" == house.engine.now(ended).state
    assert ["ended"] == house.ran


def test_even_a_wrong_clock_that_is_believed_makes_little_be_forgotten(house):
    """It lasts for an hour; pruning has gone two hours ahead by then."""
    pruner = Pruner(house.engine.store, house.queue)
    ended = house.engine.waiting("ended")
    house.run()
    house.set_clock(400 * DAY)
    house.live(HOUR)
    pruner.tick()

    assert "complete" == house.engine.now(ended).state


def test_each_step_is_told_once_and_what_follows_it(house, facts):
    house.set_clock(-HOUR)
    house.set_clock(3 * HOUR)
    house.live(DOUBT_SECONDS + 5)

    stepped = facts.of("clock.stepped")
    assert [-HOUR, 3 * HOUR] == [fields["step_seconds"] for fields in stepped]
    assert [pytest.approx(HOUR, abs=1), pytest.approx(-2 * HOUR, abs=1)] == [
        fields["queue_ahead_seconds"] for fields in stepped
    ]
    assert [pytest.approx(2 * HOUR, abs=1)] == [
        fields["step_seconds"] for fields in facts.of("clock.followed")
    ]


def test_the_mark_is_saved_once_a_minute_and_when_the_clock_is_set(house, monkeypatch):
    saved = []
    house.keeper._save = saved.append
    house.live(SAVE_SECONDS + 1)
    assert 1 == len(saved)
    house.set_clock(-HOUR)

    assert 2 == len(saved)
    assert house.queue.mark() == saved[-1]


def test_a_disk_that_refuses_the_mark_stops_nothing(house):
    def refuse(mark):
        raise OSError("full")

    house.keeper._save = refuse
    house.keeper.save()

    assert 1.0 == house.keeper.tick()


def test_the_mark_is_written_by_a_thread_that_nobody_waits_for_long(house, tmp_path, monkeypatch):
    """A folder that is gone is an error, a disk that hangs is left to itself."""
    write = MarkFile(tmp_path)
    write(house.queue.mark())
    assert house.queue.mark() == read_mark(tmp_path)
    with pytest.raises(FileNotFoundError):
        MarkFile(tmp_path / "nowhere")(house.queue.mark())
    disk: SimpleQueue[None] = SimpleQueue()
    monkeypatch.setattr(timekeeper, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(timekeeper, "write_mark", lambda *_: disk.get())
    write(house.queue.mark())  # returns
    disk.put(None)


@pytest.mark.parametrize("what", ["nothing", "a delay", "a run", "the spool"])
def test_a_new_daemon_goes_back_to_the_wall_clock_when_nothing_waits_by_the_queues_time(
    house, tmp_path, what
):
    """What waits would wait an hour longer, what runs would go back into such a queue."""
    if what == "a delay":
        house.engine.waiting(delay=2)
    elif what == "a run":
        house.engine.waiting()
        house.engine.store.claim(house.engine.instance, {"t"}, 1, house.queue.now())
    spool = open_spool(tmp_path, 1024**2) if what == "the spool" else None
    if spool is not None:
        clock = house.queue
        spool.keep(Posting([], Event(clock.new_id(), "a", clock.now(), hook="x")))
    house.set_clock(-HOUR)
    clock = house.restarted(spool)
    if spool is not None:
        spool.close()

    assert (clock.now() == house.machine.now()) is (what == "nothing")
