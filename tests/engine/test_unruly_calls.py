"""Whatever a handler raises or calls ends its own task; the one after it has a good end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, process

import gevent
import pytest
from gevent.event import Event as Signal

from bus.engine.fork_guard import ForkGuard
from bus.engine.pool import LOOK_SECONDS
from bus.engine.run import Run

from .conftest import PATIENCE


class Mute(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def endless(depth: int = 0) -> int:
    """Calls itself until Python refuses."""
    return endless(depth + 1) + 1


def fork() -> int:
    """Looks os.fork up when it is called, as a library does."""
    return os.fork()


def forkpty() -> tuple[int, int]:
    """As fork."""
    return os.forkpty()


def raising(error: BaseException) -> Callable[[], None]:
    """A handler that raises *error*."""

    def act() -> None:
        raise error

    return act


def pool() -> None:
    """Processes, however they are started."""
    multiprocessing.get_context("spawn").Pool(1)


def queue() -> None:
    """No process, but the first get would wait for a feeder that never runs."""
    multiprocessing.get_context("spawn").Queue()


def executor() -> int:
    """The same under another name."""
    with ProcessPoolExecutor(1) as processes:
        return processes.submit(int).result()


def client() -> None:
    """Whoever brings a descriptor of their own."""
    connection.Connection(os.open(os.devnull, os.O_RDONLY))


RAISED = [
    SystemExit(0),
    SystemExit("a text"),
    KeyboardInterrupt(),
    GeneratorExit(),
    gevent.GreenletExit(),
    gevent.Timeout(1),
    MemoryError(),
    Mute(),
    StopIteration(),
]


@pytest.mark.parametrize(
    "act",
    [
        *map(raising, RAISED),
        endless,
        lambda: sys.exit(3),
        fork,
        forkpty,
        pool,
        queue,
        executor,
        client,
    ],
    ids=[
        *(type(error).__name__ for error in RAISED),
        *("endless", "sys.exit", "fork", "forkpty", "pool", "queue", "executor", "client"),
    ],
)
def test_what_a_handler_raises_ends_only_its_own_task(engine, act, fork_guard):
    """A failed attempt like any other, with a line that names it."""
    engine.declare(act, "unruly", max_attempts=2)
    engine.declare(lambda: 7, "quiet")

    failed = engine.perform(engine.waiting(name="unruly"))

    assert ("ready", 1) == (failed.state, failed.attempt)
    assert failed.history[0]["error"]
    assert 7 == engine.perform(engine.waiting(name="quiet")).result


@pytest.fixture
def fork_guard() -> Iterator[ForkGuard]:
    """What protects the daemon's process; taken down after the test."""
    guard = ForkGuard()
    guard.start()
    yield guard
    guard.stop()


def test_an_alarm_that_a_handler_has_set_is_told_and_ends_nothing(fork_guard, facts):
    """SIGALRM without a handler of its own would end the process."""
    signal.setitimer(signal.ITIMER_REAL, 0.01)

    assert "SIGALRM" == facts.wait_for("signal.ignored")["signal"]


def test_standard_streams_cannot_be_closed_and_others_can():
    """What is opened next would get the number, and what is printed would go to a client's connection."""
    led_back: list[int] = []
    guard = ForkGuard(led_back.append)
    guard.start()
    try:
        os.close(1)
        os.close(2)
        own = os.open("/dev/null", os.O_RDONLY)
        os.close(own)
        with pytest.raises(RuntimeError, match=r"os\.closerange: expected not to be called"):
            os.closerange(3, 200)
    finally:
        guard.stop()

    assert [1, 2] == led_back
    assert os.fstat(1)
    assert os.fstat(2)


def test_the_bulwark_leaves_everything_as_it_was():
    """Outside of the daemon forking is allowed, and an alarm ends a process."""

    def all_of_it() -> tuple[object, ...]:
        start, made = process.BaseProcess.start, connection.Connection.__init__
        alarm = signal.getsignal(signal.SIGALRM)
        return os.fork, os.forkpty, os.close, os.closerange, start, connection.Pipe, made, alarm

    before = all_of_it()
    guard = ForkGuard()
    guard.start()
    guard.stop()

    assert before == all_of_it()


def test_a_replaced_time_sleep_does_not_stop_the_daemon_from_waiting(engine, monkeypatch):
    """A handler that makes time.sleep return at once makes no loop of ours spin."""
    engine.declare(lambda: gevent.sleep(0.1) or "slept", "sleepy")
    task = engine.waiting(name="sleepy")
    (claimed,) = engine.store.claim(engine.instance, engine.registry.tasks, 1, engine.clock.now()).tasks
    asked = []
    # it still yields: other loops of this process, the driver's for example, would spin for ever
    monkeypatch.setattr(time, "sleep", lambda seconds: asked.append(seconds) or gevent.sleep(0.001))

    engine.pool.start([claimed])
    left = engine.pool.drain(5)
    engine.recorder.tick()

    assert (0, "slept") == (left, engine.now(task).result)
    assert LOOK_SECONDS not in asked


def test_a_handler_that_catches_everything_for_ever_holds_only_its_slot(engine, facts):
    """It is interrupted once, goes on, and the others run beside it."""
    swallowed, caught = [], Signal()

    def refuse():
        while not engine.gate.is_set():
            try:
                engine.gate.wait(5)
            except BaseException as error:  # noqa: BLE001 - as such handlers do
                swallowed.append(error)
                caught.set()

    engine.declare(refuse, "refuse", timeout=0.01, max_attempts=1)
    engine.declare(lambda: 7, "quiet")
    refusing, quiet = engine.waiting(name="refuse"), engine.waiting(name="quiet")
    engine.claimer.tick()
    caught.wait(PATIENCE)
    engine.recorder.tick()

    assert ["busy", "complete"] == [engine.now(refusing).state, engine.now(quiet).state]
    engine.gate.set()
    engine.pool.drain(5)
    engine.recorder.tick()
    assert (1, "error") == (len(swallowed), engine.now(refusing).state)


def test_a_handler_that_vanishes_between_claim_and_run_is_released(engine, facts):
    """Not failed: no attempt is used, and it runs when the name is back."""
    declared = engine.declare(lambda: 7, "here")
    task = engine.waiting(name="here")
    (claimed,) = engine.store.claim(engine.instance, engine.registry.tasks, 1, engine.clock.now()).tasks
    del engine.registry.tasks["here"]

    engine.run(Run(claimed, engine.clock.monotonic()))
    engine.recorder.tick()
    released = engine.now(task)
    engine.registry.add(declared)

    assert ("ready", 0, []) == (released.state, released.attempt, released.history)
    assert "no task of this name" in facts.of("task.released")[0]["outcome"].error
    assert 7 == engine.perform(task).result
