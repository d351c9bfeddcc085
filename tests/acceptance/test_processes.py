"""Threads and processes of handlers: what is advised works, what would stop the daemon is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mongod import Mongod

from .conftest import CONFIG, New
from .daemons import Daemon, until
from .test_draining import details

APP = """\
import concurrent.futures
import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import gevent
from monqbus import c, post_event, task

log = logging.getLogger("shop")
PLACE = Path(os.environ["PLACE"])

def square(number):
    return number * number

@task
def add(left, right):
    return left + right

# native threads

def work(number, running):
    for again in range(5):
        log.info("thread %d %d", number, again)
        logging.getLogger(f"shop.{number}.{again}").warning("made here")
        running.progress(0.5, f"thread {number}")
    post_event("shop.counted", number)
    return add.post(number, 1).join(20)

@task(max_attempts=1)
def post_from_threads(count):
    logging.getLogger().addHandler(logging.FileHandler(PLACE / "app.log"))
    pool = gevent.get_hub().threadpool
    begun = [pool.spawn(work, number, c.task) for number in range(count)]
    for again in range(50):
        log.info("handler %d", again)
        gevent.sleep(0)
    return sorted(one.get() for one in begun)

def block(mouth):
    os.read(mouth, 1)

@task(max_attempts=1)
def take_all_threads():
    heard, mouth = os.pipe()
    begun = [gevent.get_hub().threadpool.spawn(block, heard) for _ in range(12)]
    while not (PLACE / "enough").exists():
        gevent.sleep(0.01)
    os.write(mouth, b"x" * 12)
    gevent.wait(begun)

# processes

def pool(method):
    with multiprocessing.get_context(method).Pool(2) as workers:
        return workers.map(square, range(5))

