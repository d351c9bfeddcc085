"""Native threads hand over what belongs to the hub's thread; locks of logging are for all of them."""

from __future__ import annotations

import logging
from _queue import SimpleQueue
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from threading import get_native_id

import gevent
import gevent.event
import pytest
from gevent.threadpool import ThreadPool

from bus.apps.options import Options
from bus.clock import Clock
from bus.engine.hub_thread import AnyThread, HubThread
from bus.engine.logging_locks import Lock, LoggingLocks
from bus.errors import NotBound
from bus.model import Filter, MonQTask

from .conftest import PATIENCE, Engine

THREADS = 8
ROUNDS = 200

said: ContextVar[str] = ContextVar("said", default="")


@pytest.fixture
def hub_thread() -> Iterator[HubThread]:
    """The thread of this test, as others see it."""
    made = HubThread()
    yield made
    made.close()


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    """Native threads."""
    pool = ThreadPool(THREADS)
    yield pool
    pool.kill()


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """A thread that waits for ever fails its test."""
    with gevent.Timeout(PATIENCE * 4):
        yield


def test_a_call_from_a_native_thread_is_carried_out_in_the_hubs(hub_thread: HubThread, threads: ThreadPool):
    """In a greenlet, which may wait; its answer, its error and the caller's context go back and forth."""

    def act(number: int) -> tuple[int, str]:
        gevent.sleep(0)  # a hub callback could not
        if number == 3:
            raise ValueError("three")
        return get_native_id(), said.get()

    def call(number: int) -> object:
        said.set(f"by {number}")
        try:
            return hub_thread.call(lambda: act(number))
        except ValueError as error:
            return str(error)

    answers = threads.map(call, range(5))

    here = get_native_id()
    assert [(here, "by 0"), (here, "by 1"), (here, "by 2"), "three", (here, "by 4")] == answers


def test_a_call_in_the_hubs_own_thread_goes_no_other_way(hub_thread: HubThread):
    """Nothing is slower for handlers: the same greenlet, at once."""
    assert gevent.getcurrent() is hub_thread.call(gevent.getcurrent)


def test_what_native_threads_post_is_stored_started_and_joined(
    engine: Engine, hub_thread: HubThread, threads: ThreadPool
):
    """A post of theirs touches slots, claims and the store in the hub's thread only."""
    touched: set[int] = set()
    post = engine.store.post
    engine.faulty.post = lambda postings: (touched.add(get_native_id()), post(postings))[1]
    engine.declare(lambda number: number + 1, "plus")
    engine.declare(lambda topic: None, "hear", topic="counted")
    office = AnyThread(engine.office, hub_thread)

    def act(number: int) -> MonQTask:
        office.publish("counted", [], {})
        return office.post("plus", [number], {}, Options())

    tasks = threads.map(act, range(THREADS))
    while engine.store.count(Filter(states=("ready", "busy"))):
        engine.claimer.tick()
        engine.recorder.tick()
        gevent.sleep(0)

    assert list(range(1, THREADS + 1)) == threads.map(lambda task: task.join(PATIENCE), tasks)
    assert {get_native_id()} == touched
    assert engine.pool.size == engine.pool.free


def test_a_thread_that_waits_when_the_daemon_stops_is_let_go(hub_thread: HubThread, threads: ThreadPool):
    """It gets an error; so does one that comes afterwards."""
    asked = gevent.event.Event()
    waiting = threads.spawn(hub_thread.call, lambda: (asked.set(), gevent.sleep(600)))
    asked.wait()
    hub_thread.close()

    with pytest.raises(NotBound, match="has stopped"):
        waiting.get()
    with pytest.raises(NotBound, match="has stopped"):
        threads.apply(hub_thread.call, (list,))


def test_news_from_a_native_thread_come_in_the_hubs(hub_thread: HubThread, threads: ThreadPool):
    """Whoever tells them does not wait."""
    heard: list[tuple[str, int]] = []
    told = gevent.event.Event()

    def hear(words: str) -> None:
        heard.append((words, get_native_id()))
        told.set()

    threads.apply(hub_thread.tell, (hear, "half"))
    told.wait()

    assert [("half", get_native_id())] == heard


# locks


@pytest.fixture
def lock() -> Lock:
    """A lock of this thread's hub."""
    return Lock(get_native_id(), Clock())


def test_a_lock_excludes_greenlets_and_native_threads(lock: Lock, threads: ThreadPool):
    """One at a time, whoever it is; none of them waits for ever."""
    inside: list[object] = []
    most: list[int] = []

    def enter(pause: Callable[[], object]) -> None:
        for _ in range(ROUNDS):
            with lock, lock:  # it is reentrant
                inside.append(None)
                most.append(len(inside))
                pause()
                inside.pop()

    native = [threads.spawn(enter, get_native_id) for _ in range(THREADS)]
    green = [gevent.spawn(enter, lambda: gevent.sleep(0)) for _ in range(THREADS)]
    gevent.joinall([*native, *green], raise_error=True)

    assert [1] * (2 * THREADS * ROUNDS) == most


def test_a_greenlet_that_waits_for_a_native_thread_lets_others_run(lock: Lock, threads: ThreadPool):
    """The hub turns meanwhile."""
    taken, go_on = gevent.event.Event(), SimpleQueue()
    hub_thread = HubThread()

    def hold() -> None:
        with lock:
            hub_thread.tell(taken.set)
            go_on.get()

    holding = threads.spawn(hold)
    taken.wait()
    waiting = gevent.spawn(lock.acquire)
    gevent.spawn_later(0.01, go_on.put, None).join()  # runs although the other one waits
    holding.get()

    assert waiting.get()


class Slow(logging.Handler):
    """A handler that lets others run while it writes, as those do that write to a socket."""

    def __init__(self, pause: Callable[[], object]) -> None:
        super().__init__()
        self._pause = pause
        self.lines: list[str] = []
        self.most = self._inside = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._inside += 1
        self.most = max(self.most, self._inside)
        self._pause()
        self.lines.append(record.getMessage())
        self._inside -= 1


def test_native_threads_and_greenlets_log_beside_each_other(threads: ThreadPool):
    """Through handlers of apps too, also those that were there before, and through new loggers."""
    before = Slow(lambda: None)
    locks = LoggingLocks(Clock())
    locks.start()
    after = Slow(lambda: gevent.sleep(0))
    logger = logging.getLogger("tests.threads")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(before)
    logger.addHandler(after)

    def log(who: str) -> None:
        for number in range(ROUNDS):
            logging.getLogger(f"tests.threads.{who}.{number}").info("%s %d", who, number)

    native = [threads.spawn(log, f"native{number}") for number in range(THREADS)]
    green = [gevent.spawn(log, f"green{number}") for number in range(THREADS)]
    try:
        gevent.joinall([*native, *green], raise_error=True)
    finally:
        locks.stop()
        logger.handlers.clear()

    assert 2 * THREADS * ROUNDS == len(before.lines) == len(after.lines)
    assert (1, 1) == (before.most, after.most)


def test_the_locks_of_logging_are_as_before_when_the_daemon_has_stopped():
    """Other parts of a process that outlives it see nothing of them."""
    handler = logging.Handler()
    before = logging._lock, logging.Handler.createLock, type(handler.lock)
    locks = LoggingLocks(Clock())
    locks.start()

    assert isinstance(handler.lock, Lock)
    assert isinstance(logging.Handler().lock, Lock)
    locks.stop()
    assert before == (logging._lock, logging.Handler.createLock, type(handler.lock))