def executor(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as workers:
        return list(workers.map(square, range(5)))

def manager(method):
    with multiprocessing.get_context(method).Manager() as shared:
        return list(shared.list([0, 1, 4, 9, 16]))

def queue(method):
    queue = multiprocessing.get_context(method).Queue()
    queue.put([0, 1, 4, 9, 16])
    return queue.get()

def pipe(method):
    here, there = multiprocessing.get_context(method).Pipe()
    here.send([0, 1, 4, 9, 16])
    return there.recv()

def process(method):
    started = multiprocessing.get_context(method).Process(target=square, args=(1,))
    started.start()
    started.join()
    return [0, 1, 4, 9, 16] if started.exitcode == 0 else started.exitcode

KINDS = (pool, executor, manager, queue, pipe, process)
METHODS = ("spawn", "fork", "forkserver")

def tried():
    said = {}
    for kind in KINDS:
        for method in METHODS:
            try:
                said[f"{kind.__name__} {method}"] = kind(method)
            except Exception as error:
                said[f"{kind.__name__} {method}"] = f"{type(error).__name__}: {error}"
    return said

@task(max_attempts=1)
def try_here():
    before = len(os.listdir("/proc/self/fd"))
    said = tried()
    return [said, len(os.listdir("/proc/self/fd")) - before]

@task(cpu=True, max_attempts=1)
def try_in_worker():
    return tried()

@task(max_attempts=1)
def run_program():
    words = ["sh", "-c", "echo here; exit 3"]
    done = subprocess.run(words, capture_output=True, text=True)
    return [done.returncode, done.stdout]

def post_one(number):
    return str(add.post(number, 1).id)

@task(cpu=True, max_attempts=1)
def post_from_children(method):
    with multiprocessing.get_context(method).Pool(2) as workers:
        return workers.map(post_one, range(4))

def connect_and_post(number):
    import monqbus
    monqbus.connect(PLACE / "monqbus.ini")
    return add.post(number, 1).join(20)

@task(cpu=True, max_attempts=1)
def post_from_connected_children(method):
    with multiprocessing.get_context(method).Pool(2) as workers:
        return workers.map(connect_and_post, range(4))
"""
TEXT = CONFIG.replace("apps = accepted", "apps = shop").replace("path = {apps}", "path = ./apps")
TEXT = TEXT.replace("[worker]", "[worker]\ncpu_workers = 1")
SQUARES = [0, 1, 4, 9, 16]


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> Path:
    """The app of these daemons."""
    path = tmp_path / "apps" / "shop.py"
    path.parent.mkdir()
    path.write_text(APP)
    return path


def result(daemon: Daemon, name: str, *args: object, seconds: int = 60) -> object:
    """What the task *name* has returned; its error as text."""
    posted = daemon.monqbus("post", f"shop.{name}", "--args", json.dumps(args)).stdout.strip()
    daemon.wait_for(posted, f"name=shop.{name}", "task.", "ms=", seconds=seconds)
    return details(daemon, posted)["result"]


def test_native_threads_post_log_and_tell_their_progress(address, new_daemon: New):
    """As the documents advise for what blocks: all arrives, nothing stays busy, nobody waits for ever."""
    daemon = new_daemon(address, text=TEXT).start()
    sums = result(daemon, "post_from_threads", 40)
    counted = json.loads(daemon.monqbus("count", "--json").stdout)

    assert list(range(1, 41)) == sums
    assert {"complete": 41, "total": 41} == {state: count for state, count in counted.items() if count}
    assert 40 == len([line for line in daemon.lines if "event.unhandled" in line and "shop.counted" in line])
    assert 0 == daemon.stop()


def test_a_store_that_was_away_is_found_again_although_handlers_have_all_threads(
    new_daemon: New, tmp_path: Path
):
    """Names are looked up in threads of their own, even 127.0.0.1."""
    server = Mongod()
    try:
        daemon = new_daemon(f"mongodb://{server.host}/shop", text=TEXT).start()
        daemon.monqbus("post", "shop.take_all_threads")
        until(lambda: [line for line in daemon.monqbus("list").stdout.splitlines() if "busy" in line], 1)
        server.kill()
        until(lambda: answers(daemon, 503), 1)
        server.start()

        assert until(lambda: answers(daemon, 202), 1)
        assert "busy" in daemon.monqbus("list", "--name", "shop.take_all_threads").stdout
    finally:
        (tmp_path / "enough").touch()
        server.remove()


def answers(daemon: Daemon, status: int) -> list[str]:
    """Whether a delivery gets *status*."""
    return ["so"] if status == daemon.request("POST", "/hooks/open", b"x", {"X-Kind": "hello"})[0] else []


def test_multiprocessing_is_refused_in_the_daemon_and_it_goes_on(new_daemon: New):
    """All kinds of it, however their processes are started; nothing is left open."""
    daemon = new_daemon(text=TEXT).start()
    said, left_open = result(daemon, "try_here")

    assert all("RuntimeError" in words and "cpu=True" in words for words in said.values()), said
    assert 18 == len(said)
    assert 0 == left_open
    assert 202 == daemon.request("POST", "/hooks/open", b"x", {"X-Kind": "hello"})[0]
    assert [3, "here\n"] == result(daemon, "run_program")
    assert 0 == daemon.stop()


def test_multiprocessing_works_in_a_cpu_task(new_daemon: New):
    """As the refusal and the documents advise."""
    daemon = new_daemon(text=TEXT).start()
    said = result(daemon, "try_in_worker")

    assert dict.fromkeys(said, SQUARES) == said


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_pool_of_a_cpu_task_whose_child_posts_ends_with_the_reason(method, new_daemon: New):
    """It does not wait for ever, and the task's error says what to do."""
    daemon = new_daemon(text=TEXT).start()
    failed = str(result(daemon, "post_from_children", method))

    assert "NotBound" in failed
    assert "monqbus.connect('monqbus.ini')" in failed
    assert [1, 2, 3, 4] == result(daemon, "post_from_connected_children", method)
